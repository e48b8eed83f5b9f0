"""From distances of two sides, one pair per network, to one difference with its 95 % interval. No files.

Two estimands. With five networks or more the difference holds for networks in general: Student's t over the networks'
differences, which contain the noise of images already. With fewer it holds for these networks: Student's t over what
each image adds. `score` has one pair: the same function.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's distribution and its quantiles; scipy.stats takes long to import

from experiments.distances.distance import Distance, jackknife_variance
from reports.schema import BETTER, NO_DIFFERENCE, NOT_SIGNIFICANT, VISIBLE, WORSE

CONFIDENCE = 0.95  # the confidence of an interval
MIN_SAMPLES = 40  # images, for an interval
POWER = 0.8  # of a test that could have detected a difference
ENOUGH_NETWORKS = 5  # with fewer, an interval holds for these networks only
Pairs = Sequence[tuple[Distance, Distance]]  # of a and b, one of each network


@dataclass(frozen=True)
class Estimate:
    """A difference a - b with its own 95 % interval.

    `p`: of the two-sided test of no difference that belongs to the interval, with these degrees of freedom.
    """

    difference: float
    se: float
    low: float
    high: float
    p: float
    freedom: float


def estimate_one(distance: Distance) -> Estimate:
    """A distance with its interval over images."""
    return estimate(distance.value, distance.se, degrees_of_freedom(distance))


def estimate_pairs(pairs: Pairs, *, paired: bool = True) -> Estimate:
    """The mean of a - b over networks, one pair (a, b) for each, with its interval.

    Args:
        pairs: the networks' distances. Those of two networks are independent: each samples from its own seed.
        paired: whether image i of a and of b comes from the same noise.

    Note: with fewer than five networks, variances over images are combined as independent, with the degrees of freedom
        of Welch (1947) and Satterthwaite (1946).
    """
    n = len(pairs)
    d = [a.value - b.value for a, b in pairs]
    if n >= ENOUGH_NETWORKS:
        return estimate_mean(d)
    if paired:
        variances = np.array([(a - b).se ** 2 for a, b in pairs])
    else:
        variances = np.array([sum(map(jackknife_variance, (a.own, b.own, a.real - b.real))) for a, b in pairs])
    freedoms = np.array([min(degrees_of_freedom(a), degrees_of_freedom(b)) for a, b in pairs])
    spread = float((variances**2 / freedoms).sum())
    degrees = float(variances.sum() ** 2 / spread) if spread > 0 else float(freedoms[0])
    se = float(np.sqrt(variances.sum())) / n
    return estimate(float(np.mean(d)), se, degrees)


def estimate_mean(values: Sequence[float]) -> Estimate:
    """The mean of as many networks, two or more, for networks in general."""
    se = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return estimate(float(np.mean(values)), se, len(values) - 1.0)


def estimate(difference: float, se: float, freedom: float) -> Estimate:
    """A difference with Student's interval from its standard error and the degrees of freedom of that."""
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * se
    p = float(2 * stdtr(freedom, -abs(difference) / se)) if se > 0 else float(difference == 0)
    return Estimate(difference, se, difference - half, difference + half, p, freedom)


def detectable(se: float, freedom: float, n_compared: int = 1) -> float:
    """The difference that a test, one of several corrected for each other (Bonferroni), finds with 80 % probability."""
    critical = -stdtrit(freedom, (1 - CONFIDENCE) / 2 / n_compared)
    return float(critical + stdtrit(freedom, POWER)) * se


def verdict(found: Estimate, corrected: float) -> str:
    """The verdict on a against b, from the distance that decides and its p value corrected for its family."""
    if corrected > 1 - CONFIDENCE:
        return NOT_SIGNIFICANT if found.low > 0 or found.high < 0 else NO_DIFFERENCE
    return BETTER if found.difference < 0 else WORSE


def too_noisy(noise_levels: Sequence[float]) -> bool:
    """Whether a setting shows more noise than `VISIBLE`, from its visible noise on each network.

    Of several networks the low end of Student's one-sided 95 % interval of the mean counts.
    """
    d = np.array(noise_levels)
    margin = stdtrit(len(d) - 1, CONFIDENCE) * d.std(ddof=1) / len(d) ** 0.5 if len(d) > 1 else 0.0
    return bool(d.mean() - margin > VISIBLE)


def degrees_of_freedom(distance: Distance) -> float:
    """The degrees of freedom of the variance over images."""
    return min(len(distance.own), len(distance.real) or math.inf) - 1


def holm(p_values: Sequence[float], size: int = 0) -> list[float]:
    """The p values corrected for all these comparisons by Holm: those up to 0.05 are detectable together at 5 %.

    `size`: of their family, if it has more comparisons, whose p values count as 1.

    It needs no assumption on how comparisons depend on each other (Holm 1979, Scand. J. Statist. 6, 65). With the
    lowest score as the reference it also gives the set of the best, which the truly best setting leaves with at most
    2.5 % (multiple comparisons with the best: Hsu 1984, Ann. Statist. 12, 1136).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    multiplied = p[order] * (max(size, len(p)) - np.arange(len(p)))
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(multiplied, 1.0))
    return corrected.tolist()
