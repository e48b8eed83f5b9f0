"""A distance between two samples of images, and what each image adds to it, from which its variance follows."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Influence:
    """One distance between a set of images and real ones, or the difference of two.

    Args:
        value: the distance.
        own: (n,) what each image adds, mean 0. The variance over n images is about sum(own^2) / (n (n - 1)).
        real: (R,) what each real image adds, mean 0.
        cells: (2 GROUPS, 2 GROUPS) what each two groups add to it together, groups of its images before real ones. Only
            their interactions count: what each group adds by itself is arbitrary. Image i is in group i mod GROUPS.
    """

    value: float
    own: Array
    real: Array
    cells: Array

    def __sub__(self, other: "Influence") -> "Influence":
        """The difference of the distances of two sets whose images at one place are a pair."""
        return Influence(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))
