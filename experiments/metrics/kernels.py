"""Kernels between features, and their sums over many pairs of images without the whole matrix."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reports.schema import GROUPS

CHUNK = 1024  # images per side of a block of a kernel matrix: 8 MiB, which fit in a cache
MEDIAN_OF = 2000  # real images, whose median distance hardly changes with more
Array = NDArray[np.float64]


class Kernel(Protocol):
    """k(x, y) of features: the matrix (l, r) for float64 (l, d) and (r, d), and the diagonal k(x_i, x_i), (l,)."""

    def matrix(self, left: Array, right: Array, products: Array | None = None) -> Array: ...

    def diagonal(self, features: Array) -> Array: ...


@dataclass(frozen=True)
class Cubic:
    """torch-fidelity's polynomial kernel (x.y / d + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401).

    It is written out here, because numpy's power takes most of the time in torch-fidelity.
    """

    def matrix(self, left: Array, right: Array, products: Array | None = None) -> Array:
        base = (left @ right.T if products is None else products) / left.shape[1]
        base += 1
        return np.asarray(base * base * base)

    def diagonal(self, features: Array) -> Array:
        return np.asarray(((features**2).sum(axis=1) / features.shape[1] + 1) ** 3)


@dataclass(frozen=True)
class Gaussian:
    """exp(-|x - y|^2 / width^2), the RBF kernel of CMMD (Jayasumana et al. 2024, arXiv 2401.09603)."""

    width: float

    def matrix(self, left: Array, right: Array, products: Array | None = None) -> Array:
        exponent = 2 * (left @ right.T if products is None else products)
        exponent -= (left**2).sum(axis=1)[:, None]
        exponent -= (right**2).sum(axis=1)
        np.minimum(exponent, 0, out=exponent)  # rounding makes the distance of equal images negative
        exponent /= self.width**2
        return np.asarray(np.exp(exponent, out=exponent))

    def diagonal(self, features: Array) -> Array:
        return np.ones(len(features))


MOSTLY_EQUAL = (  # what is wrong if `mostly_equal`
    "more than half of the pairs of images have equal features, so their median distance, the scale of MMD, is 0"
)


def median_distance(features: Array) -> float:
    """The median distance between two of the first images, of features (n, d)."""
    part = features[:MEDIAN_OF]
    squares = (part**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * part @ part.T, 0))
    return float(np.median(distances[np.triu_indices(len(part), k=1)]))


def mostly_equal(features: NDArray[np.floating]) -> bool:
    """Whether more than half of the pairs of these images have equal features (n, d): their median distance is 0.

    Rows are counted, because rounding makes the distance of equal ones positive.
    """
    part = features[:MEDIAN_OF]
    counts = Counter((row + 0.0).tobytes() for row in part)  # -0.0 becomes 0.0
    return sum(count * (count - 1) for count in counts.values()) > len(part) * (len(part) - 1) / 2


def both(width: float) -> dict[str, Kernel]:
    """The kernels by the name of their distance. `width`: of the Gaussian one."""
    return {"mmd": Gaussian(width), "kd": Cubic()}


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
