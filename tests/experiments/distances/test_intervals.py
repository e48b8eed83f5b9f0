"""Variances and intervals by hand; verdicts say what the intervals say. How often intervals hold: test_coverage.py."""

import numpy as np
import pytest
import torch
from scipy import stats

from experiments.distances.distance import Distance, jackknife_variance, mean_of, pack_distances, unpack_distances
from experiments.distances.intervals import (
    CONFIDENCE,
    Estimate,
    detectable,
    estimate,
    estimate_one,
    estimate_pairs,
    holm,
    too_noisy,
    verdict,
)


def make_pair(value: float, se: float, n: int = 20) -> tuple[Distance, Distance]:
    """A pair whose difference has this standard error over n images."""
    terms = np.where(np.arange(n) % 2, -1.0, 1.0)
    return Distance(value, se * np.sqrt(n - 1) * terms), Distance(0.0, np.zeros(n))


def test_two_networks_by_hand():
    estimate = estimate_pairs([make_pair(1.0, 0.3), make_pair(3.0, 0.4)])
    assert estimate.difference == 2.0 and estimate.se == pytest.approx(0.25)
    freedom = 19 * (0.09 + 0.16) ** 2 / (0.09**2 + 0.16**2)
    assert freedom == pytest.approx(35.24, abs=0.01)
    assert estimate.high - 2 == pytest.approx(2.0296 * 0.25, abs=2e-4)


@pytest.mark.parametrize("freedom", [1, 4.0, 7.3, 1e6, np.inf])
def test_an_estimate_has_the_interval_and_p_value_of_scipys_t(freedom: float):
    estimated = estimate(0.3, 0.2, freedom)
    student = stats.t(freedom)
    assert estimated.high == 0.3 + student.ppf((1 + CONFIDENCE) / 2) * 0.2
    assert estimated.p == 2 * student.sf(0.3 / 0.2)
    assert detectable(0.2, freedom) == (student.isf((1 - CONFIDENCE) / 2) + student.ppf(0.8)) * 0.2
    assert [estimate(certain, 0, freedom).p for certain in (0.3, 0)] == [0, 1]


@pytest.mark.parametrize("difference, clear, word", [
    (-2, True, "better"), (2, True, "worse"), (-0.5, False, "no difference detected"),
    (-2, False, "not significant after correction"), (2, False, "not significant after correction"),
])  # fmt: skip
def test_verdict(difference: float, clear: bool, word: str):
    found = Estimate(difference, 1, difference - 1, difference + 1, 0.5, 9)
    assert verdict(found, 0.05 if clear else 0.051) == word


@pytest.mark.parametrize("noise_levels, noisy", [
    ([0.04], False), ([0.041], True), ([0.03, 0.049], False), ([0.045, 0.05, 0.055], True),
    ([0.03, 0.045, 0.06], False),
])  # fmt: skip
def test_the_limit_of_visible_noise_is_fixed_and_tested_over_networks(noise_levels: list[float], noisy: bool):
    assert too_noisy(noise_levels) == noisy


def test_five_networks_speak_of_networks_in_general_and_four_of_these():
    alike, different = [1.0, 1.1, 0.9, 1.0, 1.0], [1.0, 2.0, 0.0, 3.0, -1.0]
    general = estimate_pairs([make_pair(value, 0.5) for value in different])
    assert general.freedom == 4
    assert general.se == pytest.approx(np.sqrt(2.5 / 5))
    few = estimate_pairs([make_pair(value, 0.5) for value in alike[:4]])
    assert few.se == pytest.approx(0.5 / 2)


def test_holm_is_a_step_down_of_bonferroni():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.6, 0.9]) == [1, 1]


def test_pairs_are_used_where_there_are_any():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=50)
    a, b = (Distance(value, shared + 0.1 * rng.normal(size=50)) for value in (1.0, 0.9))
    paired, apart = estimate_pairs([(a, b)]), estimate_pairs([(a, b)], paired=False)
    assert paired.se < apart.se / 4 and paired.difference == apart.difference
    twice = Distance(0.9, 2 * a.own)
    assert estimate_pairs([(a, twice)], paired=False).se == pytest.approx(a.se * 5**0.5), "variances add up"
    assert estimate_pairs([(a, Distance(0.9, b.own[:30]))], paired=False).freedom == 29


def test_an_interval_over_a_sample_of_real_images_has_the_freedom_of_the_smaller():
    estimate = estimate_one(Distance(1.0, np.ones(50), np.ones(9)))
    assert estimate.high - 1 == pytest.approx(2.306 * np.sqrt(1 / 49 + 1 / 8), rel=1e-3)  # 8 degrees of freedom


VALUES = np.random.default_rng(0).normal(2, 3, size=60)
MEAN = Distance(float(VALUES.mean()), VALUES - VALUES.mean())


def test_the_standard_error_of_a_mean():
    assert MEAN.se == pytest.approx(VALUES.std(ddof=1) / np.sqrt(60), rel=1e-12)


def test_a_difference_of_pairs_has_the_variance_of_differences():
    other = VALUES + np.random.default_rng(1).normal(1, 0.1, size=60)
    difference = Distance(float(other.mean()), other - other.mean()) - MEAN
    assert difference.se == pytest.approx((other - VALUES).std(ddof=1) / np.sqrt(60), rel=1e-9)


def test_every_image_five_times_says_as_much_as_once():
    five = Distance(MEAN.value, np.repeat(MEAN.own, 5))
    assert five.se < MEAN.se / 2
    once = five.by_unit(units := np.repeat(np.arange(60), 5))
    real = Distance(0.0, five.own, five.own).by_unit(units, units).real
    np.testing.assert_array_equal(real, once.own)
    assert once.se == pytest.approx(MEAN.se, rel=1e-12) and len(once.own) == 60
    alone = MEAN.by_unit(np.arange(60))
    np.testing.assert_allclose(alone.own, MEAN.own, rtol=1e-12)


def test_groups_of_unequal_sizes_have_the_cluster_variance():
    groups = np.random.default_rng(2).integers(9, size=60)
    sums = np.array([MEAN.own[groups == group].sum() for group in range(9)])
    assert MEAN.by_unit(groups).se ** 2 == pytest.approx(9 / 8 * (sums**2).sum() / 60**2, rel=1e-12)


def test_a_real_sample_adds_its_own_variance_and_cancels_in_a_difference():
    real = np.random.default_rng(3).normal(size=40)
    sampled = Distance(1.0, MEAN.own, real)
    assert sampled.se**2 == pytest.approx(jackknife_variance(MEAN.own) + jackknife_variance(real))
    assert (sampled - Distance(0.5, MEAN.own, real)).se == 0
    twice = mean_of([sampled, sampled], 2)
    assert (twice.value, twice.se) == (2, pytest.approx(2 * sampled.se))


def test_a_file_holds_them_to_the_last_bit():
    stored = pack_distances({"mmd": MEAN, "fd": Distance(1 / 3, MEAN.own, VALUES)})
    assert all(tensor.dtype == torch.float64 for tensor in stored.values())
    back = unpack_distances(stored)
    assert back["fd"].value == 1 / 3 and (back["fd"].real == VALUES).all() and len(back["mmd"].real) == 0
