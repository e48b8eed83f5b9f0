"""From differences per network to one estimate with an interval and a verdict. Pure statistics, no files.

With fewer than five networks the interval holds for these networks only: it covers the variation over images. With five
or more it is a t interval over networks. Their differences are independent, because each network samples from its own
seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.config.config import GROUPS

LEVEL = 0.95
ENOUGH_NETWORKS = 5


@dataclass(frozen=True)
class Estimate:
    """A difference a - b with its interval.

    `clear` is true if the interval excludes 0. If it is not a t interval over networks, all networks must agree in sign
    too.
    """

    difference: float
    se: float
    low: float
    high: float
    interval: str
    networks_agree: bool
    clear: bool


def pooled(differences: Sequence[float], ses: Sequence[float], over_networks: bool = True) -> Estimate:
    """The mean difference over networks and its 95 % interval.

    Args:
        differences: one a - b per network.
        ses: their jackknife standard errors over images.
        over_networks: False gives the interval that holds for these networks only, for any number of networks. Use it
            for a setting that was chosen on the same networks: an interval over networks would be too optimistic.

    Note: with five or more networks this is Student's t over the differences. With fewer, the standard errors are
        combined as independent, with the degrees of freedom of Welch (1947) and Satterthwaite (1946).
    """
    d, variances = np.asarray(differences), np.square(ses)
    n, mean = len(d), float(np.mean(differences))
    agree = bool((d > 0).all() or (d < 0).all())
    speaks_of_networks = over_networks and n >= ENOUGH_NETWORKS
    if speaks_of_networks:
        se, freedom, how = d.std(ddof=1) / np.sqrt(n), n - 1.0, f"t over {n} networks"
    else:
        se, freedom = np.sqrt(variances.sum()) / n, _satterthwaite(variances)
        these = "this network" if n == 1 else f"these {n} networks"
        how = f"delete-group jackknife over images, conditional on {these}"
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * se)
    excludes_zero = abs(mean) > half
    clear = excludes_zero and (agree or speaks_of_networks)
    return Estimate(mean, float(se), mean - half, mean + half, how, agree, bool(clear))


def verdict(kd: Estimate, fd: Estimate) -> str:
    """The verdict on a against b. KD decides; FD can only contradict it."""
    if (kd.clear or fd.clear) and kd.difference * fd.difference < 0:
        return "undecided: the metrics disagree"
    if not kd.clear:
        return "no clear difference"
    return "better" if kd.difference < 0 else "worse"


def _satterthwaite(variances: np.ndarray) -> float:
    total = float((variances**2).sum())
    return float(variances.sum() ** 2 / total * (GROUPS - 1)) if total > 0 else GROUPS - 1.0
