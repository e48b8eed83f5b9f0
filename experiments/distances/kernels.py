"""Kernels between features, and what is summed over pairs of images, block by block.

Tensors decide the device and the precision. `pairs` makes the products and the squared distances of a block once.
`among` and `across` read from them the sums of kernels, the neighbours, and which images lie in whose ball.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from reports.schema import METRICS

CPU_BLOCK = 512  # images per side of a block: in float64 2 MiB, which fit in a cache
CARD_BLOCK = 8192  # on other devices: 512 MiB, of which four live at a time, so that no launch is too small
MEDIAN_OF = 2000  # real images, whose median distance hardly changes with more


class Block(NamedTuple):
    """The pairs of some rows and some columns."""

    rows: slice
    columns: slice
    products: Tensor  # x.y
    squares: Tensor  # |x - y|^2


def cubic(block: Block, width: float, dimension: int) -> Tensor:  # all kernels are called alike
    """torch-fidelity's polynomial kernel (x.y / d + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401)."""
    base = block.products / dimension
    base += 1
    return base.square().mul_(base)  # a power takes longer


def gaussian(block: Block, width: float, dimension: int = 0) -> Tensor:
    """exp(-|x - y|^2 / width^2), the RBF kernel of CMMD (Jayasumana et al. 2024, arXiv 2401.09603)."""
    return (block.squares / -(width**2)).exp_()


Kernels = Mapping[str, Callable[[Block], Tensor]]


@dataclass(frozen=True)
class Sums:
    """`rows`: of each image i the sum of a kernel k(x_i, x_j) over the other images j, (n,)."""

    rows: Tensor

    @property
    def mean(self) -> float:
        """The mean kernel of two different images."""
        return float(self.rows.sum()) / (len(self.rows) * (len(self.rows) - 1))


class Across(NamedTuple):
    """Sums over the pairs of two sets (n, d) and (r, d)."""

    rows: dict[str, Tensor]  # of each kernel the sum over the other set, (n,)
    columns: dict[str, Tensor]  # of each kernel the sum over this set, of images of the other, (r,)
    inside: tuple[Tensor, Tensor]  # which images of each set lie in a ball of the other; of those that have a ball

    @property
    def quality(self) -> tuple[float, float]:
        """Precision and recall."""
        precision, recall = (float(inside.double().mean()) for inside in self.inside)
        return precision, recall


def build(width: float, dimension: int) -> Kernels:
    """The kernels of all distances that have one. `width`: of the Gaussian one; `dimension`: of the features."""
    of_metrics = {name: globals()[metric.kernel] for name, metric in METRICS.items() if metric.kernel}
    return {name: partial(kernel, width=width, dimension=dimension) for name, kernel in of_metrics.items()}


def pairs(left: Tensor, right: Tensor | None = None) -> Iterator[Block]:
    """All pairs of images (n, d) and (r, d), block by block; without `right` those of one set, each once."""
    others = left if right is None else right
    size = CPU_BLOCK if left.device.type == "cpu" else CARD_BLOCK
    first, second = (torch.linalg.vector_norm(features, dim=1).square() for features in (left, others))
    for start in range(0, len(left), size):
        for begin in range(start if right is None else 0, len(others), size):
            rows = slice(start, start + size)
            columns = slice(begin, begin + size)
            products = left[rows] @ others[columns].T
            squares = (first[rows, None] + second[columns]).sub_(products, alpha=2)
            squares.clamp_(min=0)  # rounding makes the distance of equal images negative
            yield Block(rows, columns, products, squares)


def among(
    kernels: Kernels, features: Tensor, groups: Tensor | None = None, neighbour: int = 0
) -> tuple[dict[str, Sums], Tensor]:
    """Of the images of one set: the sums of each kernel, and the squared distance to a neighbour (n,).

    Args:
        groups: (n,) the index of each image's group. There are two or more. Sums are then over images of other groups,
            scaled to all others, since images of one group are alike.
        neighbour: which neighbour, 1 for the nearest; 0 if only kernels count.
    """
    n = len(features)
    rows = {name: features.new_zeros(n) for name in kernels}
    nearest = features.new_full((n, max(neighbour, 1)), torch.inf)
    for block in pairs(features):
        twice = block.rows != block.columns  # then it stands for (j, i) too
        for name, kernel in kernels.items():
            values = _of_other_groups(kernel(block), block, groups)
            if not twice:
                values.fill_diagonal_(0)
            rows[name][block.rows] += values.sum(dim=1)
            if twice:
                rows[name][block.columns] += values.sum(dim=0)
        if neighbour and not twice:
            block.squares.fill_diagonal_(torch.inf)
        if neighbour:
            _keep_nearest(nearest, block.rows, block.squares)
        if neighbour and twice:
            _keep_nearest(nearest, block.columns, block.squares.T)
    if groups is not None:
        scale = (n - 1) / (n - torch.bincount(groups)[groups].to(features))
        rows = {name: values * scale for name, values in rows.items()}
    return {name: Sums(values) for name, values in rows.items()}, nearest[:, -1]


