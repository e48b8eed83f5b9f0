"""D between images before and after against its definition, its share, its interval, and its verdicts."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.distances.equivalence import HARMFUL, HARMLESS, SEEN, UNDECIDED, compare_distributions
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
    found = compare_distributions(before, after, None if prompts is None else units)

    np.testing.assert_allclose(found.distance.own, t, atol=1e-12)
    assert found.distance.value == pytest.approx(rows.mean()) and found.n_units == n_units
    assert found.distance.se == pytest.approx(math.sqrt((t**2).sum() / (n_units * (n_units - 1))))
    assert found.scale == pytest.approx(scale)
    share, low, high = found.shares
    quantile = stats.t.ppf(0.975, n_units - 1)
    half = quantile * found.distance.se
    few = quantile**2 * max((t**3).sum() / (t**2).sum() / n_units, 0)
    assert share**2 * scale == pytest.approx(rows.mean())
    assert high == pytest.approx(math.hypot(math.sqrt((rows.mean() + half + few) / scale), SEEN / n_units))
    assert low**2 * scale == pytest.approx(max(rows.mean() - half, 0))


@pytest.mark.parametrize(("destroyed", "more"), [(2, 0.07), (5, 0.09), (20, 0.06)])
def test_the_upper_end_of_a_few_destroyed_images_is_near_that_of_their_number(destroyed: int, more: float) -> None:
    before = features(500, 64)
    after = before.copy()
    after[:destroyed] = 1000.0
    _, _, high = compare_distributions(before, after).shares
    exact = stats.chi2.ppf(0.95, 2 * (destroyed + 1)) / 2 / 500  # Poisson's, one-sided: 5 % of all sets have fewer
    assert (1 - more) * exact < high < (1 + more) * exact


@pytest.mark.parametrize(("shift", "share"), [(0, 0.0713), (0.249, 0.058), (0.3323, 0.0444)], ids=["0", "0.6", "0.8"])
def test_a_slight_change_of_all_hides_no_few_destroyed_images(shift: float, share: float) -> None:
    """All are shifted by that part of the margin, and so many become one far point: together they reach the margin.

    With p the mean kernel, the median w of distances and the far point apart from all, the square of the true share is
    s^2 + (1 - s) 2 p (1 - exp(-shift^2 / (w^2 + 4))) / (1 + p).
    """
    rng, verdicts = np.random.default_rng(0), []
    for _ in range(200):
        before = rng.standard_normal((100, 8))
        after = np.where(rng.random((100, 1)) < share, 50.0, before + shift * np.eye(8)[0])
        verdicts.append(compare_distributions(before, after).verdict(0.0713))  # 1.5 times the smallest margin
    assert verdicts.count(HARMLESS) <= 10 and verdicts.count(HARMFUL) <= 10


def test_destroyed_images_are_counted_at_most_once_and_nearly_so_if_they_are_far_away() -> None:
    before = features(2000, 32)
    after = before.copy()
    after[:100] = 1000.0  # 5 %, all the same, far from everything
    share, low, high = compare_distributions(before, after).shares
    assert low < 0.05 * math.sqrt(1999 / 2000) < high and share == pytest.approx(0.05, rel=0.15)


def test_verdicts_at_a_margin() -> None:
    before = features()
    slight, much = before + 0.01 * features(seed=1), before + 0.6
    assert compare_distributions(before, slight).verdict(0.02) == HARMLESS
    assert compare_distributions(before, much).verdict(0.02) == HARMFUL
    apart = compare_distributions(before, features(seed=2))
    assert apart.verdict(0.02) == UNDECIDED and apart.required_pairs(0.02) > 400
    share, low, high = compare_distributions(before, before).shares
    assert share == low == 0 and high == pytest.approx(SEEN / 400)
    assert compare_distributions(before, before).verdict(0.02) == HARMLESS


def test_too_few_images_show_nothing_of_a_share() -> None:
    before, after = features(100), features(100)
    after[0] = 50.0  # D counts pairs that were both destroyed: there are none
    found = compare_distributions(before, after)
    assert found.distance.value == pytest.approx(0, abs=1e-12)
    assert found.verdict(0.02) == UNDECIDED and found.required_pairs(0.02) == pytest.approx(238, abs=3)
    assert found.verdict(0.05) == HARMLESS  # of 100 images 5 would be destroyed


def test_a_prompt_whose_images_are_all_destroyed_is_not_called_harmless() -> None:
    before, prompts = features(600), np.arange(600) // 30
    after = np.where(prompts[:, None] == 7, 50.0, before)  # 5 %, and no two of them meet
    found = compare_distributions(before, after, prompts)
    assert found.distance.value == pytest.approx(0, abs=1e-12)
    assert found.verdict(0.02) == UNDECIDED and found.required_pairs(0.02) == pytest.approx(30 * 238, rel=0.02)


@pytest.mark.parametrize(("n", "share"), [(300, 0.02), (500, 0.02), (200, 0.1)])
def test_a_few_destroyed_images_are_rarely_called_harmless_at_their_own_share(n: int, share: float) -> None:
    rng = np.random.default_rng(3)
    verdicts = []
    for _ in range(200):
        before = rng.standard_normal((n, 4))
        after = np.where(rng.random((n, 1)) < share, 50.0, before)
        verdicts.append(compare_distributions(before, after).verdict(share))
    assert verdicts.count(HARMLESS) <= 10 and verdicts.count(HARMFUL) <= 10


def test_a_distance_below_0_counts_as_0() -> None:
    found = [compare_distributions(features(300, seed=seed), features(300, seed=seed + 100)) for seed in range(12)]
    below = [test for test in found if test.distance.value < 0]
    assert below
    for test in below:
        share, low, high = test.shares
        t = test.distance.own
        few = test.quantile**2 * max((t**3).sum() / (t**2).sum() / 300, 0)
        end = math.hypot(math.sqrt((test.half_width + few) / test.scale), SEEN / 300)
        assert share == low == 0 and high == pytest.approx(end, rel=1e-3)


def test_no_share_is_above_1() -> None:
    before = features(40)
    share, _, high = compare_distributions(before, np.full_like(before, 50.0)).shares
    assert share <= 1 and high == 1


def test_images_without_a_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="no scale"):
        compare_distributions(np.ones((50, 3)), features(50, 3))
