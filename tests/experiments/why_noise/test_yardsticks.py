"""Yardsticks with a known truth: no bias under the truth, equal to sums over pairs, moved by what they measure."""

import numpy as np
import pytest
from scipy import stats

from experiments.metrics.distances import Reference, jackknife_se
from experiments.why_noise.yardsticks import Whitened, class_chi2, log_density_gap, root_above, whitened_kd
from reports.schema import GROUPS

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(6, 6))


def features(n: int, shift: float = 0.0, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, 6)) + shift) @ MIX + 3


@pytest.mark.parametrize(("error", "root"), [(2.0, 2.0), (1.0, 1.0), (0.0, 0.0), (-0.5, 0.0)])
def test_half_of_an_error_leaves_half_of_the_root(error: float, root: float) -> None:
    floor, above = 1.4, error * abs(error)
    found = root_above(floor + above + np.append(0, np.linspace(-0.1, 0.1, GROUPS)), floor)
    assert found[0] == pytest.approx(root, abs=1e-7) and (found >= 0).all()
    if error > 0:  # the error of a root: d sqrt(x) = dx / (2 sqrt(x))
        assert jackknife_se(found[1:]) == pytest.approx(
            jackknife_se(np.linspace(-0.1, 0.1, GROUPS)) / (2 * root), rel=0.01
        )


def test_whitened_kd_is_the_mean_over_pairs() -> None:
    real, x = features(40, seed=2), features(60, 0.2)
    known = Whitened.of(Reference.of(real))
    z, w = (x - known.mean) @ known.root, (real - known.mean) @ known.root
    np.testing.assert_allclose(w.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(w.T @ w / len(w), np.eye(6), atol=1e-9)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (1 + a @ b.T) ** 2 / 6

    def distance(kept: np.ndarray) -> float:
        def off(a: np.ndarray) -> float:
            k = kernel(a, a)
            return float((k.sum() - np.trace(k)) / (len(a) * (len(a) - 1)))

        return off(z[kept]) + off(w) - 2 * float(kernel(z[kept], w).mean())

    value, *replicates = whitened_kd(x, known)
    group = np.arange(60) % GROUPS
    assert value == pytest.approx(distance(np.ones(60, bool)))
    assert replicates == pytest.approx([distance(group != out) for out in range(GROUPS)])


def test_whitened_kd_is_unbiased_and_sees_a_shift() -> None:
    known = Whitened.of(Reference.of(features(4000, seed=3)))
    null = [whitened_kd(features(200, seed=100 + k), known)[0] for k in range(200)]
    assert abs(np.mean(null)) < 4 * np.std(null) / 200**0.5 + 2e-3
    value, *replicates = whitened_kd(features(200, 0.6), known)
    assert value > 4 * jackknife_se(np.array(replicates))


def test_chi2_is_that_of_scipy_and_about_one_under_the_truth() -> None:
    shares = np.array([0.5, 0.3, 0.2, 0.0])
    drawn = np.random.default_rng(0).choice(3, 300, p=shares[:3])
    value, *replicates = class_chi2(drawn, shares)
    counts = np.bincount(drawn, minlength=4)[:3]
    assert value == pytest.approx(stats.chisquare(counts, 300 * shares[:3]).statistic / 2)
    assert len(replicates) == GROUPS
    many = [class_chi2(np.random.default_rng(k).choice(3, 300, p=shares[:3]), shares)[0] for k in range(400)]
    assert np.mean(many) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("shift", [2.0, -2.0])
def test_the_gap_is_a_size(shift: float) -> None:
    truth = np.random.default_rng(0).normal(size=5000)
    samples = np.random.default_rng(1).normal(size=400) + shift
    value, *replicates = log_density_gap(samples, truth)
    assert value == pytest.approx(2, abs=0.2) and np.mean(replicates) == pytest.approx(value)
    assert jackknife_se(np.array(replicates)) == pytest.approx(0.05, rel=0.5)