def across(
    kernels: Kernels,
    left: Tensor,
    right: Tensor,
    balls: tuple[Tensor, Tensor] | None = None,
    groups: Tensor | None = None,
) -> Across:
    """Of the images of two sets (n, d) and (r, d): the sums of each kernel, and who lies in whose ball.

    Args:
        balls: squared radii (n,) around the images of the first set, and around the first images of the other.
        groups: (n,) the index of each image's group, the same in both sets; sums are then over other groups only.
    """
    rows, columns = ({name: images.new_zeros(len(images)) for name in kernels} for images in (left, right))
    gaps = [images.new_full((len(images),), torch.inf) for images in (left, right)]  # to the nearest ball's surface
    left_balls, right_balls = balls or (left.new_zeros(0), left.new_zeros(0))
    radii = pad(right_balls, (0, len(right) - len(right_balls)), value=-torch.inf)  # nothing lies in these
    for block in pairs(left, right):
        for name, kernel in kernels.items():
            values = _of_other_groups(kernel(block), block, groups)
            rows[name][block.rows] += values.sum(dim=1)
            columns[name][block.columns] += values.sum(dim=0)
        if block.columns.start < len(right_balls):
            to_right = (block.squares - radii[block.columns]).amin(dim=1)
            to_left = (block.squares - left_balls[block.rows, None]).amin(dim=0)
            gaps[0][block.rows] = torch.minimum(gaps[0][block.rows], to_right)
            gaps[1][block.columns] = torch.minimum(gaps[1][block.columns], to_left)
    return Across(rows, columns, (gaps[0] <= 0, gaps[1][: len(right_balls)] <= 0))


def _of_other_groups(values: Tensor, block: Block, groups: Tensor | None) -> Tensor:
    """The kernel of a block, 0 where both images are of one group."""
    if groups is None:
        return values
    return values.masked_fill_(groups[block.rows, None] == groups[block.columns], 0)


def _keep_nearest(nearest: Tensor, at: slice, squares: Tensor) -> None:
    """Takes what is nearer than the k nearest so far (n, k), ascending, from squares (rows, columns)."""
    k = nearest.shape[1]
    candidates = squares.topk(min(k, squares.shape[1]), largest=False).values
    nearest[at] = torch.cat([nearest[at], candidates], dim=1).topk(k, largest=False).values


def jackknife_terms(rows: Tensor, means: Tensor) -> Tensor:
    """The amount that each image adds to a kernel distance, (n,), mean 0.

    Args:
        rows: `Sums.rows` of its set.
        means: (n,), the mean kernel of each with the other side's images.
    """
    inside = rows / (len(rows) - 1)
    return 2 * (inside - inside.mean()) - 2 * (means - means.mean())


def median_distance(features: Tensor) -> float:
    """The median distance between two of the first images, from features (n, d)."""
    first = features[:MEDIAN_OF]
    norms = first.square().sum(dim=1)
    squares = (norms[:, None] + norms).sub_(first @ first.T, alpha=2).clamp_(min=0)
    upper = squares.sqrt_().cpu().numpy()[np.triu_indices(len(first), k=1)]
    return float(np.median(upper))  # torch's would take the lower one of the two in the middle


MOSTLY_EQUAL = (  # what is wrong if `mostly_equal`
    "more than half of the pairs of images have equal features, so their median distance, the scale of MMD, is 0"
)


def mostly_equal(features: NDArray[np.floating]) -> bool:
    """Whether more than half of the pairs of these images have equal features (n, d): their median distance is 0."""
    first = features[:MEDIAN_OF]  # rows are counted, because rounding makes the distance of equal ones positive
    counts = Counter((row + 0.0).tobytes() for row in first)  # -0.0 becomes 0.0
    return sum(count * (count - 1) for count in counts.values()) > len(first) * (len(first) - 1) / 2
