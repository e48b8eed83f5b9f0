"""FD, KD, precision and recall from features, with jackknife replicates and floors.

FD, precision and recall are torch-fidelity's own functions. KD uses torch-fidelity's polynomial kernel on all images at
once (the unbiased U-statistic of Binkowski et al. 2018, arXiv 1801.01401). It equals torch-fidelity's KID with one
subset of full size. The kernel is written out here, because numpy's power takes most of the time in torch-fidelity.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from reports.schema import GROUPS

CHUNK = 1024  # images per side of a block of the kernel matrix: 8 MiB, which fit in a cache
POOL_SEED = 7  # decides which real images are set aside
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """The real images that samples are compared with.

    Args:
        features: float64 (R, d).
        mean_kernel: mean of k(y_i, y_j) over all pairs i != j.
    """

    features: Array
    mean_kernel: float

    @cached_property
    def moments(self) -> dict[str, Array]:
        return moments(self.features)

    @cached_property
    def root(self) -> Array:
        """A square root L of the covariance, L L' = cov. It makes the many FDs of the jackknife cheap."""
        values, vectors = np.linalg.eigh(self.moments["sigma"])
        return vectors * np.sqrt(values.clip(min=0))

    @classmethod
    def of(cls, features: Array) -> "Reference":
        n = len(features)
        return cls(features, kernel_row_sums(features).sum() / (n * (n - 1)))


class Pool:
    """All T real images of a training set: the source of references and floors.

    n samples are compared with `reference(n)`: the T - n images that a fixed seed leaves. The floor compares
    n images, drawn at random, with the other T - n. So samples and floor have the same n and reference size.

    Args:
        features: float64 (T, d).
        row_sums: float64 (T,), sum of k(y_i, y_j) over j != i.
    """

    def __init__(self, features: Array, row_sums: Array) -> None:
        self.features, self.row_sums = features, row_sums

    def aside(self, n: int, draw: int) -> NDArray[np.bool_]:
        """Mask (T,) of the n images that draw number `draw` sets aside.

        Raises:
            ValueError: fewer than two images would remain.
        """
        if n > len(self.features) - 2:
            raise ValueError(f"n_samples={n}: the data set has {len(self.features)} images, and 2 must stay to compare")
        mask = np.zeros(len(self.features), dtype=bool)
        mask[np.random.default_rng([POOL_SEED, draw]).permutation(len(mask))[:n]] = True
        return mask

    def without(self, aside: NDArray[np.bool_]) -> Reference:
        """The pool without the images of a mask. Its mean kernel is computed from the row sums."""
        inside = kernel_row_sums(self.features[aside]).sum()
        n = len(self.features) - int(aside.sum())
        total = self.row_sums.sum() - 2 * self.row_sums[aside].sum() + inside
        return Reference(self.features[~aside], total / (n * (n - 1)))

    def reference(self, n: int) -> Reference:
        """The reference for n samples: the pool without the images of draw 0."""
        return self.without(self.aside(n, draw=0))

    def floor(self, n: int, repeats: int) -> dict[str, Array]:
        """The floor: fd, kd, precision and recall of n real images against the other T - n, each (repeats,)."""
        out: dict[str, list[float]] = {name: [] for name in (*METRICS, "precision", "recall")}
        for draw in range(1, repeats + 1):
            aside = self.aside(n, draw)
            rest = self.without(aside)
            real = self.features[aside]
            within = kernel_row_sums(real).sum()
            across = self.row_sums[aside].sum() - within
            known = {"kd": within / (n * (n - 1)) + rest.mean_kernel - 2 * across / (n * len(rest.features))}
            for name, metric in METRICS.items():
                out[name].append(known[name] if name in known else metric.value(real, rest))
            for name, value in zip(("precision", "recall"), precision_recall(real, rest), strict=True):
                out[name].append(value)
        return {metric: np.array(values) for metric, values in out.items()}


def moments(features: Array) -> dict[str, Array]:
    """Mean (d,) and covariance (d, d), in the form that torch-fidelity's FID takes."""
    return {"mu": features.mean(axis=0), "sigma": np.cov(features, rowvar=False)}


def frechet_distance(features: Array, reference: Reference) -> float:
    """FD: torch-fidelity's formula (Heusel et al. 2017, arXiv 1706.08500). Features float64 (n, d)."""
    return float(
        fid_statistics_to_metric(moments(features), reference.moments, verbose=False)["frechet_inception_distance"]
    )


def kernel_distance(features: Array, reference: Reference) -> float:
    """KD, the unbiased squared MMD with torch-fidelity's polynomial kernel. Features float64 (n, d)."""
    n = len(features)
    within = kernel_row_sums(features).sum() / (n * (n - 1))
    return float(within + reference.mean_kernel - 2 * kernel_means(features, reference.features).mean())


