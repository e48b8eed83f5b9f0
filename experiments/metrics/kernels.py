"""Kernels between features, and their sums over many pairs of images without the whole matrix."""

import itertools
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


def median_distance(features: Array) -> float:
    """The median distance between two of the first images, of features (n, d)."""
    part = features[:MEDIAN_OF]
    squares = (part**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * part @ part.T, 0))
    return float(np.median(distances[np.triu_indices(len(part), k=1)]))


def row_sums(kernel: Kernel, features: Array) -> Array:
    """Sums (n,) of k(x_i, x_j) over j != i. k is symmetric, so each block off the diagonal is used for two sums."""
    total = -kernel.diagonal(features)
    for rows, columns in itertools.combinations_with_replacement(slices(len(features)), 2):
        block = kernel.matrix(features[rows], features[columns])
        total[rows] += block.sum(axis=1)
        if rows != columns:
            total[columns] += block.sum(axis=0)
    return total


def means(kernel: Kernel, left: Array, right: Array) -> Array:
    """Means (n,) of k(left_i, right_j) over `right`."""
    total = np.zeros(len(left))
    for rows, columns in itertools.product(slices(len(left)), slices(len(right))):
        total[rows] += kernel.matrix(left[rows], right[columns]).sum(axis=1)
    return total / len(right)


def cell_sums(kernel: Kernel, features: Array, cells: Array) -> Array:
    """Sums (c, c) of k(x_i, x_j), i != j, over the pairs of each two cells. `cells` (n, c) is 1 where i is in one."""
    total = -np.diag(cells.T @ kernel.diagonal(features))
    for rows, columns in itertools.combinations_with_replacement(slices(len(features)), 2):
        block = cells[rows].T @ kernel.matrix(features[rows], features[columns]) @ cells[columns]
        total += block if rows == columns else block + block.T
    return total


def groups(n: int) -> Array:
    """(n, GROUPS): 1 where image i is in a group of the jackknife, which is i mod GROUPS."""
    return np.asarray(np.eye(GROUPS)[np.arange(n) % GROUPS])


def slices(n: int) -> list[slice]:
    """n images in parts of CHUNK."""
    return [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]
