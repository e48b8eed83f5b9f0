"""A distance between images and real ones, with what each image adds to it: every interval follows from that.

A distance of n independent images is, to first order, the sum of what each of them adds (its influence values: Hampel
1974, J. Am. Stat. Assoc. 69, 383). So its variance is about sum(own^2) / (n (n - 1)), that of a difference of two sets
with the same noise is the same of their difference, and that of images which belong together is the same of their sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reports.schema import METRICS

Array = NDArray[np.float64]
NONE: Array = np.zeros(0)


@dataclass(frozen=True)
class Distance:
    """A distance of n images to real ones, or the difference of two.

    Args:
        own: (n,) what each image adds, mean 0.
        real: (R,) what each real image adds, mean 0; empty if the real images are fixed, as in experiments. In `score`
            they are a sample too.
    """

    value: float
    own: Array
    real: Array = field(default_factory=lambda: NONE)

    def __sub__(self, other: "Distance") -> "Distance":
        """The difference of two sets of equal size whose images at one place come from the same noise."""
        return Distance(self.value - other.value, self.own - other.own, self.real - other.real)

    def by_unit(self, own: NDArray[np.integer], real: NDArray[np.integer] | None = None) -> "Distance":
        """This distance with each group of images as one: images of one prompt, or copies.

        What a group adds is scaled so that the variance keeps its formula: G / (G - 1) sum over groups of (sum own)^2 /
        n^2, the cluster form (Liang & Zeger 1986, Biometrika 73, 13).

        Args:
            own: (n,) the index of each image's group, 0 to G - 1; two groups or more.
            real: (R,) that of each real image, if the real images are a sample with groups.
        """
        return Distance(self.value, _sums(self.own, own), self.real if real is None else _sums(self.real, real))

    @property
    def se(self) -> float:
        """The standard error over images."""
        return float((jackknife_variance(self.own) + jackknife_variance(self.real)) ** 0.5)


def mean_of(distances: Sequence[Distance], times: float = 1) -> Distance:
    """The mean of distances of equal size, whose images at one place come from the same noise, times a number."""
    own, real = ([getattr(distance, name) for distance in distances] for name in ("own", "real"))
    value = float(np.mean([distance.value for distance in distances]))
    return Distance(times * value, times * np.mean(own, axis=0), times * np.mean(real, axis=0))


def renumber(units: NDArray[np.generic]) -> NDArray[np.intp]:
    """Groups (n,), numbers or names, as indices from 0 without gaps, in their sorted order."""
    return np.asarray(np.unique(units, return_inverse=True)[1], dtype=np.intp)


def _sums(terms: Array, units: NDArray[np.integer]) -> Array:
    sums = np.bincount(units, weights=terms)
    return np.asarray(sums * (len(sums) / len(units)), np.float64)


def jackknife_variance(terms: Array) -> float:
    """The variance of a distance over images that add these terms (infinitesimal jackknife); 0 for no images."""
    n = len(terms)
    return float((terms**2).sum() / (n * (n - 1))) if n else 0.0


def columns_of(distances: Mapping[str, Distance]) -> dict[str, float]:
    """The columns of table.csv: each distance, and its standard error if it has a kernel."""
    ses = {f"{name}_se": distance.se for name, distance in distances.items() if METRICS[name].kernel}
    return {name: distance.value for name, distance in distances.items()} | ses


def pack_distances(distances: Mapping[str, Distance]) -> dict[str, Tensor]:
    """Distances as tensors of a file, by METRIC.FIELD."""
    return {
        f"{metric}.{name}": torch.as_tensor(np.asarray(value, dtype=np.float64))
        for metric, distance in distances.items()
        for name, value in vars(distance).items()
    }


def unpack_distances(tensors: Mapping[str, Tensor]) -> dict[str, Distance]:
    """The distances that `pack_distances` stored."""
    by_metric: dict[str, dict[str, Array]] = {}
    for name, tensor in tensors.items():
        metric, _, field_name = name.partition(".")
        by_metric.setdefault(metric, {})[field_name] = tensor.numpy()
    return {metric: Distance(float(values.pop("value")), **values) for metric, values in by_metric.items()}
