"""FD, KD and precision/recall from features, and how sure they are: jackknife, floors.

FD and precision/recall are torch-fidelity's own functions. KD is torch-fidelity's polynomial kernel on all images at
once (the unbiased U-statistic of Binkowski et al. 2018, arXiv 1801.01401), which equals torch-fidelity's KID with one
subset of full size; the kernel is written out here, since numpy's power takes most of the time there.
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

from experiments.config.config import GROUPS

CHUNK = 1024  # images on one side of a block of a kernel matrix: 8 MiB, which stay in a cache
POOL_SEED = 7  # which real images are set aside
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Real images that samples are compared with.

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
        """A square root L of the covariance, L L' = cov: it makes the jackknife's many FDs cheap."""
        values, vectors = np.linalg.eigh(self.moments["sigma"])
        return vectors * np.sqrt(values.clip(min=0))

    @classmethod
    def of(cls, features: Array) -> "Reference":
        n = len(features)
        return cls(features, kernel_row_sums(features).sum() / (n * (n - 1)))


class Pool:
    """All T real images of a training set. Samples are compared with T - n of them, and so is the floor's real draw.

    A row of n samples has the reference `reference(n)`: the pool without n images set aside by a fixed seed. The floor
    takes n of the pool at random, again and again, and compares them with the T - n others. Both sides thus have the
    same n and the same reference size.

    Args:
        features: float64 (T, d).
        row_sums: float64 (T,), sum of k(y_i, y_j) over j != i.
    """

    def __init__(self, features: Array, row_sums: Array) -> None:
        self.features, self.row_sums = features, row_sums

    def aside(self, n: int, draw: int) -> NDArray[np.bool_]:
        """Mask (T,) of the n images set aside in draw number `draw`.

        Raises:
            ValueError: fewer than two images would stay.
        """
        if n > len(self.features) - 2:
            raise ValueError(f"n_samples={n}: the data set has {len(self.features)} images, and 2 must stay to compare")
        mask = np.zeros(len(self.features), dtype=bool)
        mask[np.random.default_rng([POOL_SEED, draw]).permutation(len(mask))[:n]] = True
        return mask

    def without(self, aside: NDArray[np.bool_]) -> Reference:
        """The pool without the images of a mask; its mean kernel follows from the row sums."""
        inside = kernel_row_sums(self.features[aside]).sum()
        n = len(self.features) - int(aside.sum())
        total = self.row_sums.sum() - 2 * self.row_sums[aside].sum() + inside
        return Reference(self.features[~aside], total / (n * (n - 1)))

    def reference(self, n: int) -> Reference:
        """What n samples are compared with."""
        return self.without(self.aside(n, draw=0))

    def floor(self, n: int, repeats: int) -> dict[str, Array]:
        """Scores of n real images against the T - n others: fd, kd, precision and recall, each (repeats,)."""
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
    """Mean (d,) and covariance (d, d) as torch-fidelity's FID wants them."""
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
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991) against n reference images."""
    n = min(len(features), len(reference.features))
    generated, real = (torch.from_numpy(part).float() for part in (features, reference.features[:n]))
    out = prc_features_to_metric(
        generated, real, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=True, verbose=False
    )
    return out["precision"], out["recall"]


def kernel(left: Array, right: Array) -> Array:
    """(l, r) k(x, y) = (x.y / d + 1)^3 of features (l, d) and (r, d), torch-fidelity's polynomial kernel."""
    base = left @ right.T
    base /= left.shape[1]
    base += 1
    return base * base * base


def kernel_row_sums(features: Array) -> Array:
    """(n,) sums over j != i of k(x_i, x_j). Each pair is evaluated once."""
    total = -(((features**2).sum(axis=1) / features.shape[1] + 1) ** 3)
    for rows, columns in itertools.combinations_with_replacement(_slices(len(features)), 2):
        block = kernel(features[rows], features[columns])
        total[rows] += block.sum(axis=1)
        if rows != columns:
            total[columns] += block.sum(axis=0)
    return total


def kernel_means(left: Array, right: Array) -> Array:
    """(n,) means over `right` of k(left_i, right_j), without holding the whole matrix."""
    total = np.zeros(len(left))
    for rows, columns in itertools.product(_slices(len(left)), _slices(len(right))):
        total[rows] += kernel(left[rows], right[columns]).sum(axis=1)
    return total / len(right)


def _slices(n: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]


def fd_replicates(features: Array, reference: Reference) -> Array:
    """(GROUPS,) FD without each group of samples in turn; sample i is in group i mod GROUPS.

    tr sqrt(C1 C2) is the sum of the roots of the eigenvalues of the symmetric L' C1 L, where L L' = C2.
    """
    group = np.arange(len(features)) % GROUPS
    out = np.empty(GROUPS)
    for left_out in range(GROUPS):
        out[left_out] = _fast_frechet(features[group != left_out], reference)
    return out


def _fast_frechet(features: Array, reference: Reference) -> float:
    own, real = moments(features), reference.moments
    inner = reference.root.T @ own["sigma"] @ reference.root
    trace_root = np.sqrt(np.linalg.eigvalsh(inner).clip(min=0)).sum()
    shift = own["mu"] - real["mu"]
    return float(shift @ shift + np.trace(own["sigma"]) + np.trace(real["sigma"]) - 2 * trace_root)


def kd_replicates(features: Array, reference: Reference) -> Array:
    """(GROUPS,) KD without each group of samples in turn; sample i is in group i mod GROUPS."""
    group = np.arange(len(features)) % GROUPS
    members = np.eye(GROUPS)[group]  # (n, GROUPS)
    sizes = members.sum(axis=0)
    across = members.T @ kernel_means(features, reference.features)
    within = np.zeros((GROUPS, GROUPS))
    for rows in _slices(len(features)):
        within += members[rows].T @ kernel(features[rows], features) @ members
    diagonal = ((features**2).sum(axis=1) / features.shape[1] + 1) ** 3
    within -= np.diag(members.T @ diagonal)
    n = len(features) - sizes
    left = within.sum() - 2 * within.sum(axis=1) + np.diag(within)
    return left / (n * (n - 1)) + reference.mean_kernel - 2 * (across.sum() - across) / n


def jackknife_se(replicates: Array) -> float:
    """Standard error from delete-group replicates (Shao & Tu 1995, The Jackknife and Bootstrap, section 2.3)."""
    n = len(replicates)
    return float(np.sqrt((n - 1) / n * ((replicates - replicates.mean()) ** 2).sum()))


@dataclass(frozen=True)
class Metric:
    """A distance between samples and real images: its value, and its values without each group of samples in turn."""

    value: Callable[[Array, Reference], float]
    replicates: Callable[[Array, Reference], Array]  # (GROUPS,)


METRICS = {"fd": Metric(frechet_distance, fd_replicates), "kd": Metric(kernel_distance, kd_replicates)}
