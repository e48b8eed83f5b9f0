"""Differences between settings that the run did not compare, with intervals from the standard errors of both."""

import math
from dataclasses import dataclass

import pandas as pd
from scipy.stats import t as student

from reports.schema import LEVEL
from reports.sentences import FREEDOM


@dataclass(frozen=True)
class Mean:
    """The KD of a setting, a mean over networks, and its standard error over images."""

    value: float
    se: float
    networks: int


def mean(rows: pd.DataFrame) -> Mean:
    """The mean of the runs of one setting, one row of table.csv per network."""
    return Mean(float(rows["kd"].mean()), math.sqrt((rows["kd_se"] ** 2).sum()) / len(rows), len(rows))


def difference(a: Mean, b: Mean, comparisons: int = 1) -> tuple[float, float, float]:
    """a − b with its interval, which holds for these networks.

    Args:
        comparisons: how many intervals are looked at together. All of them hold with 95 % (Bonferroni).

    Note: the standard errors are combined as if the images were independent. Runs that share their noise are positively
        correlated, so their true interval is narrower.
    """
    level = 1 - (1 - LEVEL) / comparisons
    width = float(student.ppf((1 + level) / 2, FREEDOM * (a.networks + b.networks))) * math.hypot(a.se, b.se)
    change = a.value - b.value
    return change, change - width, change + width
