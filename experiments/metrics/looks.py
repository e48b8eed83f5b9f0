"""When a comparison has enough images: a group-sequential test, fixed beforehand.

The difference is looked at after a part of the images, and again after each further part. An ordinary 95 % interval at
every look would exclude 0 too often. Here the error of 5 % is spent little by little (Lan & DeMets 1983, Biometrika 70,
659), with their function of Pocock's type, alpha ln(1 + (e - 1) t) at the share t of the images. It stops early where
the difference is large. At each look the interval has the level that the spending leaves it. So all intervals of all
looks together contain the true difference with probability 95 %, whatever makes the run stop (repeated confidence
intervals: Jennison & Turnbull 1989, JRSS B 51, 305).

Note: looks at sums of independent images have correlation sqrt(n_j / n_k). Where networks differ too, looks are more
    alike than that, and the error is below 5 %.
"""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import optimize, stats

from experiments.metrics.intervals import LEVEL, Estimate


def why_stop(estimate: Estimate, smallest: float, last: bool) -> str:
    """Why a look ends the run; "" if it does not.

    Args:
        estimate: of the difference in KD, with the level of this look (see `levels`).
        smallest: the smallest difference of interest, in KD. An interval inside +-smallest ends the run too.
        last: whether no more images are planned.
    """
    if estimate.clear:
        return "clear"
    if -smallest < estimate.low and estimate.high < smallest:
        return "equal"
    return "maximum" if last else ""


@lru_cache
def levels(shares: tuple[float, ...]) -> tuple[float, ...]:
    """The level of the interval at each look. `shares` are the shares of the images, ascending; the last is 1.

    Raises:
        ValueError: shares that are not ascending from above 0 to 1.
    """
    if not shares or shares[0] <= 0 or shares[-1] != 1 or any(b <= a for a, b in pairwise(shares)):
        raise ValueError(f"shares={shares}: they must ascend from above 0 to 1")
    if len(shares) == 1:
        return (LEVEL,)
    bounds: list[float] = []
    for number, share in enumerate(shares, 1):
        times = np.asarray(shares[:number])
        correlation = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
        left = 1 - (1 - LEVEL) * math.log(1 + (math.e - 1) * share)  # the probability of no error so far

        def excess(bound: float, correlation: np.ndarray = correlation, left: float = left) -> float:
            limits = np.array([*bounds, bound])
            normal = stats.multivariate_normal(cov=correlation, seed=0, abseps=1e-6, maxpts=100_000)
            return float(normal.cdf(limits, lower_limit=-limits)) - left

        bounds.append(float(optimize.brentq(excess, 1.0, 8.0, xtol=1e-4)))
    return tuple(float(1 - 2 * stats.norm.sf(bound)) for bound in bounds)
