"""From differences per network to one estimate with an interval and a verdict. Pure statistics, no files.

With fewer than five networks the interval holds for these networks only: it covers the variation over images. With five
or more it is a t interval over networks. Their differences are independent, because each network samples from its own
seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.schema import BETTER, ENOUGH_NETWORKS, GROUPS, LEVEL, POWER, UNCLEAR, UNDECIDED, WORSE


@dataclass(frozen=True)
class Estimate:
    """A difference a - b with its interval.

    `clear` is true if the interval excludes 0. If it is not a t interval over networks, all networks must agree in sign
    too. `p_value` is that of the two-sided t test of no difference. `detectable` is the difference that a test with
    this standard error finds with a probability of 80 % (its power). `interval` says how the interval was made, and
    `holds_for` for how many networks it holds: these only, or None if it speaks of networks in general.
    """

    difference: float
    se: float
    low: float
    high: float
    interval: str
    networks_agree: bool
    clear: bool
    p_value: float
    detectable: float
    holds_for: int | None


def pooled(differences: Sequence[float], ses: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean difference over networks and its interval.

    Args:
        differences: one a - b per network.
        ses: their jackknife standard errors over images.
        level: coverage of the interval.

    Note: with five or more networks this is Student's t over the differences. With fewer, the standard errors are
        combined as independent, with the degrees of freedom of Welch (1947) and Satterthwaite (1946).
    """
    d, variances = np.asarray(differences), np.square(ses)
    n, mean = len(d), float(np.mean(differences))
    agree = bool((d > 0).all() or (d < 0).all())
    speaks_of_networks = n >= ENOUGH_NETWORKS
    if speaks_of_networks:
        se, freedom, how = d.std(ddof=1) / np.sqrt(n), n - 1.0, f"t over {n} networks"
    else:
        se, freedom = np.sqrt(variances.sum()) / n, _satterthwaite(variances)
        how = "delete-group jackknife over images"
    half = float(stats.t.ppf((1 + level) / 2, freedom) * se)
    excludes_zero = abs(mean) > half
    clear = excludes_zero and (agree or speaks_of_networks)
    p_value = float(2 * stats.t.sf(abs(mean) / se, freedom)) if se > 0 else float(mean == 0)
    detectable = half + float(stats.t.ppf(POWER, freedom) * se)
    holds_for = None if speaks_of_networks else n
    return Estimate(mean, float(se), mean - half, mean + half, how, agree, bool(clear), p_value, detectable, holds_for)


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


def verdict(kd: Estimate, fd: Estimate) -> str:
    """The verdict on a against b. KD decides; FD can only contradict it."""
    if (kd.clear or fd.clear) and kd.difference * fd.difference < 0:
        return UNDECIDED
    if not kd.clear:
        return UNCLEAR
    return BETTER if kd.difference < 0 else WORSE


def _satterthwaite(variances: np.ndarray) -> float:
    total = float((variances**2).sum())
    return float(variances.sum() ** 2 / total * (GROUPS - 1)) if total > 0 else GROUPS - 1.0
