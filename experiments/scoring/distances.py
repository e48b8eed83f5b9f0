"""Distances of a set of images to real ones, with the parts of which their intervals are made.

MMD, KD and FD are those of metrics/. Here each also has replicates with a group of *real* images left out, because the
real images of a user are a sample too. A difference between two sets has both parts: what their own images contribute
and what the real images do, which are the same on both sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from experiments.config.config import WIDTH
from experiments.metrics import frechet, kernels
from experiments.metrics.distances import Reference, jackknife_se, precision_recall
from experiments.metrics.frechet import Moments
from experiments.metrics.intervals import Estimate, pooled
from experiments.metrics.kernels import Array, Kernel, median_distance
from reports.schema import METRICS

FLOOR_SEED = 7  # decides which real images are compared with the others
QUALITY_IMAGES = 10_000  # of each set, for precision and recall
KERNEL_IMAGES = 20_000  # of each set, of which kernel distances take the first ones: their cost grows with the square


@dataclass(frozen=True)
class Distance:
    """One distance between a set of images and real ones.

    Args:
        value: the distance.
        own: (GROUPS,) with each group of its images left out. Image i is in group i mod GROUPS.
        real: (GROUPS,) with each group of real images left out.
        terms: (n,) what each image adds, mean 0.
        real_terms: (R,) what each real image adds, mean 0.
    """

    value: float
    own: Array
    real: Array
    terms: Array
    real_terms: Array


@dataclass(frozen=True)
class Real:
    """Real images, and what all sets that are compared with them share.

    Args:
        features: float64 (R, d), in random order.
        kernels: by the name of their distance.
        sums: of each kernel (r, GROUPS), the sums of k(y_i, y_j) over the other images j of each group. r is at most
            KERNEL_IMAGES.
        moments: of all R images.
    """

    features: Array
    kernels: Mapping[str, Kernel]
    sums: Mapping[str, Array]
    moments: Moments

    @classmethod
    def of(cls, features: Array) -> "Real":
        used = kernels.both(WIDTH * median_distance(features))
        return cls(features, used, kernels.group_sums(used, features[:KERNEL_IMAGES]), Moments.of(features))

    def distances(self, features: Array) -> dict[str, Distance]:
        """All distances of a set with features float64 (n, d), in random order."""
        by_frechet = frechet.influence(features, self.features, self.moments)
        own, real = (_left_out(by_frechet.value, terms) for terms in (by_frechet.own, by_frechet.real))
        out = {"fd": Distance(by_frechet.value, own, real, by_frechet.own, by_frechet.real)}
        first = features[:KERNEL_IMAGES]
        own_sums = kernels.group_sums(self.kernels, first)
        means = across(self.kernels, first, self.features[:KERNEL_IMAGES])
        out |= {name: _by_kernel(own_sums[name], self.sums[name], *means[name]) for name in self.kernels}
        return {name: out[name] for name in METRICS}

    def floor(self, n: int, repeats: int) -> dict[str, Array]:
        """The score of real images: n of them, drawn at random, against the others. By metric, each (repeats,).

        n must leave half of the images.
        """
        out: dict[str, list[float]] = {name: [] for name in (*METRICS, "precision", "recall")}
        for draw in range(repeats):
            aside = np.random.default_rng([FLOOR_SEED, draw]).permutation(len(self.features))[:n]
            rest = np.delete(self.features, aside, axis=0)
            drawn = self.features[aside]
            out["fd"].append(frechet.distance(Moments.of(drawn), Moments.of(rest)))
            for name, value in zip(("precision", "recall"), quality(drawn, rest), strict=True):
                out[name].append(value)
            for name, kernel in self.kernels.items():
                out[name].append(_split(kernel, self.features[:KERNEL_IMAGES], self.sums[name], aside))
        return {name: np.array(values) for name, values in out.items()}


def quality(features: Array, real: Array) -> tuple[float, float]:
    """Precision and recall of at most QUALITY_IMAGES images and as many real ones."""
    return precision_recall(features[:QUALITY_IMAGES], Reference(real[:QUALITY_IMAGES], {}, {}))


def _split(kernel: Kernel, features: Array, sums: Array, aside: NDArray[np.intp]) -> float:
    """The kernel distance of some of the images to the others. `sums` knows the first images only, and these count."""
    aside = aside[aside < len(features)]
    inside = float(kernels.row_sums(kernel, features[aside]).sum())
    rows, n, rest = sums.sum(axis=1), len(aside), len(features) - len(aside)
    between = float(rows[aside].sum()) - inside
    others = float(rows.sum()) - 2 * between - inside
    return inside / (n * (n - 1)) + others / (rest * (rest - 1)) - 2 * between / (n * rest)


def across(of: Mapping[str, Kernel], left: Array, right: Array) -> dict[str, tuple[Array, Array]]:
    """For each kernel means (l,) of k(left_i, right_j) over `right`, and (r,) over `left`."""
    totals = {name: (np.zeros(len(left)), np.zeros(len(right))) for name in of}
    for rows in kernels.slices(len(left)):
        for columns in kernels.slices(len(right)):
            products = left[rows] @ right[columns].T
            for name, kernel in of.items():
                block = kernel.matrix(left[rows], right[columns], products)
                totals[name][0][rows] += block.sum(axis=1)
                totals[name][1][columns] += block.sum(axis=0)
    return {name: (own / len(right), real / len(left)) for name, (own, real) in totals.items()}


def _by_kernel(own_sums: Array, real_sums: Array, own_means: Array, real_means: Array) -> Distance:
    """A kernel distance from the group sums of both sets, and the means of each image over the other set."""
    own, real, middle = kernels.pair_mean(own_sums), kernels.pair_mean(real_sums), float(own_means.mean())
    return Distance(
        own + real - 2 * middle,
        kernels.pair_means_without(own_sums) + real - 2 * kernels.means_without(own_means),
        own + kernels.pair_means_without(real_sums) - 2 * kernels.means_without(real_means),
        kernels.terms(own_sums, own_means),
        kernels.terms(real_sums, real_means),
    )


def _left_out(value: float, terms: Array) -> Array:
    """A distance with each group left out, (GROUPS,), from what each image adds."""
    members = kernels.groups(len(terms))
    return np.asarray(value - members.T @ terms / (len(terms) - members.sum(axis=0)))


def of_one(distance: Distance) -> Estimate:
    """A distance with its interval."""
    return estimate(distance.value, [jackknife_se(distance.own), jackknife_se(distance.real)])


def of_two(a: Distance, b: Distance, paired: bool) -> Estimate:
    """The difference a - b with its interval. If `paired`, image i of both comes from the same noise."""
    own = [jackknife_se(a.own - b.own)] if paired else [jackknife_se(a.own), jackknife_se(b.own)]
    return estimate(a.value - b.value, [*own, jackknife_se(a.real - b.real)])


def estimate(value: float, ses: Sequence[float]) -> Estimate:
    """A value whose error has independent parts with these standard errors, each from GROUPS replicates."""
    parts = len(ses)  # the mean of as many equal values has this standard error
    return replace(pooled([value] * parts, [parts * se for se in ses]), holds_for=None)
