"""Images that are copies of each other count as one: they were not drawn independently.

Without that an interval is too narrow: with every image twice 95 % intervals held the truth in 85 % of 600 simulated
comparisons, and with this in 95 %.

Copies need not be equal to the last bit. Two images are copies if their features are nearer than a tenth of the usual
distance between a real image and its nearest neighbour. No two of 2,000 digits are nearer than a fifth of that (by
`digits`) or 47 % (`natural`). One changed grey level moves features by less than a thousandth, or by up to a twentieth
of it; JPEG of quality 95 by up to 4 % in `digits`, and in `natural` so far that it makes another image.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from experiments.distances.distance import Array
from experiments.distances.kernels import CHUNK, MEDIAN_OF

NEAR = 0.1  # of the median distance of real images to their nearest neighbours
FEWEST = 8  # dimensions, below which images are that near by chance: there only equal rows are copies
Groups = NDArray[np.intp]  # of each image the number of its group, (n,)
Places = NDArray[np.intp]


def tolerance(real: Array) -> float:
    """How near features are at most that belong to copies, from those of real images, float64 (r, d)."""
    if real.shape[1] < FEWEST:
        return 0.0
    part = real[:MEDIAN_OF]
    nearest = np.full(len(part), np.inf)
    for rows, columns, squares in _squares(part, part):
        squares[rows[:, None] == columns] = np.inf
        nearest[rows] = np.minimum(nearest[rows], squares.min(axis=1))
    return float(NEAR * np.sqrt(np.median(nearest).clip(min=0)))


def groups(features: Array, near: float) -> Groups:
    """The groups of images (n, d): each with its copies, and copies of these; most images are alone."""
    return _connected(len(features), *_near(features, features, near))


def joined(first: Groups, second: Groups) -> Groups:
    """The groups of pairs of images: two pairs belong together if they do on either side."""
    places = np.arange(len(first))
    heads = [np.unique(one, return_index=True)[1][one] for one in (first, second)]
    return _connected(len(first), np.tile(places, 2), np.concatenate(heads))


def copied(features: Array, others: Array, near: float) -> NDArray[np.bool_]:
    """Which images (n, d) are copies of some among others, (n,)."""
    out = np.zeros(len(features), dtype=bool)
    out[_near(features, others, near)[0]] = True
    return out


def _connected(n: int, rows: Places, columns: Places) -> Groups:
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)


def _near(left: Array, right: Array, near: float) -> tuple[Places, Places]:
    """The places of pairs that are at most `near` apart; of equal rows if it is 0."""
    if near == 0:  # rounding makes the distance of equal rows positive
        both, numbers = np.unique(np.concatenate([left, right]), axis=0, return_inverse=True)
        first = np.full(len(both), -1, dtype=np.intp)
        first[numbers.ravel()[len(left) :]] = np.arange(len(right))
        match = first[numbers.ravel()[: len(left)]]
        return np.flatnonzero(match >= 0), match[match >= 0]
    found = [(rows[a], columns[b]) for rows, columns, squares in _squares(left, right)
             for a, b in [np.nonzero(squares <= near**2)]]  # fmt: skip
    rows, columns = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, columns


def _squares(left: Array, right: Array) -> Iterator[tuple[Places, Places, NDArray[np.float32]]]:
    """Squared distances, float32, block by block, with the places of their rows and columns.

    Rounding is some millionths of a squared median distance; a squared tolerance is some ten thousandths.
    """
    middle = right.mean(axis=0)
    left, right = ((part - middle).astype(np.float32) for part in (left, right))
    first, second = ((part**2).sum(axis=1) for part in (left, right))
    for start in range(0, len(left), CHUNK):
        for begin in range(0, len(right), CHUNK):
            a, b = slice(start, start + CHUNK), slice(begin, begin + CHUNK)
            squares = first[a, None] + second[b] - 2 * left[a] @ right[b].T
            yield np.arange(len(left))[a], np.arange(len(right))[b], squares
