"""Images that are copies of each other count as one: they were not drawn independently.

Without that every image twice makes intervals that hold the truth in 84 to 87 of 100 cases, and too narrow by a factor.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from experiments.distances.distance import Array
from experiments.distances.kernels import CHUNK

# Copies are at most this share of the real images' median distance apart. On 5,000 digits: JPEG 95 moves features by up
# to .008 of it, noise of two grey levels by up to .013, and no two digits are nearer than .042.
NEAR = 0.02


def groups(features: Array, median: float) -> NDArray[np.intp]:
    """Of each image the number of its group, (n,): its copies, and copies of these; in most sets each image has one.

    Args:
        features: float64 (n, d).
        median: the median distance of real images (`kernels.median_distance`).
    """
    rows, columns = (np.concatenate(each) for each in zip(*_pairs(features, NEAR * median), strict=True))
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(features), len(features)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)


def _pairs(features: Array, near: float) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The pairs of images that are at most `near` apart, block by block."""
    centred = features - features.mean(axis=0)  # so that squares lose no digits
    squares = (centred**2).sum(axis=1)
    for left in range(0, len(features), CHUNK):
        for right in range(left, len(features), CHUNK):
            a, b = slice(left, left + CHUNK), slice(right, right + CHUNK)
            distances = squares[a, None] + squares[b] - 2 * centred[a] @ centred[b].T
            rows, columns = np.nonzero(distances <= near**2)
            yield rows + left, columns + right
