"""Kernels between features, and their sums over many pairs of images without the whole matrix."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.distances.distance import Array

CHUNK = 1024  # images per side of a block of a kernel matrix: 8 MiB, which fit in a cache
PARTS = 20  # a sum over images is that of that many interleaved sums, so that rounding stays small
MEDIAN_OF = 2000  # real images, whose median distance hardly changes with more


@dataclass(frozen=True)
class Cubic:
    """torch-fidelity's polynomial kernel (x.y / d + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401)."""

    def matrix(self, left: Array, right: Array, products: Array | None = None) -> Array:
        """The kernel (l, r) of float64 (l, d) and (r, d), from their products x.y if they are known."""
        base = (left @ right.T if products is None else products) / left.shape[1]
        base += 1
        return np.asarray(base * base * base)  # numpy's power takes most of the time in torch-fidelity

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


Kernel = Cubic | Gaussian


@dataclass(frozen=True)
class Sums:
    """Sums of a kernel k(x_i, x_j) over the other images j != i: of each image i, (n,), and of all pairs."""

    rows: Array
    total: float

    @property
    def mean(self) -> float:
        """The mean kernel of two different images."""
        return self.total / (len(self.rows) * (len(self.rows) - 1))


def build(width: float) -> dict[str, Kernel]:
    """The kernels by the name of their distance. `width`: of the Gaussian one."""
    return {"mmd": Gaussian(width), "kd": Cubic()}


def sums(of: Mapping[str, Kernel], features: Array) -> dict[str, Sums]:
    """For each kernel the sums over all pairs of different images of one set."""
    parts, blocks = _parts(len(features)), _blocks(len(features))
    out = {name: -parts * kernel.diagonal(features)[:, None] for name, kernel in of.items()}
    for number, rows in enumerate(blocks):
        for columns in blocks[number:]:
            left, right = features[rows], features[columns]
            products = left @ right.T
            for name, kernel in of.items():
                block = kernel.matrix(left, right, products)
                out[name][rows] += block @ parts[columns]
                if rows != columns:
                    out[name][columns] += block.T @ parts[rows]
    return {name: Sums(each.sum(axis=1), float(each.sum())) for name, each in out.items()}


def sums_between_groups(
    of: Mapping[str, Kernel], features: Array, whole: Mapping[str, Sums], groups: NDArray[np.integer]
) -> dict[str, Sums]:
    """The sums with images of other groups only, scaled to all others, since images of one group are alike.

    Args:
        whole: the sums of the same images over all others.
        groups: (n,) the number of each image's group. There are two or more.
    """
    rows, n = {name: each.rows.copy() for name, each in whole.items()}, len(groups)
    for members in (np.flatnonzero(groups == group) for group in np.unique(groups)):
        for name, kernel in of.items():
            own = kernel.matrix(features[members], features[members]).sum(axis=1) - kernel.diagonal(features[members])
            rows[name][members] = (rows[name][members] - own) * (n - 1) / (n - len(members))
    return {name: Sums(each, float(each.sum())) for name, each in rows.items()}


def cross_sums(of: Mapping[str, Kernel], left: Array, right: Array) -> dict[str, tuple[Array, Array]]:
    """For each kernel sums of k(left_i, right_j): (l,) over all of `right`, and (r,) over all of `left`."""
    parts = _parts(len(right))
    out = {name: (np.zeros((len(left), PARTS)), np.zeros(len(right))) for name in of}
    for rows, columns in itertools.product(_blocks(len(left)), _blocks(len(right))):
        products = left[rows] @ right[columns].T
        for name, kernel in of.items():
            block = kernel.matrix(left[rows], right[columns], products)
            out[name][0][rows] += block @ parts[columns]
            out[name][1][columns] += block.sum(axis=0)
    return {name: (first.sum(axis=1), second) for name, (first, second) in out.items()}


def jackknife_terms(rows: Array, means: Array) -> Array:
    """What each image adds to a kernel distance, (n,), mean 0.

    Args:
        rows: `Sums.rows` of its set.
        means: (n,), the mean kernel of each with the other side's images.
    """
    own = rows / (len(rows) - 1)
    return np.asarray(2 * (own - own.mean()) - 2 * (means - means.mean()))


def median_distance(features: Array) -> float:
    """The median distance between two of the first images, from features (n, d)."""
    part = features[:MEDIAN_OF]
    squares = (part**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * part @ part.T, 0))
    return float(np.median(distances[np.triu_indices(len(part), k=1)]))


MOSTLY_EQUAL = (  # what is wrong if `mostly_equal`
    "more than half of the pairs of images have equal features, so their median distance, the scale of MMD, is 0"
)


def mostly_equal(features: NDArray[np.floating]) -> bool:
    """Whether more than half of the pairs of these images have equal features (n, d): their median distance is 0."""
    part = features[:MEDIAN_OF]  # rows are counted, because rounding makes the distance of equal ones positive
    counts = Counter((row + 0.0).tobytes() for row in part)  # -0.0 becomes 0.0
    return sum(count * (count - 1) for count in counts.values()) > len(part) * (len(part) - 1) / 2


def _parts(n: int) -> Array:
    """(n, PARTS): 1 where image i is in a part, which is i mod PARTS."""
    return np.asarray(np.eye(PARTS)[np.arange(n) % PARTS])


def _blocks(n: int) -> list[slice]:
    """n images in parts of CHUNK."""
    return [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]
