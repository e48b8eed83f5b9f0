"""MMD, FD, KD, precision and recall from features, with jackknife replicates and floors.

FD, precision and recall are those of experiments/distances; MMD and KD equal its, to the last bit.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from experiments.config.config import WIDTH
from experiments.distances import frechet
from experiments.distances.frechet import Moments
from experiments.distances.real import precision_recall
from experiments.metrics import kernels
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
        row_sums: of each kernel float64 (t,), the sums of k(y_i, y_j) over j != i. If t < T, kernel distances know only
            the first t images.
    """

    features: Array
    width: float
    row_sums: Mapping[str, Array]

    @classmethod
    def of(cls, features: Array, width: float = WIDTH) -> "Pool":
        """From the features of the images. `width` is here the share of their median distance."""
        absolute = width * median_distance(features)
        sums = kernels.group_sums(kernels.both(absolute), features)
        return cls(features, absolute, {name: each.sum(axis=1) for name, each in sums.items()})

    def aside(self, n: int, draw: int) -> NDArray[np.bool_]:
        """Mask (T,) of the n images that draw number `draw` sets aside. ValueError if fewer than two would remain.

        If t < T, as many as possible, but at most half of these, are among the t images that kernel distances know.
        """
        if n > len(self.features) - 2:
            raise ValueError(f"n_samples={n}: the data set has {len(self.features)} images, and 2 must stay to compare")
        rng, mask = np.random.default_rng([POOL_SEED, draw]), np.zeros(len(self.features), dtype=bool)
        known = len(next(iter(self.row_sums.values())))
        unknown = len(mask) - known
        inside = max(min(n, known // 2), n - unknown)  # n if all are known
        mask[rng.permutation(known)[:inside]] = True
        mask[known + rng.permutation(unknown)[: n - inside]] = True
        return mask

    def without(self, aside: NDArray[np.bool_]) -> Reference:
        """The pool without the images of a mask."""
        return self._split(aside)[0]

    def _split(self, aside: NDArray[np.bool_]) -> tuple[Reference, dict[str, tuple[float, float]]]:
        """The pool without the images of a mask, and the kernel distances' other parts.

        For each kernel these are two means: over pairs of images inside the mask, and over pairs of one image inside
        and one outside. Both come from the row sums, so only images with a row sum count.
        """
        own, within, others = kernels.both(self.width), dict[str, float](), dict[str, tuple[float, float]]()
        mask = aside[: len(next(iter(self.row_sums.values())))]
        n, rest = int(mask.sum()), int((~mask).sum())
        for name, sums in kernels.group_sums(own, self.features[: len(mask)][mask]).items():
            rows, inside = self.row_sums[name], float(sums.sum())
            between = float(rows[mask].sum()) - inside
            within[name] = (float(rows.sum()) - 2 * between - inside) / (rest * (rest - 1))
            others[name] = inside / max(n * (n - 1), 1), between / max(n * rest, 1)
        return Reference(self.features[~aside], own, within), others

    def reference(self, n: int) -> Reference:
        """The reference for n samples: the pool without the images of draw 0."""
        return self.without(self.aside(n, draw=0))

    def floor(self, n: int, draws: Iterable[int], most: int | None = None) -> dict[str, Array]:
        """The floor: the metrics, precision and recall of n real images against the other T - n, one for each draw.

        `most`: images of each side, for precision and recall.
        """
        out: dict[str, list[float]] = {name: [] for name in (*METRICS, "precision", "recall")}
        for draw in draws:
            aside = self.aside(n, draw)
            rest, others = self._split(aside)
            real = self.features[aside]
            out["fd"].append(frechet_distance(real, rest))
            for name, (inside, between) in others.items():
                out[name].append(inside + rest.within[name] - 2 * between)
            quality = precision_recall(real[:most], rest.features[:most])
            for name, value in zip(("precision", "recall"), quality, strict=True):
                out[name].append(value)
        return {metric: np.array(values) for metric, values in out.items()}


def frechet_distance(features: Array, reference: Reference) -> float:
    """FD, with torch-fidelity's number (Heusel et al. 2017, arXiv 1706.08500). Features float64 (n, d)."""
    return frechet.distance(Moments.of(features), reference.moments)


def influence(name: str, features: Array, reference: Reference) -> Array:
    """What each sample adds to a kernel distance, (n,), see `kernels.terms`."""
    return kernels.terms(*_sums_and_means(name, features, reference))


def _sums_and_means(name: str, features: Array, reference: Reference) -> tuple[Array, Array]:
    """Of each sample the kernel's group sums (n, GROUPS) over the others, and its mean (n,) over real images."""
    of = {name: reference.kernels[name]}
    over_real = kernels.across(of, features, reference.features)[name][0].sum(axis=1)
    return kernels.group_sums(of, features)[name], over_real / len(reference.features)


def jackknife_se(replicates: Array) -> float:
    """Standard error from delete-group jackknife replicates.

    Source: Shao & Tu 1995, The Jackknife and Bootstrap, Section 2.3.
    """
    n = len(replicates)
    return float(np.sqrt((n - 1) / n * ((replicates - replicates.mean()) ** 2).sum()))


def _kernel(name: str, features: Array, reference: Reference) -> tuple[float, Array]:
    sums, means = _sums_and_means(name, features, reference)
    value = kernels.pair_mean(sums) + reference.within[name] - 2 * float(means.mean())
    return value, kernels.pair_means_without(sums) + reference.within[name] - 2 * kernels.means_without(means)


def _frechet(features: Array, reference: Reference) -> tuple[float, Array]:
    group = np.arange(len(features)) % GROUPS
    without = [frechet_distance(features[group != left_out], reference) for left_out in range(GROUPS)]
    return frechet_distance(features, reference), np.array(without)


# A distance between samples and real images, and its replicates (GROUPS,): each group of samples left out in turn.
# Sample i is in group i mod GROUPS.
METRICS: dict[str, Callable[[Array, Reference], tuple[float, Array]]] = {
    "mmd": partial(_kernel, "mmd"),
    "kd": partial(_kernel, "kd"),
    "fd": _frechet,
}
