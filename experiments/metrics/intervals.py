"""From differences per network to one estimate with an interval and a verdict. Pure statistics, no files.

One interval: the wider of Student's t over the networks' differences and the interval of their images. With fewer than
five networks only the latter, which holds for these networks. The networks' differences are independent, because each
network samples from its own seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from experiments.metrics.distances import Array, jackknife_se
from reports.schema import BETTER, ENOUGH_NETWORKS, GROUPS, LEVEL, NOT_DETECTABLE, POWER, WORSE


@dataclass(frozen=True)
class Estimate:
    """A difference a - b with its interval.

    `clear` is true if the interval excludes 0. `p_value` is that of the two-sided test of no difference that belongs to
    the interval. `detectable` is the difference that a test with this standard error finds with a probability of 80 %
    (its power). If the spread between networks makes the interval, `detectable_low` and `detectable_high` are the 95 %
    limits of that. `interval` says how the interval was made, and `holds_for` for how many networks it holds: these
    only, or None if it speaks of networks in general.
    """

    difference: float
    se: float
    low: float
    high: float
    interval: str
    clear: bool
    p_value: float
    detectable: float
    detectable_low: float | None
    detectable_high: float | None
    holds_for: int | None


def pooled(differences: Sequence[float], ses: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean difference over networks and its interval.

    Args:
        differences: one a - b per network.
        ses: their jackknife standard errors over images.
        level: coverage of the interval.

    Note: the standard errors over images are combined as independent, with the degrees of freedom of Welch (1947) and
        Satterthwaite (1946). Where networks are equal, t over five of them is narrower than that in a quarter of all
        cases; so the wider one counts. The limits of `detectable` are the chi-square limits of the spread.
    """
    d, variances = np.asarray(differences), np.square(ses)
    n, mean = len(d), float(np.mean(differences))
    freedom = _satterthwaite(variances)
    ways = [estimate(mean, float(np.sqrt(variances.sum())) / n, freedom, "delete-group jackknife over images", level)]
    if n >= ENOUGH_NETWORKS:
        ways.append(estimate(mean, float(d.std(ddof=1)) / n**0.5, n - 1.0, f"t over {n} networks", level))
    widest, p_value = max(ways, key=lambda way: way.high - way.low), max(way.p_value for way in ways)
    low, high = (
        (float(np.sqrt((n - 1) / stats.chi2.ppf(share, n - 1))) * widest.detectable for share in (0.975, 0.025))
        if widest is ways[-1] and len(ways) > 1
        else (None, None)
    )
    holds_for = None if n >= ENOUGH_NETWORKS else n
    return replace(widest, p_value=p_value, detectable_low=low, detectable_high=high, holds_for=holds_for)


def estimate(difference: float, se: float, freedom: float, how: str, level: float = LEVEL) -> Estimate:
    """A difference with Student's interval from its standard error, whose degrees of freedom are given."""
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * se
    p_value = float(2 * stats.t.sf(abs(difference) / se, freedom)) if se > 0 else float(difference == 0)
    detectable = half + float(stats.t.ppf(POWER, freedom)) * se
    low, high = difference - half, difference + half
    return Estimate(difference, se, low, high, how, abs(difference) > half, p_value, detectable, None, None, None)


def pooled_scores(differences: Sequence[Array], level: float = LEVEL) -> Estimate:
    """`pooled`, from (1 + GROUPS,) per network: the difference, then its jackknife replicates."""
    return pooled([float(each[0]) for each in differences], [jackknife_se(each[1:]) for each in differences], level)


def predicted(differences: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the difference that one more network of this kind would show; None for one or two networks.

    Student's prediction interval: mean +- t (n - 1 degrees of freedom) sqrt(1 + 1/n) standard deviations. The new
    network is measured with as many images, so this is a little too wide for its true difference.
    """
    d = np.asarray(differences)
    n = len(d)
    if n < 3:
        return None
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * d.std(ddof=1) * np.sqrt(1 + 1 / n)
    return float(d.mean() - half), float(d.mean() + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for their number, in the same order. Source: Holm 1979, Scand. J. Statist. 6, 65."""
    order = np.argsort(p_values)
    n = len(order)
    steps = np.maximum.accumulate(np.asarray(p_values)[order] * (n - np.arange(n)))
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(1.0, steps)
    return [float(p) for p in adjusted]


def verdict(estimate: Estimate) -> str:
    """The verdict on a against b, from the metric that decides."""
    if not estimate.clear:
        return NOT_DETECTABLE
    return BETTER if estimate.difference < 0 else WORSE


def _satterthwaite(variances: np.ndarray) -> float:
    total = float((variances**2).sum())
    return float(variances.sum() ** 2 / total * (GROUPS - 1)) if total > 0 else GROUPS - 1.0
