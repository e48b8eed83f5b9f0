"""Sums of kernels over the groups of the jackknife. The kernels are those of experiments/distances."""

import itertools
from collections.abc import Mapping

import numpy as np

from experiments.distances.distance import Array
from experiments.distances.kernels import CHUNK, Kernel, both, median_distance, mostly_equal
from reports.schema import GROUPS

__all__ = ["Array", "Kernel", "both", "median_distance", "mostly_equal"]

MOSTLY_EQUAL = (  # what is wrong if `mostly_equal`
    "more than half of the pairs of images have equal features, so their median distance, the scale of MMD, is 0"
)


def group_sums(of: Mapping[str, Kernel], features: Array) -> dict[str, Array]:
    """For each kernel sums (n, GROUPS) of k(x_i, x_j) over the images j of each group of the jackknife, j != i."""
    members, parts = groups(len(features)), slices(len(features))
    out = {name: -members * kernel.diagonal(features)[:, None] for name, kernel in of.items()}
    for place, rows in enumerate(parts):
        for columns in parts[place:]:
            left, right = features[rows], features[columns]
            products = left @ right.T
            for name, kernel in of.items():
                block = kernel.matrix(left, right, products)
                out[name][rows] += block @ members[columns]
                if rows != columns:
                    out[name][columns] += block.T @ members[rows]
    return out


def across(of: Mapping[str, Kernel], left: Array, right: Array) -> dict[str, tuple[Array, Array]]:
    """For each kernel sums of k(left_i, right_j): (l, GROUPS) over groups of `right`, and (r,) over all of `left`."""
    members = groups(len(right))
    out = {name: (np.zeros((len(left), GROUPS)), np.zeros(len(right))) for name in of}
    for rows, columns in itertools.product(slices(len(left)), slices(len(right))):
        products = left[rows] @ right[columns].T
        for name, kernel in of.items():
            block = kernel.matrix(left[rows], right[columns], products)
            out[name][0][rows] += block @ members[columns]
            out[name][1][columns] += block.sum(axis=0)
    return out


def pair_mean(sums: Array) -> float:
    """The mean kernel of two different images, from their group sums (n, GROUPS)."""
    return float(sums.sum() / (len(sums) * (len(sums) - 1)))


def pair_means_without(sums: Array) -> Array:
    """The same with each group left out, (GROUPS,)."""
    members = groups(len(sums))
    cells, n = members.T @ sums, len(sums) - members.sum(axis=0)
    return np.asarray((cells.sum() - 2 * cells.sum(axis=1) + np.diag(cells)) / (n * (n - 1)))


def means_without(values: Array) -> Array:
    """The mean of values (n,) with each group left out, (GROUPS,)."""
    members = groups(len(values))
    return np.asarray((values.sum() - members.T @ values) / (len(values) - members.sum(axis=0)))


def terms(sums: Array, means: Array) -> Array:
    """What each image adds to a kernel distance, (n,), mean 0 (Hoeffding 1948).

    The variance of the distance over these images is about sum(terms^2) / (n (n - 1)).

    Args:
        sums: their group sums (n, GROUPS).
        means: (n,), the mean kernel of each with the other side's images.
    """
    own = sums.sum(axis=1) / (len(sums) - 1)
    return np.asarray(2 * (own - own.mean()) - 2 * (means - means.mean()))


def groups(n: int) -> Array:
    """(n, GROUPS): 1 where image i is in a group of the jackknife, which is i mod GROUPS."""
    return np.asarray(np.eye(GROUPS)[np.arange(n) % GROUPS])


def slices(n: int) -> list[slice]:
    """n images in parts of CHUNK."""
    return [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]
