"""Distances of a set of images to real ones, with the parts of which their intervals are made.

MMD, KD and FD are those of metrics/. Here each also has what every *real* image adds, because the real images of a user
are a sample too. A difference between two sets has both parts: what their own images add and what the real images do,
which are the same on both sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.config.config import WIDTH
from experiments.metrics import frechet, kernels
from experiments.metrics.distances import Pool
from experiments.metrics.frechet import Moments
from experiments.metrics.influence import Influence
from experiments.metrics.intervals import Estimate, estimate
from experiments.metrics.kernels import Array, median_distance
from reports.schema import GROUPS, LEVEL

INTERVAL = "what each image adds, and each real image"  # how it is made
KERNEL_IMAGES = 20_000  # of each set, of which kernel distances take the first ones: their cost grows with the square


@dataclass(frozen=True)
class Real:
    """Real images, and what all sets that are compared with them share.

    Args:
        pool: of all images, float64 features (R, d), in random order.
        sums: of each kernel (r, GROUPS), the sums of k(y_i, y_j) over the other images j of each group. r is at most
            KERNEL_IMAGES.
        moments: of all R images.
    """

    pool: Pool
    sums: Mapping[str, Array]
    moments: Moments

    @classmethod
    def of(cls, features: Array) -> "Real":
        width = WIDTH * median_distance(features)
        sums = kernels.group_sums(kernels.both(width), features[:KERNEL_IMAGES])
        pool = Pool(features, width, {name: each.sum(axis=1) for name, each in sums.items()})
        return cls(pool, sums, Moments.of(features))

    def fd(self, features: Array) -> Influence:
        """FD of a set with features float64 (n, d), in random order."""
        return frechet.influence(features, self.pool.features, self.moments)

    def of_kernels(self, features: Array) -> dict[str, Influence]:
        """MMD and KD of a set with features float64 (n, d), in random order."""
        first, used = features[:KERNEL_IMAGES], kernels.both(self.pool.width)
        own_sums = kernels.group_sums(used, first)
        across = kernels.across(used, first, self.pool.features[:KERNEL_IMAGES])
        return {name: by_kernel(own_sums[name], self.sums[name], *across[name]) for name in used}


def by_kernel(own_sums: Array, real_sums: Array, across: Array, across_real: Array) -> Influence:
    """A kernel distance from the sums of `kernels.group_sums` of both sides, and of `kernels.across`."""
    own_means, real_means = across.sum(axis=1) / len(real_sums), across_real / len(own_sums)
    members, real_members = kernels.groups(len(own_sums)), kernels.groups(len(real_sums))
    between = -members.T @ across
    cells = np.block([[members.T @ own_sums, between], [between.T, real_members.T @ real_sums]])
    counts = np.concatenate([members.sum(axis=0), real_members.sum(axis=0)])
    return Influence(
        kernels.pair_mean(own_sums) + kernels.pair_mean(real_sums) - 2 * float(own_means.mean()),
        kernels.terms(own_sums, own_means),
        kernels.terms(real_sums, real_means),
        cells / np.outer(counts, counts),
    )


@dataclass(frozen=True)
class Parts:
    """The parts of the variance of a difference between two sets of n images, compared with R real ones.

    Args:
        single: what each image adds. It falls as 1/n.
        pairs: what pairs of images add beyond that. It falls as 1/n^2.
        mixed: what pairs of an image and a real one add. It falls as 1/n.
        real: what real images and pairs of them add. It stays.
    """

    single: float
    pairs: float
    mixed: float
    real: float

    @property
    def total(self) -> float:
        return self.single + self.pairs + self.mixed + self.real

    def times(self, variance: float) -> float | None:
        """How many times as many images have this variance; None if no number has."""
        free, linear = variance - self.real, self.single + self.mixed
        return (linear + (linear**2 + 4 * self.pairs * free) ** 0.5) / (2 * free) if free > 0 else None


def of_one(distance: Influence) -> Estimate:
    """A distance with its interval. Nothing is subtracted, since near real images the errors are skewed."""
    return _estimate(distance, _of_singles(distance.own) + _of_singles(distance.real), LEVEL)


def of_two(a: Influence, b: Influence, paired: bool, level: float = LEVEL) -> Estimate:
    """The difference a - b with its interval. If `paired`, image i of both comes from the same noise."""
    return _estimate(a - b, parts_of_two(a, b, paired).total, level)


def _estimate(distance: Influence, variance: float, level: float) -> Estimate:
    freedom = min(len(distance.own), len(distance.real)) - 1
    return estimate(distance.value, variance**0.5, freedom, INTERVAL, level)


def parts_of_two(a: Influence, b: Influence, paired: bool) -> Parts:
    """The variance of a - b. If `paired`, image i of both comes from the same noise.

    Note: a distance is a sum of what images add one by one, and of what pairs of them add beyond that (Hoeffding 1948).
        The spread of what each image adds counts the variance V of the second part twice, since a pair belongs to
        either image, as the jackknife does (Efron & Stein 1981, Ann. Statist. 9, 586). So V is subtracted once, and at
        most half of all: that is V where single images add nothing, as they do near the real images.
    """
    sides, whole = [a - b] if paired else [a, b], a - b
    own, real = sum(_of_singles(side.own) for side in sides), _of_singles(whole.real)
    pairs, mixed, real_pairs = of_pairs(sides, whole)
    variance = own + real - min(pairs + mixed + real_pairs, (own + real) / 2)
    single, real = max(own - 2 * pairs - mixed, 0), max(real - mixed - 2 * real_pairs, 0) + real_pairs
    scale = variance / max(single + pairs + mixed + real, np.finfo(float).tiny)  # 1, unless an estimate was below 0
    return Parts(single * scale, pairs * scale, mixed * scale, real * scale)


def _of_singles(terms: Array) -> float:
    """The variance of a distance over images that add these terms, as the infinitesimal jackknife has it."""
    return float((terms**2).sum() / (len(terms) * (len(terms) - 1)))


def of_pairs(sides: Sequence[Influence], whole: Influence) -> tuple[float, float, float]:
    """The variances of what pairs add to `whole`: pairs of images, of an image and a real one, and of real ones.

    `sides`: its parts, each with images of its own.

    The mean over n (n - 1) / 2 pairs of variance v has the variance 2 v / n^2, and twice that over n r pairs has 4 v /
    (n r). v is the mean square of the interactions of groups, whose means are treated as images. Squares are unbiased
    (Szekely & Rizzo 2014, Ann. Statist. 42, 2382).
    """
    own, real = slice(GROUPS), slice(GROUPS, None)
    share = 2 / GROUPS**2
    pairs = share * sum(_within(side.cells[own, own]) for side in sides)
    mixed = share * 2 * sum(_between(side.cells[own, real]) for side in sides)
    return pairs, mixed, share * _within(whole.cells[real, real])


def _between(cells: Array) -> float:
    """The mean square interaction of rows and columns (GROUPS, GROUPS), as in an analysis of variance."""
    rest = cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True) + cells.mean()
    return float((rest**2).sum() / (GROUPS - 1) ** 2)


def _within(cells: Array) -> float:
    """The same of symmetric cells without their diagonal."""
    off = cells - np.diag(np.diag(cells))
    sums = off.sum(axis=0) / (GROUPS - 2)
    rest = off - sums - sums[:, None] + off.sum() / ((GROUPS - 1) * (GROUPS - 2))
    return float((rest[~np.eye(GROUPS, dtype=bool)] ** 2).sum() / (GROUPS * (GROUPS - 3)))
