"""Distances of a set of images to real ones, with the parts of which their intervals are made.

MMD, KD and FD are those of metrics/. Here each also has replicates with a group of *real* images left out, because the
real images of a user are a sample too. A difference between two sets has both parts: what their own images contribute
and what the real images do, which are the same on both sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from experiments.config.config import WIDTH
from experiments.metrics import frechet, kernels
from experiments.metrics.distances import Pool, jackknife_se
from experiments.metrics.frechet import Moments
from experiments.metrics.intervals import Estimate, pooled
from experiments.metrics.kernels import Array, median_distance
from reports.schema import GROUPS, LEVEL, METRICS

KERNEL_IMAGES = 20_000  # of each set, of which kernel distances take the first ones: their cost grows with the square


@dataclass(frozen=True)
class Distance:
    """One distance between a set of images and real ones, or the difference of two.

    Args:
        value: the distance.
        own: (GROUPS,) with each group of its images left out. Image i is in group i mod GROUPS.
        real: (GROUPS,) with each group of real images left out.
        cells: (2 GROUPS, 2 GROUPS) what each two groups add to it together, groups of its images before real ones. Only
            their interactions count: what each group adds by itself is arbitrary.
        terms: (n,) what each image adds, mean 0.
        real_terms: (R,) what each real image adds, mean 0.
    """

    value: float
    own: Array
    real: Array
    cells: Array
    terms: Array
    real_terms: Array

    def __sub__(self, other: "Distance") -> "Distance":
        """The difference of the distances of two sets whose images at one place are a pair."""
        return Distance(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))


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

    def distances(self, features: Array) -> dict[str, Distance]:
        """All distances of a set with features float64 (n, d), in random order."""
        fd = frechet.influence(features, self.pool.features, self.moments)
        own, real = (_left_out(fd.value, terms) for terms in (fd.own, fd.real))
        out = {"fd": Distance(fd.value, own, real, fd.cells, fd.own, fd.real)}
        first, used = features[:KERNEL_IMAGES], kernels.both(self.pool.width)
        own_sums = kernels.group_sums(used, first)
        across = kernels.across(used, first, self.pool.features[:KERNEL_IMAGES])
        out |= {name: by_kernel(own_sums[name], self.sums[name], *across[name]) for name in used}
        return {name: out[name] for name in METRICS}


def by_kernel(own_sums: Array, real_sums: Array, across: Array, across_real: Array) -> Distance:
    """A kernel distance from the sums of `kernels.group_sums` of both sides, and of `kernels.across`."""
    own, real = kernels.pair_mean(own_sums), kernels.pair_mean(real_sums)
    own_means, real_means = across.sum(axis=1) / len(real_sums), across_real / len(own_sums)
    middle = float(own_means.mean())
    members, real_members = kernels.groups(len(own_sums)), kernels.groups(len(real_sums))
    between = -members.T @ across
    cells = np.block([[members.T @ own_sums, between], [between.T, real_members.T @ real_sums]])
    counts = np.concatenate([members.sum(axis=0), real_members.sum(axis=0)])
    return Distance(
        own + real - 2 * middle,
        kernels.pair_means_without(own_sums) + real - 2 * kernels.means_without(own_means),
        own + kernels.pair_means_without(real_sums) - 2 * kernels.means_without(real_means),
        cells / np.outer(counts, counts),
        kernels.terms(own_sums, own_means),
        kernels.terms(real_sums, real_means),
    )


def _left_out(value: float, terms: Array) -> Array:
    """A distance with each group left out, (GROUPS,), from what each image adds."""
    members = kernels.groups(len(terms))
    return np.asarray(value - members.T @ terms / (len(terms) - members.sum(axis=0)))


def of_one(distance: Distance) -> Estimate:
    """A distance with its interval. It is the whole jackknife's, since near real images the errors are skewed."""
    return estimate(distance.value, [jackknife_se(distance.own), jackknife_se(distance.real)])


def of_two(a: Distance, b: Distance, paired: bool, level: float = LEVEL) -> Estimate:
    """The difference a - b with its interval. If `paired`, image i of both comes from the same noise."""
    return estimate(a.value - b.value, errors_of_two(a, b, paired), level)


def errors_of_two(a: Distance, b: Distance, paired: bool) -> Array:
    """Standard errors of a - b that come from the images of both sets (one if `paired`, else two) and the real ones.

    Note: a distance is a sum of what images add one by one, and of what pairs of them add beyond that (Hoeffding 1948).
        The jackknife counts the variance V of the second part twice, since a pair is left out with either image (Efron
        & Stein 1981, Ann. Statist. 9, 586). So V is subtracted once, and at most half of all: that is V where single
        images add nothing, as they do near the real images. All parts are reduced by the same factor.
    """
    sides, whole = [a - b] if paired else [a, b], a - b
    variances = np.array([*(jackknife_se(side.own) ** 2 for side in sides), jackknife_se(whole.real) ** 2])
    surplus = of_pairs(sides, whole) / max(variances.sum(), np.finfo(float).tiny)
    return np.asarray(np.sqrt(variances * (1 - min(surplus, 0.5))))


def of_pairs(sides: Sequence[Distance], whole: Distance) -> float:
    """The variance of what pairs of images add to `whole`, from the mean squares of the interactions of groups.

    `sides`: its parts, each with images of its own.

    The mean over n (n - 1) / 2 pairs of variance v has the variance 2 v / n^2, and twice that over n r pairs has 4 v /
    (n r). Means of groups are treated as images. Squares are unbiased (Szekely & Rizzo 2014, Ann. Statist. 42, 2382).
    """
    own, real = slice(GROUPS), slice(GROUPS, None)
    squares = sum(_within(side.cells[own, own]) + 2 * _between(side.cells[own, real]) for side in sides)
    return 2 / GROUPS**2 * (squares + _within(whole.cells[real, real]))


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


def estimate(value: float, ses: Sequence[float] | Array, level: float = LEVEL) -> Estimate:
    """A value whose error has independent parts with these standard errors, each from GROUPS replicates."""
    parts = len(ses)  # the mean of as many equal values has this standard error
    return replace(pooled([value] * parts, [parts * se for se in ses], level), holds_for=None)
