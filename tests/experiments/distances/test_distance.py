"""What each image adds gives the variance of a mean, of a difference of pairs, and of groups that belong together."""

import numpy as np
import pytest
import torch

from experiments.distances.distance import Distance, of_singles, pack_distances, unpack_distances

VALUES = np.random.default_rng(0).normal(2, 3, size=60)
MEAN = Distance(float(VALUES.mean()), VALUES - VALUES.mean())


def test_the_standard_error_of_a_mean() -> None:
    assert MEAN.se == pytest.approx(VALUES.std(ddof=1) / np.sqrt(60), rel=1e-12)


def test_a_difference_of_pairs_has_the_variance_of_differences() -> None:
    other = VALUES + np.random.default_rng(1).normal(1, 0.1, size=60)
    difference = Distance(float(other.mean()), other - other.mean()) - MEAN
    assert difference.se == pytest.approx((other - VALUES).std(ddof=1) / np.sqrt(60), rel=1e-9)


def test_every_image_five_times_says_as_much_as_once() -> None:
    five = Distance(MEAN.value, np.repeat(MEAN.own, 5))
    assert five.se < MEAN.se / 2
    once = five.of_groups(np.repeat(np.arange(60), 5))
    assert once.se == pytest.approx(MEAN.se, rel=1e-12) and len(once.own) == 60
    alone = MEAN.of_groups(np.arange(60))
    np.testing.assert_allclose(alone.own, MEAN.own, rtol=1e-12)


def test_groups_of_unequal_sizes_have_the_cluster_variance() -> None:
    groups = np.random.default_rng(2).integers(9, size=60)
    sums = np.array([MEAN.own[groups == group].sum() for group in range(9)])
    assert MEAN.of_groups(groups).se ** 2 == pytest.approx(9 / 8 * (sums**2).sum() / 60**2, rel=1e-12)


def test_a_real_sample_adds_its_own_variance_and_cancels_in_a_difference() -> None:
    real = np.random.default_rng(3).normal(size=40)
    sampled = Distance(1.0, MEAN.own, real)
    assert sampled.se**2 == pytest.approx(of_singles(MEAN.own) + of_singles(real))
    assert (sampled - Distance(0.5, MEAN.own, real)).se == 0


def test_a_file_holds_them_to_the_last_bit() -> None:
    stored = pack_distances({"mmd": MEAN, "fd": Distance(1 / 3, MEAN.own, VALUES)})
    assert all(tensor.dtype == torch.float64 for tensor in stored.values())
    back = unpack_distances(stored)
    assert back["fd"].value == 1 / 3 and (back["fd"].real == VALUES).all() and len(back["mmd"].real) == 0
