"""D between images before and after against its definition, its share, its interval, and its verdicts."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.distances.harm import HARMFUL, HARMLESS, UNDECIDED, harm
from experiments.distances.kernels import median_distance


def features(n: int = 400, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("prompts", [None, 12])
def test_it_is_what_the_formula_says(prompts: int | None) -> None:
    before = features(60)
    after = before + 0.3 * features(60, seed=1)
    units = np.arange(60) if prompts is None else np.arange(60) % prompts
    width = median_distance(before)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return math.exp(-float(((x - y) ** 2).sum()) / width**2)

    def h(i: int, j: int) -> float:
        a, b = before, after
        return k(a[i], a[j]) + k(b[i], b[j]) - k(a[i], b[j]) - k(b[i], a[j])

    rows = np.array([np.mean([h(i, j) for j in range(60) if units[j] != units[i]]) for i in range(60)])
    n_units = len(set(units))
    t = np.array([2 * (rows[units == unit] - rows.mean()).mean() for unit in range(n_units)])
    scale = 1 + np.mean([k(before[i], before[j]) for i in range(60) for j in range(60) if i != j])

    found = harm(before, after, None if prompts is None else units)

    np.testing.assert_allclose(found.rows, rows, atol=1e-12)
    assert found.distance.value == pytest.approx(rows.mean()) and found.n_units == n_units
    assert found.distance.se == pytest.approx(math.sqrt((t**2).sum() / (n_units * (n_units - 1))))
    assert found.scale == pytest.approx(scale)
    share, low, high = found.shares
    half = stats.t.ppf(0.975, n_units - 1) * found.distance.se
    assert share**2 * scale == pytest.approx(rows.mean()) and high**2 * scale == pytest.approx(rows.mean() + half)
    assert low**2 * scale == pytest.approx(max(rows.mean() - half, 0))


def test_destroyed_images_are_counted_at_most_once_and_nearly_so_if_they_are_far_away() -> None:
    before = features(2000, 32)
    after = before.copy()
    after[:100] = 1000.0  # 5 %, all the same, far from everything

    share, low, high = harm(before, after).shares

    assert low < 0.05 * math.sqrt(1999 / 2000) < high and share == pytest.approx(0.05, rel=0.15)


def test_verdicts_at_a_margin() -> None:
    before = features()
    slight, much = before + 0.01 * features(seed=1), before + 0.6

    assert harm(before, slight).verdict(0.02) == HARMLESS
    assert harm(before, much).verdict(0.02) == HARMFUL
    apart = harm(before, features(seed=2))
    assert apart.verdict(0.02) == UNDECIDED and apart.needed(0.02) > 400
    assert max(harm(before, before).shares) < 1e-7 and harm(before, before).verdict(0.02) == HARMLESS


def test_too_few_images_show_nothing_of_a_share() -> None:
    before, after = features(100), features(100)
    after[0] = 50.0  # D counts pairs that were both destroyed: there are none

    found = harm(before, after)

    assert found.distance.value == pytest.approx(0, abs=1e-12)
    assert found.verdict(0.02) == UNDECIDED and found.needed(0.02) == 238
    assert found.verdict(0.05) == HARMLESS  # of 100 images 5 would be destroyed


def test_a_distance_below_0_counts_as_0() -> None:
    found = harm(features(300), features(300, seed=8))
    shares = [harm(features(300, seed=seed), features(300, seed=seed + 100)) for seed in range(12)]
    below = [one for one in [found, *shares] if one.distance.value < 0]

    assert below
    for one in below:
        share, low, high = one.shares
        assert share == low == 0 and high == pytest.approx(math.sqrt(one.half / one.scale))


@pytest.mark.parametrize(
    ("before", "after", "units", "message"),
    [
        (features(50), features(40), None, "before is"),
        (features(50), features(50), np.zeros(50, dtype=int), "one prompt"),
        (np.ones((50, 3)), features(50, 3), None, "no scale"),
    ],
)
def test_what_cannot_be_compared_is_refused(before, after, units, message) -> None:
    with pytest.raises(ValueError, match=message):
        harm(before, after, units)
