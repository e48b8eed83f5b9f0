"""Intervals cover the truth as often as they say, by simulation; verdicts say what the intervals say."""

from functools import cache, partial

import numpy as np
import pytest

from experiments.metrics.distances import (
    Reference,
    fd_replicates,
    frechet_distance,
    jackknife_se,
    kernel_distance,
    kernel_replicates,
)
from experiments.metrics.intervals import Estimate, holm, pooled, predicted, verdict

DIMENSION, TRIALS = 6, 400


def simulate(rng: np.random.Generator, n: int, shift: float, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Features of a pair of runs that share part of their noise: mean 0 against mean `shift`, and another scale."""
    common, left, right = rng.normal(size=(3, n, DIMENSION))
    mix = np.sqrt(correlation), np.sqrt(1 - correlation)
    return mix[0] * common + mix[1] * left, 1.1 * (mix[0] * common + mix[1] * right) + shift


DISTANCES = {
    "fd": (frechet_distance, fd_replicates),
    "mmd": (partial(kernel_distance, "mmd"), partial(kernel_replicates, "mmd")),
}


@cache
def simulated(metric: str, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Differences and their standard errors (TRIALS, 2): in each trial a pair of runs of each of two networks."""
    rng = np.random.default_rng(11)
    distance, replicates = DISTANCES[metric]
    reference = Reference.of(rng.normal(0.1, 1.0, size=(600, DIMENSION)))
    pairs = [simulate(rng, 200, shift, correlation=0.6) for _ in range(2 * TRIALS)]
    differences = [distance(a, reference) - distance(b, reference) for a, b in pairs]
    ses = [jackknife_se(replicates(a, reference) - replicates(b, reference)) for a, b in pairs]
    return np.reshape(differences, (TRIALS, 2)), np.reshape(ses, (TRIALS, 2))


@pytest.mark.slow
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("n_networks", [1, 2])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_conditional_interval_covers_the_expected_difference(metric: str, n_networks: int, shift: float) -> None:
    differences, ses = (each[:, :n_networks].tolist() for each in simulated(metric, shift))
    estimates = [pooled(*trial) for trial in zip(differences, ses, strict=True)]
    truth = float(np.mean(simulated(metric, shift)[0]))
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])
    assert 0.92 <= covered <= 0.98  # 400 trials: two standard errors are 2 %


@pytest.mark.parametrize(
    ("spread", "least", "most"),
    [(0.0, 0.965, 0.995), (1.0, 0.95, 0.985), (10.0, 0.935, 0.965)],
    ids=["equal networks", "as different as images make them", "different networks"],
)
@pytest.mark.parametrize("skewed", [False, True])
def test_interval_over_networks_covers_the_mean_of_all_networks(
    spread: float, least: float, most: float, skewed: bool
) -> None:
    rng = np.random.default_rng(12)
    networks = rng.gamma(4, 0.5, (3000, 5)) - 2 if skewed else rng.normal(size=(3000, 5))  # skewness 1, or 0
    differences = 0.7 + spread * networks + rng.normal(size=(3000, 5))
    ses = np.sqrt(rng.chisquare(19, size=(3000, 5)) / 19)
    estimates = [pooled(*trial) for trial in zip(differences, ses, strict=True)]
    assert {estimate.holds_for for estimate in estimates} == {None}
    covered = np.mean([estimate.low <= 0.7 <= estimate.high for estimate in estimates])
    assert least - 0.02 * skewed <= covered <= most
    assert np.mean([estimate.p_value < 0.05 for estimate in estimates]) == np.mean(
        [not estimate.low <= 0 <= estimate.high for estimate in estimates]
    )


def of_two_networks(seed: int, difference: float, repeats: int) -> list[Estimate]:
    """Estimates from two networks whose standard errors come from 20 groups, as in the jackknife."""
    rng = np.random.default_rng(seed)
    ses = np.sqrt(rng.chisquare(19, size=(repeats, 2)) / 19)
    return [pooled(*pair) for pair in zip(rng.normal(difference, 1, size=(repeats, 2)), ses, strict=True)]


def test_equal_runs_are_called_clear_at_most_as_often_as_the_level_allows() -> None:
    assert 0.01 < np.mean([estimate.clear for estimate in of_two_networks(13, 0.0, 2000)]) < 0.055


