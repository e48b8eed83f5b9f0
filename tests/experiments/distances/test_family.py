"""Intervals of a family are wider than one alone, use pairing, and agree with the set of the best."""

import numpy as np
import pytest

from experiments.distances.distance import Distance
from experiments.distances.family import DRAWS, family
from experiments.distances.intervals import of_pairs

N = 100


def settings(
    rng: np.random.Generator, means: np.ndarray, networks: int, shared: float = 0.0, spread: float = 0.0, n: int = N
) -> list[list[Distance]]:
    """Settings whose distance is a mean over images, which share part of their noise, with each of some networks."""
    out = [list[Distance]() for _ in means]
    for _ in range(networks):
        noise = shared * rng.normal(size=(n, 1)) + np.sqrt(1 - shared**2) * rng.normal(size=(n, len(means)))
        values = means + noise.mean(axis=0) + spread * rng.normal(size=len(means))
        for place, value in enumerate(values):
            out[place].append(Distance(float(value), noise[:, place] - noise[:, place].mean()))
    return out


@pytest.mark.parametrize("networks", [1, 5])
def test_two_settings_have_the_interval_of_one_contrast(networks: int) -> None:
    a, b = settings(np.random.default_rng(0), np.array([0.0, 0.3]), networks, spread=0.5)
    whole, alone = family([a, b]).difference(0, 1), of_pairs(list(zip(a, b, strict=True)))
    assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high), rel=1e-9 if networks == 5 else 0.01)
    assert whole.p_value == pytest.approx(alone.p_value, rel=1e-6)
    assert (whole.interval, whole.holds_for) == (alone.interval, alone.holds_for)
    assert whole.detectable == pytest.approx(alone.detectable, rel=1e-6)


def test_margins_of_equal_means_are_tukeys() -> None:
    """Independent means with a known spread: the studentized range (Tukey 1953), over sqrt(2)."""
    from scipy import stats

    found = family(settings(np.random.default_rng(1), np.zeros(6), 1, n=4000))
    assert found.ways[0].critical == pytest.approx(stats.studentized_range.ppf(0.95, 6, 4000) / np.sqrt(2), rel=0.02)


def test_verdicts_and_the_set_of_the_best_agree() -> None:
    rng = np.random.default_rng(2)
    for networks in (1, 5):
        found = family(settings(rng, np.array([0.0, 0.0, 0.3, 0.6, 0.9]), networks, 0.5, spread=0.02))
        out = {a for a in range(5) for b in range(5) if a != b and found.difference(a, b).low > 0}
        best = np.array(found.best(range(5)))
        assert set(np.flatnonzero(~best)) == out and best[np.argmin(found.values)] and out >= {3, 4}
        for a, b in ((0, 3), (0, 1)):
            estimate = found.difference(a, b)
            assert estimate.clear == (estimate.p_value < 0.05) == (not estimate.low <= 0 <= estimate.high)
            assert estimate.difference == pytest.approx(-found.difference(b, a).difference)


def test_the_difference_to_the_best_other_is_inside_its_limits() -> None:
    rng, held = np.random.default_rng(12), []
    for _ in range(40):
        found = family(settings(rng, np.array([0.0, 0.1, 0.3]), 2, 0.5))
        limits = [found.to_best(setting, range(3))[1:] for setting in range(3)]
        held.append(all(low <= truth <= high for truth, (low, high) in zip((-0.1, 0.1, 0.3), limits, strict=True)))
    assert np.mean(held) > 0.85 and found.pairs == 3


def test_pairing_makes_the_set_smaller() -> None:
    rng = np.random.default_rng(3)
    means = 0.11 * np.arange(6)
    sizes = {
        shared: np.mean([sum(family(settings(rng, means, 2, shared)).best(range(6))) for _ in range(15)])
        for shared in (0.0, 0.95)
    }
    assert sizes[0.95] < 2.5 < sizes[0.0] < 6
    of = settings(np.random.default_rng(4), means, 1, 0.95, n=4000)
    ratio = family(of, paired=False).margins[0, 1] / family(of).margins[0, 1]
    assert ratio == pytest.approx(1 / np.sqrt(1 - 0.95**2), rel=0.05)


def test_groups_are_compared_within_themselves_and_count_in_all() -> None:
    of = settings(np.random.default_rng(5), np.array([0.0, 1.0, 5.0, 6.0]), 1)
    two = np.kron(np.eye(2, dtype=bool), np.ones((2, 2), dtype=bool))
    apart, alone = family(of, two), family(of[:2])
    assert apart.pairs == 2 and [apart.best([0, 1]), apart.best([2, 3])] == [[True, False]] * 2
    assert apart.margins[0, 1] > 1.05 * alone.margins[0, 1]
    with pytest.raises(ValueError, match="settings 0 and 2 are not compared"):
        apart.difference(0, 2)


def test_five_networks_borrow_from_each_other_at_most_as_much_as_they_know() -> None:
    found = family(settings(np.random.default_rng(6), np.zeros(20), 5, spread=1.0))
    assert found.ways[1].freedom == 8 and found.holds_for is None  # equal spreads lend all they may
    assert family(settings(np.random.default_rng(7), np.zeros(20), 4)).holds_for == 4
    uneven = settings(np.random.default_rng(8), np.zeros(20), 5)
    for place in range(10):
        for network, each in enumerate(uneven[place]):
            value = each.value * 0.01 + 30 * np.sin(7.0 * place + network) * (place % 2)
            uneven[place][network] = Distance(value, each.own)
    assert 4 < family(uneven).ways[1].freedom < 8


def test_settings_that_are_equal_or_alone_do_no_harm() -> None:
    (a,) = settings(np.random.default_rng(9), np.zeros(1), 5)
    same = family([a, a, a])
    assert all(same.best(range(3))) and same.difference(0, 1).p_value == 1 and not same.difference(0, 1).clear
    assert family([a]).best([0]) == [True]
    with pytest.raises(ValueError, match=r"settings have \[4, 5\] networks"):
        family([a, a[:4]])


def test_shorter_settings_share_their_first_images() -> None:
    rng = np.random.default_rng(10)
    noise = rng.normal(size=(400, 1)) + 0.1 * rng.normal(size=(400, 2))
    long, short = Distance(0.0, noise[:, 0]), Distance(0.0, noise[:100, 1])
    se = family([[long], [short]]).ways[0].se[0, 1]
    assert se == pytest.approx(np.sqrt(1 / 100 - 1 / 400), rel=0.25)  # the first 100 cancel a quarter of the longer


def test_the_p_value_of_draws_is_never_0() -> None:
    far = family(settings(np.random.default_rng(11), np.array([0.0, 50.0, 100.0]), 1)).difference(2, 0)
    assert far.p_value == pytest.approx(1 / (DRAWS + 1))
