"""MMD, FD, KD, precision and recall from features, with jackknife replicates and floors.

Precision and recall are torch-fidelity's own functions, FD and KD equal its FID and KID (with one subset of full size).
FD is in frechet.py. MMD and KD are unbiased squared maximum mean discrepancies on all images at once (Gretton et al.
2012, JMLR 13, Eq. 3): MMD with the Gaussian kernel exp(-(distance / median distance of real images)^2), KD with
torch-fidelity's cubic kernel.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_prc import prc_features_to_metric

from experiments.config.config import WIDTH
from experiments.metrics import frechet, kernels
from experiments.metrics.frechet import Moments
from experiments.metrics.kernels import Array, Kernel, median_distance
from reports.schema import GROUPS

POOL_SEED = 7  # decides which real images are set aside


@dataclass(frozen=True)
class Reference:
    """The real images that samples are compared with.

    Args:
        features: float64 (R, d).
        kernels: by the name of its distance: mmd and kd.
        within: of each kernel the mean of k(y_i, y_j) over all pairs i != j.
    """

    features: Array
    kernels: Mapping[str, Kernel]
    within: Mapping[str, float]

    @cached_property
    def moments(self) -> Moments:
        return Moments.of(self.features)

    @classmethod
    def of(cls, features: Array, width: float = WIDTH) -> "Reference":
        """All of some real images. `width`: of the Gaussian kernel, as a share of the median distance."""
        return Pool.of(features, width).without(np.zeros(len(features), dtype=bool))


@dataclass(frozen=True)
class Pool:
    """All T real images of a training set: the source of references and floors.

    n samples are compared with `reference(n)`: the T - n images that a fixed seed leaves. The floor compares
    n images, drawn at random, with the other T - n. So samples and floor have the same n and reference size.

    Args:
        features: float64 (T, d).
        width: of the Gaussian kernel. It is that of all T images, so it does not depend on n.
        row_sums: of each kernel float64 (T,), the sums of k(y_i, y_j) over j != i.
    """

    features: Array
    width: float
    row_sums: Mapping[str, Array]

    @classmethod
    def of(cls, features: Array, width: float = WIDTH) -> "Pool":
        """From the features of the images. `width` is here the share of their median distance."""
        absolute = width * median_distance(features)
        row_sums = {name: kernels.row_sums(kernel, features) for name, kernel in kernels.both(absolute).items()}
        return cls(features, absolute, row_sums)

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
        """The pool without the images of a mask."""
        return self._split(aside)[0]

    def _split(self, aside: NDArray[np.bool_]) -> tuple[Reference, dict[str, float]]:
        """The pool without the images of a mask, and the kernels' sums over all pairs of these images.

        The mean kernels of the others are computed from the row sums.
        """
        n = len(self.features) - int(aside.sum())
        own, inside, within = kernels.both(self.width), dict[str, float](), dict[str, float]()
        for name, sums in self.row_sums.items():
            inside[name] = float(kernels.row_sums(own[name], self.features[aside]).sum())
            within[name] = float(sums.sum() - 2 * sums[aside].sum() + inside[name]) / (n * (n - 1))
        return Reference(self.features[~aside], own, within), inside

    def reference(self, n: int) -> Reference:
        """The reference for n samples: the pool without the images of draw 0."""
        return self.without(self.aside(n, draw=0))

    def floor(self, n: int, repeats: int) -> dict[str, Array]:
        """The floor: the metrics, precision and recall of n real images against the other T - n, each (repeats,)."""
        out: dict[str, list[float]] = {name: [] for name in (*METRICS, "precision", "recall")}
        for draw in range(1, repeats + 1):
            aside = self.aside(n, draw)
            rest, inside = self._split(aside)
            real = self.features[aside]
            out["fd"].append(frechet_distance(real, rest))
            for name, within in inside.items():
                across = self.row_sums[name][aside].sum() - within
                out[name].append(within / (n * (n - 1)) + rest.within[name] - 2 * across / (n * len(rest.features)))
            for name, value in zip(("precision", "recall"), precision_recall(real, rest), strict=True):
                out[name].append(value)
        return {metric: np.array(values) for metric, values in out.items()}


def frechet_distance(features: Array, reference: Reference) -> float:
    """FD, with torch-fidelity's number (Heusel et al. 2017, arXiv 1706.08500). Features float64 (n, d)."""
    return frechet.distance(Moments.of(features), reference.moments)


def kernel_distance(name: str, features: Array, reference: Reference) -> float:
    """The unbiased squared MMD with the kernel of this name, mmd or kd. Features float64 (n, d)."""
    n, kernel = len(features), reference.kernels[name]
    within = kernels.row_sums(kernel, features).sum() / (n * (n - 1))
    across = kernels.means(kernel, features, reference.features).mean()
    return float(within + reference.within[name] - 2 * across)


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


def fd_replicates(features: Array, reference: Reference) -> Array:
    """FD with each group of samples left out in turn, (GROUPS,). Sample i is in group i mod GROUPS."""
    group = np.arange(len(features)) % GROUPS
    return np.array([frechet_distance(features[group != left_out], reference) for left_out in range(GROUPS)])


def kernel_replicates(name: str, features: Array, reference: Reference) -> Array:
    """A kernel distance with each group of samples left out in turn, (GROUPS,). Sample i is in group i mod GROUPS."""
    sums, means = _sums_and_means(name, features, reference)
    return kernels.pair_means_without(sums) + reference.within[name] - 2 * kernels.means_without(means)


def influence(name: str, features: Array, reference: Reference) -> Array:
    """What each sample adds to a kernel distance, (n,), see `kernels.terms`."""
    return kernels.terms(*_sums_and_means(name, features, reference))


def _sums_and_means(name: str, features: Array, reference: Reference) -> tuple[Array, Array]:
    """Of each sample the kernel's group sums (n, GROUPS) over the others, and its mean (n,) over real images."""
    kernel = reference.kernels[name]
    return kernels.group_sums({name: kernel}, features)[name], kernels.means(kernel, features, reference.features)


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


METRICS = {
    "mmd": Metric(partial(kernel_distance, "mmd"), partial(kernel_replicates, "mmd")),
    "kd": Metric(partial(kernel_distance, "kd"), partial(kernel_replicates, "kd")),
    "fd": Metric(frechet_distance, fd_replicates),
}
