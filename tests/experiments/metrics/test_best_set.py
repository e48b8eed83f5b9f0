"""The set of the best is small where it can be. How often it holds the best: test_coverage.py."""

import numpy as np
import pytest

from experiments.metrics import best_set as module
from experiments.metrics.best_set import best_set
from experiments.metrics.distances import METRICS, Reference, influence, jackknife_se

SETTINGS, N = 6, 100


def run(rng: np.random.Generator, means: np.ndarray, n_networks: int, shared: float) -> tuple[np.ndarray, list]:
    """Values and influences of settings whose value is a mean over images, which share part of their noise."""
    values, influences = [], []
    for _ in range(n_networks):
        noise = shared * rng.normal(size=(N, 1)) + np.sqrt(1 - shared**2) * rng.normal(size=(N, len(means)))
        values.append(means + noise.mean(axis=0))
        influences.append(noise - noise.mean(axis=0))
    return np.array(values), influences


def test_the_set_is_small_where_settings_differ_and_pairing_makes_it_smaller() -> None:
    rng = np.random.default_rng(2)
    means = 0.11 * np.arange(SETTINGS)
    sizes = {
        shared: np.mean([sum(not s.worse for s in best_set(*run(rng, means, 2, shared))) for _ in range(50)])
        for shared in (0.0, 0.95)
    }
    assert sizes[0.95] < 2.2 < sizes[0.0] < SETTINGS


def test_limits_contain_the_difference_to_the_best_other() -> None:
    rng = np.random.default_rng(3)
    means = np.array([0.0, 0.1, 0.3])
    truth = np.array([-0.1, 0.1, 0.3])
    low, high = [], []
    for _ in range(150):
        found = best_set(*run(rng, means, 2, 0.5))
        low.append([s.low <= t for s, t in zip(found, truth, strict=True)])
        high.append([t <= s.high for s, t in zip(found, truth, strict=True)])
    assert np.mean(low, axis=0).min() > 0.92 and np.mean(high, axis=0).min() > 0.92


def test_bonferronis_bound_for_many_settings_is_a_little_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    values, influences = run(np.random.default_rng(5), np.zeros(60), 2, 0.0)
    exact = best_set(values, influences)
    monkeypatch.setattr(module, "MANY", 59)
    bound = best_set(values, influences)
    ratio = [(b.high - b.difference) / (e.high - e.difference) for b, e in zip(bound, exact, strict=True)]
    assert min(ratio) > 1.0 and max(ratio) < 1.25


def test_influence_gives_the_standard_error_of_the_jackknife() -> None:
    rng = np.random.default_rng(4)
    reference = Reference.of(rng.normal(size=(2000, 4)))
    features = rng.normal(0.3, 1.2, size=(1000, 4))
    terms = influence("kd", features, reference)
    assert abs(terms.mean()) < 1e-12
    se = np.sqrt((terms**2).sum() / (1000 * 999))
    assert se == pytest.approx(jackknife_se(METRICS["kd"](features, reference)[1]), rel=0.35)  # 20 groups: +-16 %