def test_detectable_is_detected_in_four_of_five_runs() -> None:
    size = pooled([0.0, 0.0], [1.0, 1.0]).detectable
    found = np.mean([estimate.low > 0 for estimate in of_two_networks(14, size, 4000)])
    assert found == pytest.approx(0.8, abs=0.025)


def test_two_networks_by_hand() -> None:
    estimate = pooled([1.0, 3.0], [0.3, 0.4])
    assert estimate.difference == 2.0 and estimate.se == pytest.approx(0.25)
    freedom = 19 * (0.09 + 0.16) ** 2 / (0.09**2 + 0.16**2)
    assert freedom == pytest.approx(35.24, abs=0.01)
    assert estimate.high - 2 == pytest.approx(2.0296 * 0.25, abs=2e-4)
    assert (estimate.interval, estimate.holds_for) == ("delete-group jackknife over images", 2)


def make(difference: float, clear: bool) -> Estimate:
    return Estimate(difference, 1, difference - 1, difference + 1, "", clear, 0.01 if clear else 0.5, 3, None, None, 2)


@pytest.mark.parametrize(
    ("kd", "fd", "words"),
    [
        (make(-2, True), make(-2, True), "better"),
        (make(2, True), make(2, False), "worse"),
        (make(-2, False), make(-2, True), "no clear difference"),
        (make(-2, False), make(2, False), "no clear difference"),
        (make(-2, True), make(2, False), "undecided: the metrics disagree"),
        (make(-2, False), make(2, True), "undecided: the metrics disagree"),
    ],
)
def test_verdict(kd: Estimate, fd: Estimate, words: str) -> None:
    assert verdict(kd, fd) == words


def test_five_networks_speak_of_networks_in_general_and_four_of_these() -> None:
    alike, different = [1.0, 1.1, 0.9, 1.0, 1.0], [1.0, 2.0, 0.0, 3.0, -1.0]
    general = pooled(different, [0.5] * 5)
    assert (general.interval, general.holds_for) == ("t over 5 networks", None)
    assert general.se == pytest.approx(np.sqrt(2.5 / 5))
    for n in (4, 5):  # the wider of both intervals; four have one only
        images = pooled(alike[:n], [0.5] * n)
        assert images.holds_for == (n if n < 5 else None) and "jackknife" in images.interval
        assert images.se == pytest.approx(0.5 / np.sqrt(n)) and images.detectable_low is None


def test_what_was_detectable_is_a_range_if_the_spread_between_networks_is_estimated() -> None:
    estimate = pooled([1.0, 2.0, 0.0, 3.0, -1.0], [0.5] * 5)  # chi-square limits at 4 degrees of freedom: 0.484, 11.14
    assert estimate.detectable_low == pytest.approx(np.sqrt(4 / 11.143) * estimate.detectable, rel=1e-3)
    assert estimate.detectable_high == pytest.approx(np.sqrt(4 / 0.4844) * estimate.detectable, rel=1e-3)


def test_p_value_and_detectable_difference_belong_to_the_interval() -> None:
    at_the_edge = pooled([2.0281], [1.0], level=0.95)  # t with 19 degrees of freedom: 2.0930
    assert at_the_edge.p_value == pytest.approx(0.0568, abs=2e-4)
    assert at_the_edge.detectable == pytest.approx(2.0930 + 0.8610, abs=1e-3)
    wider = pooled([2.0281], [1.0], level=0.99)
    assert wider.p_value == at_the_edge.p_value and wider.high > at_the_edge.high


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize("between", [0.0, 1.0, 3.0])
def test_a_new_network_is_inside_its_interval_as_often_as_it_says(between: float) -> None:
    rng = np.random.default_rng(15)
    measured = rng.normal(0, between, size=(3000, 5)) + rng.normal(size=(3000, 5))
    low, high = np.transpose([predicted(row) or (0, 0) for row in measured])
    true = rng.normal(0, between, size=3000)
    shown = true + rng.normal(size=3000)
    assert np.mean((low <= shown) & (shown <= high)) == pytest.approx(0.95, abs=0.012)
    assert np.mean((low <= true) & (true <= high)) > 0.95
    assert predicted([1.0, 2.0]) is None, "two networks say nothing about a new one"
