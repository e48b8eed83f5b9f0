"""A race: many settings are compared after each block of paired images, and a setting that is worse leaves.

At each look the settings that are left are compared with the best of them (best_set.py). The error of 5 % is spent over
the looks by Lan & DeMets' function of Pocock's type (see looks.py): look k gets alpha(t_k) - alpha(t_(k-1)), where t is
the share of the images. So the truly best setting leaves the race with a probability of at most 5 % in all. That is
Bonferroni's bound, which needs no assumption on how looks are correlated.
"""

import math
from itertools import pairwise

from experiments.metrics.intervals import LEVEL


def levels(sizes: tuple[int, ...]) -> tuple[float, ...]:
    """The level of the comparison at each look. `sizes` are the numbers of images, ascending."""
    spent = [(1 - LEVEL) * math.log1p((math.e - 1) * size / sizes[-1]) for size in (0, *sizes)]
    return tuple(1 - (after - before) for before, after in pairwise(spent))
