"""From distances of two sides, one pair per network, to one difference with an interval and a verdict. No files.

One interval: the wider of Student's t over the networks' differences and the interval over their images. With fewer
than five networks only the latter, which holds for these networks. `score` has one pair: the same function.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from experiments.distances.distance import Array, Distance, of_singles

LEVEL = 0.95  # the confidence of an interval
MIN_SAMPLES = 40  # images, for an interval
POWER = 0.8  # of a test that could have detected a difference
ENOUGH_NETWORKS = 5  # with fewer, an interval holds for these networks only
GRAINY = 0.01  # grain (texture.py) that a report mentions: about ten times what 500 real images differ by
FIXED, SAMPLED = "what each image adds", "what each image adds, and each real image"  # how an interval is made
BETTER, WORSE, NOT_DETECTABLE, NO_VERDICT = "better", "worse", "not detectable", "no verdict"


@dataclass(frozen=True)
class Estimate:
    """A difference a - b with its interval; its fields are columns of contrasts.csv.

    `clear`: the interval excludes 0. `p_value` is that of the two-sided test of no difference that belongs to it.
    `detectable`: the difference that this test finds with a probability of 80 %, with the 95 % limits of that where the
    spread between networks makes the interval. `holds_for`: how many networks it holds for; None if it speaks of
    networks in general.
    """

    difference: float
    se: float
    low: float
    high: float
    interval: str
    clear: bool
    p_value: float
    detectable: float
    detectable_low: float | None = None
    detectable_high: float | None = None
    holds_for: int | None = None


def of_one(distance: Distance) -> Estimate:
    """A distance with its interval over images."""
    return estimate(distance.value, distance.se, freedom(distance), how(distance))


def of_pairs(pairs: Sequence[tuple[Distance, Distance]], *, paired: bool = True, level: float = LEVEL) -> Estimate:
    """The mean of a - b over networks, one pair (a, b) for each, with its interval.

    Args:
        pairs: the networks' distances. Those of two networks are independent: each samples from its own seed.
        paired: whether image i of a and of b comes from the same noise.
        level: coverage of the interval.

    Note: variances over images are combined as independent, with the degrees of freedom of Welch (1947) and
        Satterthwaite (1946). Where networks are equal, t over five of them is narrower than that in a quarter of all
        cases; so the wider one counts. The limits of `detectable` are the chi-square limits of the spread.
    """
    d, n = np.array([a.value - b.value for a, b in pairs]), len(pairs)
    variances = np.array([of_difference(a, b, paired) for a, b in pairs])
    freedoms = np.array([min(freedom(a), freedom(b)) for a, b in pairs])
    mean, se = float(d.mean()), float(np.sqrt(variances.sum())) / n
    ways = [estimate(mean, se, satterthwaite(variances, freedoms), how(pairs[0][0]), level)]
    if n >= ENOUGH_NETWORKS:
        ways.append(estimate(mean, float(d.std(ddof=1)) / n**0.5, n - 1.0, over_networks(n), level))
    widest, p_value = max(ways, key=lambda way: way.high - way.low), max(way.p_value for way in ways)
    low, high = (
        (float(np.sqrt((n - 1) / stats.chi2.ppf(share, n - 1))) * widest.detectable for share in (0.975, 0.025))
        if widest is ways[-1] and len(ways) > 1
        else (None, None)
    )
    holds_for = None if n >= ENOUGH_NETWORKS else n
    return replace(widest, p_value=p_value, detectable_low=low, detectable_high=high, holds_for=holds_for)


def of_difference(a: Distance, b: Distance, paired: bool = True) -> float:
    """The variance of a - b over images."""
    if paired:
        return (a - b).se ** 2
    return of_singles(a.own) + of_singles(b.own) + of_singles(a.real - b.real)


def estimate(difference: float, se: float, freedom: float, how: str, level: float = LEVEL) -> Estimate:
    """A difference with Student's interval from its standard error, whose degrees of freedom are given."""
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * se
    p_value = float(2 * stats.t.sf(abs(difference) / se, freedom)) if se > 0 else float(difference == 0)
    detectable = half + float(stats.t.ppf(POWER, freedom)) * se
    clear = abs(difference) > half
    return Estimate(difference, se, difference - half, difference + half, how, clear, p_value, detectable)


def satterthwaite(variances: Array, freedoms: Array) -> float:
    """The degrees of freedom of a sum of variances, each with its own."""
    spread = float((variances**2 / freedoms).sum())
    return float(variances.sum() ** 2 / spread) if spread > 0 else float(freedoms[0])


def predicted(differences: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the difference that one more network of this kind would show; None for one or two networks.

    Student's prediction interval: mean +- t (n - 1 degrees of freedom) sqrt(1 + 1/n) standard deviations. The new
    network is measured with as many images, so this is a little too wide for its true difference.
    """
    d, n = np.asarray(differences), len(differences)
    if n < 3:
        return None
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * d.std(ddof=1) * np.sqrt(1 + 1 / n)
    return float(d.mean() - half), float(d.mean() + half)


def verdict(judge: Estimate) -> str:
    """The verdict on a against b, from the distance that decides."""
    if not judge.clear:
        return NOT_DETECTABLE
    return BETTER if judge.difference < 0 else WORSE


def how(distance: Distance) -> str:
    """How an interval over its images is made."""
    return SAMPLED if len(distance.real) else FIXED


def over_networks(n: int) -> str:
    """How an interval over n networks is made."""
    return f"t over {n} networks"


def freedom(distance: Distance) -> float:
    """The degrees of freedom of its variance over images."""
    return min(len(distance.own), len(distance.real) or math.inf) - 1
