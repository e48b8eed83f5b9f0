"""Intervals and best sets hold the truth as often as they say, by simulation; and where they cannot, how often not.

Error over images is 1. `spread` is the standard deviation of true differences over networks. What is wrong by more than
the tolerances is in docs/statistics.md: a skewed spread, and networks in general from one or two.
"""

import numpy as np
import pytest

from experiments.metrics.best_set import best_set
from experiments.metrics.distances import METRICS, Reference, jackknife_se
from experiments.metrics.intervals import Estimate, pooled, predicted

TRIALS, MU = 1000, 0.7  # standard error of a coverage of 0.95: 0.007
SHAPES = {"normal": lambda rng, size: rng.normal(size=size), "skewed": lambda rng, size: rng.exponential(size=size) - 1}


def experiments(n: int, spread: float, shape: str, mu: float = MU) -> tuple[np.ndarray, list[Estimate]]:
    """The true mean difference of each experiment's own networks (TRIALS,), and what `pooled` makes of it."""
    rng = np.random.default_rng([n, int(4 * spread)])
    true = mu + spread * SHAPES[shape](rng, (TRIALS, n))
    ses = np.sqrt(rng.chisquare(19, size=true.shape) / 19)  # of 20 groups
    measured = true + rng.normal(size=true.shape)
    return true.mean(axis=1), [pooled(*pair) for pair in zip(measured.tolist(), ses.tolist(), strict=True)]


def coverage(truth: np.ndarray | float, estimates: list[Estimate]) -> float:
    low, high = np.transpose([(estimate.low, estimate.high) for estimate in estimates])
    return float(np.mean((low <= truth) & (truth <= high)))


@pytest.mark.parametrize(("n", "spread"), [(1, 0), (2, 4), (4, 1)])
def test_few_networks_hold_for_themselves(n: int, spread: float) -> None:
    own, estimates = experiments(n, spread, "normal")
    assert coverage(own, estimates) == pytest.approx(0.95, abs=0.02)
    assert all(estimate.holds_for == n for estimate in estimates)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "shape", "expected"),
    [(0, "normal", 0.981), (0.5, "normal", 0.974), (1, "normal", 0.961), (4, "normal", 0.951), (1, "skewed", 0.962),
     (4, "skewed", 0.902)],
)  # fmt: skip
def test_five_networks_hold_for_networks_in_general(spread: float, shape: str, expected: float) -> None:
    own, estimates = experiments(5, spread, shape)
    assert coverage(MU, estimates) == pytest.approx(expected, abs=0.02)
    assert coverage(own, estimates) > 0.965  # for themselves more than enough
    assert all((estimate.p_value < 0.05) == estimate.clear for estimate in estimates)


def test_no_difference_is_clear_in_one_experiment_of_twenty_and_a_detectable_one_in_four_of_five() -> None:
    _, equal = experiments(2, 0, "normal", mu=0)
    assert np.mean([estimate.clear for estimate in equal]) == pytest.approx(0.05, abs=0.02)
    _, different = experiments(2, 0, "normal", mu=pooled([0.0, 0.0], [1.0, 1.0]).detectable)
    assert np.mean([estimate.clear for estimate in different]) == pytest.approx(0.8, abs=0.035)


@pytest.mark.parametrize("spread", [0, 3])
def test_a_new_network_is_inside_its_interval(spread: float) -> None:
    rng = np.random.default_rng(15)
    measured = spread * rng.normal(size=(TRIALS, 5)) + rng.normal(size=(TRIALS, 5))
    low, high = np.transpose([predicted(row) or (0, 0) for row in measured])
    true = spread * rng.normal(size=TRIALS)
    shown = true + rng.normal(size=TRIALS)
    assert np.mean((low <= shown) & (shown <= high)) == pytest.approx(0.95, abs=0.02)
    assert np.mean((low <= true) & (true <= high)) > 0.945


def features(rng: np.random.Generator, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Features of a pair of runs that share their noise: mean 0, and mean `shift` with another scale."""
    common, left, right = rng.normal(size=(3, 120, 4))
    return 0.8 * common + 0.6 * left, 1.1 * (0.8 * common + 0.6 * right) + shift


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.3, 0.6])  # nearer to the floor the jackknife is too wide
def test_the_jackknife_holds_for_each_distance(shift: float) -> None:
    rng = np.random.default_rng(11)
    reference = Reference.of(rng.normal(0.1, 1.0, size=(300, 4)))
    pairs = [features(rng, shift) for _ in range(300)]
    for name in ("mmd", "fd"):
        sides = [[METRICS[name](side, reference) for side in pair] for pair in pairs]
        differences = [a - b for (a, _), (b, _) in sides]
        ses = [jackknife_se(a - b) for (_, a), (_, b) in sides]
        estimates = [pooled([d], [se]) for d, se in zip(differences, ses, strict=True)]
        assert 0.92 <= coverage(float(np.mean(differences)), estimates) <= 0.985  # standard error 0.013


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "spread", "low", "high"),
    [(1, 0, 0.02, 0.085), (2, 0, 0.02, 0.085), (5, 0, 0.003, 0.06), (5, 1, 0.01, 0.07), (2, 1, 0.13, 0.25)],
    ids=["one", "two equal", "five equal", "five that differ", "two that differ: not for networks in general"],
)
def test_a_setting_as_good_as_the_best_is_dropped_as_rarely_as_said(
    n: int, spread: float, low: float, high: float
) -> None:
    rng = np.random.default_rng(1)
    dropped = []
    for _ in range(200):
        noise = rng.normal(size=(n, 100, 6))  # the value of a setting is the mean over 100 images
        values = noise.mean(axis=1) + spread / 10 * rng.normal(size=(n, 6))
        standings = best_set(values, list(noise - noise.mean(axis=1, keepdims=True)))
        dropped.append(np.mean([standing.worse for standing in standings]))
    assert low < np.mean(dropped) < high  # standard error about 0.01
