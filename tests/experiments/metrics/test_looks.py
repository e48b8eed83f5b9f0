"""The levels of a sequential test are those of the tables, and it is wrong as often as it says."""

import numpy as np
import pytest
from scipy import stats

from experiments.metrics.intervals import pooled
from experiments.metrics.looks import levels, why_stop


def bounds(shares: tuple[float, ...]) -> list[float]:
    return [float(stats.norm.isf((1 - level) / 2)) for level in levels(shares)]


@pytest.mark.parametrize(
    ("n_looks", "published"),  # Lan-DeMets spending of Pocock's type, two-sided 5 %, equal steps
    [(1, [1.960]), (2, [2.157, 2.201]), (3, [2.279, 2.295, 2.296]), (4, [2.368, 2.368, 2.358, 2.350])],
)
def test_levels_are_those_of_published_tables(n_looks: int, published: list[float]) -> None:
    assert bounds(tuple((look + 1) / n_looks for look in range(n_looks))) == pytest.approx(published, abs=2e-3)


@pytest.mark.parametrize("shares", [(), (0.5,), (0.0, 1.0), (0.5, 0.5, 1.0), (0.6, 0.3, 1.0)])
def test_shares_that_do_not_ascend_to_one(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        levels(shares)


def stops(rng: np.random.Generator, effect: float, repeats: int) -> list[tuple[str, int]]:
    """Why and at which of three looks runs end. Each has two networks, and images in 20 groups as in the jackknife."""
    steps = rng.normal(effect, np.sqrt(20), size=(repeats, 3, 2, 20))
    groups = steps.cumsum(axis=1) / np.arange(1, 4)[:, None, None]
    means, ses = groups.mean(axis=3), groups.std(axis=3, ddof=1) / np.sqrt(20)
    ends = []
    for mean, se in zip(means, ses, strict=True):
        looks = enumerate(zip(mean, se, levels((1 / 3, 2 / 3, 1.0)), strict=True), 1)
        whys = ((why_stop(pooled(*look), smallest=0.2, last=number == 3), number) for number, look in looks)
        ends.append(next(end for end in whys if end[0]))
    return ends


def test_no_difference_is_called_clear_in_at_most_one_run_of_twenty() -> None:
    ends = stops(np.random.default_rng(3), 0.0, 1500)
    assert 0.015 < np.mean([why == "clear" for why, _ in ends]) < 0.061  # two standard errors are 0.011


def test_a_large_difference_is_found_at_the_first_look() -> None:
    ends = stops(np.random.default_rng(4), 3.0, 200)
    assert np.mean([why == "clear" for why, _ in ends]) > 0.99
    assert np.mean([look for _, look in ends]) < 1.2


@pytest.mark.parametrize(
    ("difference", "se", "last", "why"),
    [(5.0, 1.0, False, "clear"), (0.1, 0.3, False, "equal"), (0.1, 1.0, False, ""), (0.1, 1.0, True, "maximum")],
)
def test_why_a_run_stops(difference: float, se: float, last: bool, why: str) -> None:
    assert why_stop(pooled([difference], [se]), smallest=1.0, last=last) == why
