"""Class mix and within-class distance apart, for KD. A distance mixes both: whether classes are drawn as often as in
the data, and whether the images of each class are like real ones. The first is largely chance: 40 to 50 % of its
variance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.metrics import kernels
from experiments.metrics.distances import Reference
from experiments.metrics.kernels import Array, Cubic
from reports.schema import GROUPS

KD = Cubic()
MOST = 1000  # real images per class whose mean kernel is computed; it has a weight of 1 / R only


@dataclass(frozen=True)
class Strata:
    """The real images that samples are compared with, by class.

    Args:
        features: float64 (R, d).
        share: (C,), of each class.
        mean_kernel: the mean of k(y_i, y_j) over i != j within each pair of classes, weighted by their shares.
    """

    features: Array
    share: Array
    mean_kernel: float

    @classmethod
    def of(cls, reference: Reference, labels: NDArray[np.int_], n_classes: int) -> "Strata":
        """From a reference and the class (R,) of each of its images.

        Note: with shares p, R^2 sum p_c p_d H_cd = R (R - 1) mean_{i != j} k + R sum p_c H_cc. So only the means H_cc
            within classes are needed.
        """
        n, share = len(labels), np.bincount(labels, minlength=n_classes) / len(labels)
        within = 0.0
        for label in np.flatnonzero(share):
            some = reference.features[labels == label][:MOST]
            if len(some) > 1:
                within += share[label] * kernels.pair_mean(kernels.group_sums({"kd": KD}, some)["kd"])
        return cls(reference.features, share, float(reference.within["kd"] * (n - 1) / n + within / n))


def class_distance(counts: Array, share: Array) -> float:
    """Total variation distance, 0 to 1, between the classes of samples (counts) and of real images (share)."""
    return float(np.abs(counts / counts.sum() - share).sum() / 2)


def expected_class_distance(n: int, share: Array) -> float:
    """What `class_distance` is on average for n real images, by the normal approximation of each count."""
    return float(np.sqrt(2 / np.pi * share * (1 - share) / n).sum() / 2)


def kd_at_data_mix(features: Array, classes: NDArray[np.int_], real: Strata) -> tuple[float, Array] | None:
    """KD of samples of which each class counts as much as in the data, and its delete-group replicates (GROUPS,).

    It is the unbiased KD of a sample stratified by class: the mean kernel of each pair of classes, weighted by the
    shares of the two classes.

    Args:
        features: float64 (n, d).
        classes: (n,) of the samples.
        real: the real images.

    Returns:
        None if a class has fewer than two samples, in all or without one of the groups.
    """
    share, n_cells = real.share, GROUPS * len(real.share)
    cells = np.eye(n_cells)[np.arange(len(features)) % GROUPS * len(share) + classes]  # (n, GROUPS * C)
    within = kernels.cell_sums(KD, features, cells)
    blocks = within.reshape(GROUPS, len(share), GROUPS, len(share))
    over_real = kernels.across({"kd": KD}, features, real.features)["kd"][0].sum(axis=1) / len(real.features)
    across = (cells.T @ over_real).reshape(GROUPS, -1)
    counts = cells.sum(axis=0).reshape(GROUPS, -1)
    there, values = np.flatnonzero(share), list[float]()
    for left_out in (None, *range(GROUPS)):
        kept = np.arange(GROUPS) != left_out
        n = counts[kept].sum(axis=0)
        if (n[there] < 2).any():
            return None
        pairs = (np.outer(n, n) - np.diag(n))[np.ix_(there, there)]
        sums = blocks[kept][:, :, kept].sum(axis=(0, 2))[np.ix_(there, there)]
        weights = share[there]
        to_real = weights @ (across[kept].sum(axis=0)[there] / n[there])
        values.append(weights @ (sums / pairs) @ weights + real.mean_kernel - 2 * to_real)
    return float(values[0]), np.array(values[1:])
