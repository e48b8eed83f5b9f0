"""How much do images differ from those before a change, as the share of them that was as good as destroyed?

With a Gaussian kernel k, images a_i before and b_i after the change, and the unit g(i) of pair i (its prompt, or i),

    h_ij = k(a_i, a_j) + k(b_i, b_j) - k(a_i, b_j) - k(b_i, a_j)        for g(i) != g(j)
    r_i = mean_j h_ij,  D = mean_i r_i

D is unbiased for MMD^2 between the laws before and after (Gretton et al. 2012, J. Mach. Learn. Res. 13, 723), also
where a_i and b_i share their noise, since no pair meets itself. If a share s of the images is replaced by anything at
all, the laws differ by s (mu - nu), so that MMD^2 <= s^2 C with C = 1 + mean k(a_i, a_j). That makes sqrt(D / C) a
share without a unit, which knows neither the number of images nor the feature space, and by the triangle inequality
root MMD to any third law changes by at most s sqrt(C).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.distances.copies import Groups
from experiments.distances.distance import Array, Distance
from experiments.distances.intervals import LEVEL
from experiments.distances.kernels import Gaussian, across, median_distance, sums

HARMLESS, HARMFUL, UNDECIDED = "harmless", "harmful", "not decided"
SEEN = 4.75  # images that would be destroyed at the margin: of so many, two or more are seen in 95 % of all sets


@dataclass(frozen=True)
class Harm:
    """The difference between images before and after a change.

    Args:
        distance: D, with what each unit adds to it.
        rows: (n,) r_i, what each pair of images adds.
        scale: C, so that a share s of destroyed images gives at most s^2 C.
        n_units: prompts, or pairs without prompts.
    """

    distance: Distance
    rows: Array
    scale: float
    n_units: int

    @property
    def value(self) -> float:
        """D, or 0 where chance brings it below that: no distance is negative, and so no interval is too narrow."""
        return max(self.distance.value, 0.0)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of its 95 % interval."""
        return self.value - self.half, self.value + self.half

    @property
    def half(self) -> float:
        """Half of the 95 % interval of D."""
        return float(stats.t.ppf((1 + LEVEL) / 2, self.n_units - 1)) * self.distance.se

    @property
    def shares(self) -> tuple[float, float, float]:
        """The share of images that is as good as destroyed, and the ends of its interval."""
        share, low, high = (math.sqrt(max(d, 0.0) / self.scale) for d in (self.value, *self.ends))
        return share, low, high

    def verdict(self, margin: float) -> str:
        """Harmless if the share is below the margin with certainty, harmful if it is above.

        D counts pairs of images that were both destroyed: where one or none is expected, it shows nothing.
        """
        limit = margin**2 * self.scale
        low, high = self.ends
        if high <= limit:
            return HARMLESS if len(self.rows) * margin >= SEEN else UNDECIDED
        return HARMFUL if low > limit else UNDECIDED

    def needed(self, margin: float) -> int | None:
        """Pairs of images that would decide if D stays what it is; None if no number would, or too many."""
        room = abs(margin**2 * self.scale - self.value)
        if room == 0:
            return None
        n = max(len(self.rows) * (self.half / room) ** 2, SEEN / margin)
        return math.ceil(n) if n < 1e6 else None


def harm(before: Array, after: Array, units: Groups | None = None) -> Harm:
    """The difference of features (n, d) before and after; rows at one place are a pair, which may share its noise.

    Args:
        units: (n,) of each pair the number of its prompt, 0 to G - 1; None if each is alone.

    Raises:
        ValueError: the sets have other shapes, there are fewer than two units, or the images have no scale.
    """
    if before.shape != after.shape:
        raise ValueError(f"before is {before.shape}, after {after.shape}; pairs need the same")
    n = len(before)
    units = np.arange(n) if units is None else units
    n_units = int(units.max()) + 1
    if n_units < 2:
        raise ValueError("all images belong to one prompt, so their spread is unknown")
    if not (width := median_distance(before)) > 0:
        raise ValueError("more than half of the pairs of images before are equal, so they have no scale")
    kernel = Gaussian(width)
    of_before, of_after = (sums({"": kernel}, side)[""] for side in (before, after))
    first, second = across({"": kernel}, before, after)[""]  # of k(a_i, b_j) over j, and over i
    rows = of_before.rows + of_after.rows - first - second
    sizes = np.bincount(units)
    rows += _within(kernel, before, after, units, sizes)
    rows /= n - sizes[units]
    value = float(rows.mean())
    distance = Distance(value, 2 * (rows - value)).of_groups(units)
    return Harm(distance, rows, 1 + of_before.mean, n_units)


def _within(kernel: Gaussian, before: Array, after: Array, units: Groups, sizes: Groups) -> Array:
    """What is added to each row so that its own unit, which is in all sums, is in none, (n,)."""
    alone = sizes[units] == 1
    out = np.zeros(len(before))
    out[alone] = 2 * np.exp(-((before[alone] - after[alone]) ** 2).sum(axis=1) / kernel.width**2)
    for unit in np.flatnonzero(sizes > 1):
        members = units == unit
        a, b = before[members], after[members]
        crossed, own = kernel.matrix(a, b), kernel.matrix(a, a) + kernel.matrix(b, b)
        out[members] = crossed.sum(axis=1) + crossed.sum(axis=0) + 2 - own.sum(axis=1)
    return out
