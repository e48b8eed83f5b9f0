"""KD at the data's class mix: unbiased, blind to which classes were drawn, and of smaller variance than KD."""

import numpy as np
import pytest

from diffusion_core.data import load
from experiments.metrics.class_mix import Strata, class_distance, expected_class_distance, kd_at_data_mix
from experiments.metrics.distances import METRICS, Reference, jackknife_se
from experiments.metrics.features import extract
from experiments.metrics.kernels import Cubic

SHARE = np.full(10, 0.1)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """128-dimensional features of real images, and their classes."""
    images = load("mnist5k")
    return extract("digits", images.pixels[:3000])[0].double().numpy(), images.labels[:3000].numpy()


def test_it_is_the_mean_kernel_between_classes_weighted_by_their_shares() -> None:
    rng = np.random.default_rng(0)
    features, classes = rng.normal(size=(60, 4)), np.arange(60) // 20
    reference, labels = rng.normal(size=(50, 4)), np.repeat([0, 1, 2], [25, 10, 15])
    share = np.array([0.5, 0.2, 0.3])
    real = Strata.of(Reference.of(reference), labels, 3)
    matrix, of_real = Cubic().matrix(features, features), Cubic().matrix(reference, reference)
    np.fill_diagonal(matrix, np.nan)
    np.fill_diagonal(of_real, np.nan)
    expected = 0.0
    for c in range(3):
        expected -= 2 * share[c] * Cubic().matrix(features[classes == c], reference).mean()
        for d in range(3):
            expected += share[c] * share[d] * np.nanmean(matrix[np.ix_(classes == c, classes == d)])
            expected += share[c] * share[d] * np.nanmean(of_real[np.ix_(labels == c, labels == d)])
    found = kd_at_data_mix(features, classes, real)
    assert found is not None and found[0] == pytest.approx(expected, rel=1e-10)
    kept = np.arange(60) % 20 != 3
    without = kd_at_data_mix(features[kept], classes[kept], real)
    assert found[1].shape == (20,) and without is not None
    assert found[1][3] == pytest.approx(without[0], rel=1e-10)


@pytest.mark.slow
def test_real_images_score_0_on_average_with_less_variance_than_kd(digits: tuple[np.ndarray, np.ndarray]) -> None:
    features, classes = digits
    rng, plain, at_mix, errors = np.random.default_rng(1), list[float](), list[float](), list[float]()
    for _ in range(40):
        order = rng.permutation(len(features))
        some, rest = order[:250], order[250:1000]
        reference = Reference.of(features[rest])
        found = kd_at_data_mix(features[some], classes[some], Strata.of(reference, classes[rest], 10))
        assert found is not None
        plain.append(METRICS["kd"](features[some], reference)[0])
        at_mix.append(found[0])
        errors.append(jackknife_se(found[1]))
    assert np.var(at_mix) < 0.75 * np.var(plain)
    assert abs(np.mean(at_mix)) < 3 * np.std(at_mix) / np.sqrt(len(at_mix))
    assert 0.7 < np.mean(errors) / np.std(at_mix) < 1.5


@pytest.mark.slow
def test_a_wrong_class_mix_of_real_images_counts_in_kd_only(digits: tuple[np.ndarray, np.ndarray]) -> None:
    features, classes = digits
    half, rest = np.arange(1500), np.arange(1500, 3000)
    few_ones = half[(classes[half] != 1) | (half % 8 == 0)]
    reference = Reference.of(features[rest])
    found = kd_at_data_mix(features[few_ones], classes[few_ones], Strata.of(reference, classes[rest], 10))
    assert found is not None
    assert METRICS["kd"](features[few_ones], reference)[0] > 10 * jackknife_se(found[1])
    assert abs(found[0]) < 3 * jackknife_se(found[1])


def test_a_class_that_is_not_drawn_leaves_it_without_a_value() -> None:
    features = np.random.default_rng(0).normal(size=(60, 4))
    reference = Reference.of(features)
    two, one = (Strata.of(reference, np.arange(60) % n, 2) for n in (2, 1))
    assert kd_at_data_mix(features, np.zeros(60, int), two) is None
    assert kd_at_data_mix(features, np.zeros(60, int), one) is not None


def test_class_distance_by_hand_and_by_chance() -> None:
    assert class_distance(np.array([6, 2, 2]), np.array([0.2, 0.4, 0.4])) == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    by_chance = [class_distance(rng.multinomial(500, SHARE), SHARE) for _ in range(2000)]
    assert expected_class_distance(500, SHARE) == pytest.approx(np.mean(by_chance), rel=0.03)
