"""How far are images from those before a change, as the share of them whose replacement can move them as far?

With a Gaussian kernel k, images a_i before and b_i after the change, and the unit g(i) of pair i (its prompt, or i),

    h_ij = k(a_i, a_j) + k(b_i, b_j) - k(a_i, b_j) - k(b_i, a_j)        for g(i) != g(j)
    r_i = mean_j h_ij,  D = mean_i r_i

D is unbiased for MMD^2 between the laws before and after (Gretton et al. 2012, J. Mach. Learn. Res. 13, 723), also
where a_i and b_i share their noise, since no pair meets itself. If a share s of the images, picked at random, is
replaced by anything at all, the laws differ by s (mu - nu), so that MMD^2 <= s^2 C with C = 1 + mean k(a_i, a_j). That
makes sqrt(D / C) a share without a unit: the least share of which replacement can move the images as far. It bounds the
distance from the share, not the share from the distance: of subtler damage more images count the same. By the triangle
inequality root MMD, with this kernel, to any third law changes by at most s sqrt(C). Images that are picked since they
are alike, such as a class, give up to 2 s^2.

Student's interval of D is too short if few units do the harm: then the terms t_g of the G units are skew. So its upper
end grows by t^2 K, where t is Student's quantile and K = sum t_g^3 / sum t_g^2 / G (if K > 0). If X units are replaced
by one image, D is nearly (X / G)^2, and the expansion of Cornish and Fisher (Johnson 1978, J. Am. Stat. Assoc. 73, 536)
of the root of D gives (5 t^2 + 1) / 6 times K, which is less. A unit that is replaced alone is in no h_ij, whatever
else is changed. So the squared upper end of the share also grows by that of the smallest share that G units can show.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor

from experiments.distances import duplicates
from experiments.distances.distance import Array, Distance
from experiments.distances.duplicates import ClusterIds
from experiments.distances.intervals import CONFIDENCE
from experiments.distances.kernels import across, among, gaussian, median_distance
from reports.schema import HARMFUL, HARMLESS, UNDECIDED

FAR = 4  # standard errors of a share, for `is_reordered`
CLOSE = 0.25  # of a squared distance, for `is_reordered`
MOST = 0.75  # of all pairs, for `is_reordered`
ROUNDING = 1e-13  # of a mean kernel, which is at most 1
SEEN = 4.75  # replaced units of all, of which two or more, which D shows, are in 95 % of all sets


@dataclass(frozen=True)
class EquivalenceTest:
    """The difference between images before and after a change.

    Args:
        distance: D, with what each unit adds to it: prompts, or pairs without prompts.
        scale: C, so that a share s of replaced images gives at most s^2 C.
        at_best: the smallest share that these units can show.
        n: pairs of images.
    """

    distance: Distance
    scale: float
    at_best: float
    n: int

    @property
    def n_units(self) -> int:
        """Prompts, or pairs without prompts."""
        return len(self.distance.own)

    @property
    def value(self) -> float:
        """D, or 0 if chance brings it below 0."""
        return max(self.distance.value, 0.0)

    @property
    def quantile(self) -> float:
        """Student's, of a 95 % interval."""
        return float(stdtrit(self.n_units - 1, (1 + CONFIDENCE) / 2))

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of D."""
        return self.quantile * self.distance.se

    @property
    def skewness(self) -> float:
        """K: how much the units that add most to D outweigh the others; 0 if no few do."""
        terms = self.distance.own
        squares = float((terms**2).sum())
        return max(float((terms**3).sum()) / squares / self.n_units, 0.0) if squares > 0 else 0.0

    @property
    def shares(self) -> tuple[float, float, float]:
        """The least share of images whose replacement can move them as far, and the ends of its interval."""
        low = math.sqrt(max(self.value - self.half_width, 0.0) / self.scale)
        return math.sqrt(self.value / self.scale), low, float(self._high(np.array([1.0]))[0])

    def _high(self, times: Array) -> Array:
        """The upper end of the share with that many times as many units, and D the same."""
        half = self.half_width * times ** (-0.5 if self.value > 0 else -1.0)  # fast if there is no difference
        of_few = self.quantile**2 * self.skewness / times
        squares = (self.value + half + of_few) / self.scale + (self.at_best / times) ** 2
        return np.minimum(np.sqrt(squares), 1.0)

    def verdict(self, margin: float) -> str:
        """Harmless if the interval of the share is below the margin, harmful if it is above."""
        _, low, high = self.shares
        return HARMLESS if high <= margin else HARMFUL if low > margin else UNDECIDED

    def required_pairs(self, margin: float) -> int | None:
        """About how many pairs of images would decide if D stays what it is; None if no number would, or too many."""
        times = np.geomspace(1, 1e6 / self.n_units, 2000)
        harmful = self.value - self.half_width * times**-0.5 > margin**2 * self.scale
        decide = (self._high(times) <= margin) | harmful
        return math.ceil(self.n * times[decide.argmax()]) if decide.any() else None


def smallest_share(sizes: NDArray[np.integer]) -> float:
    """The smallest share of images that units of these sizes (G,) can show: 4.75 / G if they are equal.

    With larger units fewer of them make the same share, and one that is harmed alone is never seen.
    """
    weights = sizes / sizes.sum()
    return min(max(SEEN * float((weights**2).sum()), float(weights.max())), 1.0)


def compare_distributions(before: Tensor, after: Tensor, units: ClusterIds | None = None) -> EquivalenceTest:
    """The difference of features (n, d) before and after; rows at one place are a pair, which may share its noise.

    Args:
        units: (n,) the index of each pair's prompt, 0 to G - 1; None if each is alone.

    Raises:
        ValueError: more than half of the pairs of images before are equal.
    """
    units = np.arange(len(before)) if units is None else units
    if not (width := median_distance(before)) > 0:
        raise ValueError("more than half of the pairs of images before are equal, so they have no scale")
    n = len(before)
    kernel = {"": partial(gaussian, width=width)}
    sizes = np.bincount(units)
    groups = torch.from_numpy(units).to(before.device)
    of_before, of_after = (among(kernel, images, groups)[0][""].rows / (n - 1) for images in (before, after))
    between = across(kernel, before, after, groups=groups)  # of k(a_i, b_j) over j, and over i
    crossed = (between.rows[""] + between.columns[""]) / (n - torch.bincount(groups)[groups])
    rows = (of_before + of_after - crossed).cpu().numpy()  # r_i
    rows[np.abs(rows) < ROUNDING] = 0  # so that equal sets have the share 0
    value = float(rows.mean())
    distance = Distance(value, 2 * (rows - value)).by_unit(units)
    of_all = among(kernel, before)[0][""].mean if sizes.max() > 1 else float(of_before.mean())
    return EquivalenceTest(distance, 1 + of_all, smallest_share(sizes), n)


def is_reordered(before: Tensor, after: Tensor, paired: bool) -> bool:
    """Whether most images after are one of those before, but at another place: both are nearest to each other.

    Of independent sets that is one half at most; of digits in a wrong order 1.0 with 0.85 of the contrast, and 0.56 to
    0.76 with half of it; of right pairs up to 0.1. Fewer than 16 pairs cannot be that far above one half by chance: of
    any number three in four may not be at less than half of the distance of their own partner.
    """
    indices = torch.arange(len(after), device=after.device)
    there = indices.clone()  # of each image after the place of the nearest before
    back = indices.clone()  # of each image before the place of the nearest after
    near, nearest = (torch.full(indices.shape, torch.inf, device=after.device) for _ in range(2))
    for rows, columns, _, squares in duplicates.squared_distances(after, before):
        _keep_closer(squares.min(dim=1), rows, columns.start, near, there)
        _keep_closer(squares.min(dim=0), columns, rows.start, nearest, back)
    mutual = back[there] == indices
    if paired:
        mutual &= there != indices
        close = mutual & (near < CLOSE * (after - before).square().sum(dim=1))
        if float(close.double().mean()) > MOST:
            return True
    return float(mutual.double().mean()) > 0.5 + FAR * (0.25 / len(after)) ** 0.5


def _keep_closer(closest: torch.return_types.min, at: slice, start: int, squares: Tensor, places: Tensor) -> None:
    """Takes over, in place, what is closer in a block; its first image among the others is number `start`."""
    closer = closest.values < squares[at]
    places[at] = torch.where(closer, closest.indices + start, places[at])
    squares[at] = torch.minimum(closest.values, squares[at])