def precision_recall(features: Array, reference: Reference) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991), features float64 (n, d).

    The first n reference images are used, or all if there are fewer. So the reference must not be sorted by class.
    """
    n = min(len(features), len(reference.features))
    generated, real = (torch.from_numpy(part).float() for part in (features, reference.features[:n]))
    out = prc_features_to_metric(
        generated, real, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=True, verbose=False
    )
    return out["precision"], out["recall"]


def kernel(left: Array, right: Array) -> Array:
    """Matrix (l, r) of torch-fidelity's polynomial kernel (x.y / d + 1)^3 for features (l, d) and (r, d)."""
    base = left @ right.T
    base /= left.shape[1]
    base += 1
    return base * base * base


def kernel_with_itself(features: Array) -> Array:
    """k(x_i, x_i), (n,)."""
    return np.asarray(((features**2).sum(axis=1) / features.shape[1] + 1) ** 3)


def kernel_row_sums(features: Array) -> Array:
    """Sums (n,) of k(x_i, x_j) over j != i. k is symmetric, so each block off the diagonal is used for two sums."""
    total = -kernel_with_itself(features)
    for rows, columns in itertools.combinations_with_replacement(slices(len(features)), 2):
        block = kernel(features[rows], features[columns])
        total[rows] += block.sum(axis=1)
        if rows != columns:
            total[columns] += block.sum(axis=0)
    return total


def kernel_means(left: Array, right: Array) -> Array:
    """Means (n,) of k(left_i, right_j) over `right`, without holding the whole matrix."""
    total = np.zeros(len(left))
    for rows, columns in itertools.product(slices(len(left)), slices(len(right))):
        total[rows] += kernel(left[rows], right[columns]).sum(axis=1)
    return total / len(right)


def slices(n: int) -> list[slice]:
    """n images in parts of CHUNK."""
    return [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]


def fd_replicates(features: Array, reference: Reference) -> Array:
    """FD with each group of samples left out in turn, (GROUPS,). Sample i is in group i mod GROUPS.

    Note: tr sqrt(C1 C2) is computed as the sum of the square roots of the eigenvalues of L' C1 L, where L L' = C2.
    """
    group = np.arange(len(features)) % GROUPS
    return np.array([_fast_frechet(features[group != left_out], reference) for left_out in range(GROUPS)])


def _fast_frechet(features: Array, reference: Reference) -> float:
    """FD from the eigenvalues of L' C1 L, see fd_replicates."""
    own, real = moments(features), reference.moments
    inner = reference.root.T @ own["sigma"] @ reference.root
    trace_root = np.sqrt(np.linalg.eigvalsh(inner).clip(min=0)).sum()
    shift = own["mu"] - real["mu"]
    return float(shift @ shift + np.trace(own["sigma"]) + np.trace(real["sigma"]) - 2 * trace_root)


def kd_replicates(features: Array, reference: Reference) -> Array:
    """KD with each group of samples left out in turn, (GROUPS,). Sample i is in group i mod GROUPS."""
    members = np.eye(GROUPS)[np.arange(len(features)) % GROUPS]  # (n, GROUPS)
    sizes = members.sum(axis=0)
    across = members.T @ kernel_means(features, reference.features)
    within = np.zeros((GROUPS, GROUPS))
    for rows in slices(len(features)):
        within += members[rows].T @ kernel(features[rows], features) @ members
    within -= np.diag(members.T @ kernel_with_itself(features))
    n = len(features) - sizes
    left = within.sum() - 2 * within.sum(axis=1) + np.diag(within)
    return left / (n * (n - 1)) + reference.mean_kernel - 2 * (across.sum() - across) / n


def kd_influence(features: Array, reference: Reference) -> Array:
    """What each sample adds to KD, (n,), mean 0 (Hoeffding 1948). KD's variance is about sum(terms^2) / (n (n - 1))."""
    within = kernel_row_sums(features) / (len(features) - 1)
    across = kernel_means(features, reference.features)
    return 2 * (within - within.mean()) - 2 * (across - across.mean())


def jackknife_se(replicates: Array) -> float:
    """Standard error from delete-group jackknife replicates.

    Source: Shao & Tu 1995, The Jackknife and Bootstrap, Section 2.3.
    """
    n = len(replicates)
    return float(np.sqrt((n - 1) / n * ((replicates - replicates.mean()) ** 2).sum()))


@dataclass(frozen=True)
class Metric:
    """A distance between samples and real images: its value, and its values with each group left out in turn."""

    value: Callable[[Array, Reference], float]
    replicates: Callable[[Array, Reference], Array]  # (GROUPS,)


METRICS = {"fd": Metric(frechet_distance, fd_replicates), "kd": Metric(kernel_distance, kd_replicates)}
