"""FD, and what each image adds to it: its variance over images then costs two matrix products.

FD = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, arXiv 1706.08500; Dowson & Landau 1982, J.
Multivariate Anal. 12, 450). Its derivative by C1 is I - T, where T = R (R' C1 R)^(-1/2) R' with R R' = C2 is the linear
map that transports the first Gaussian to the second; its derivative by C2 is I - T^(-1), by m1 2 (m1 - m2).

To second order FD is a squared distance of means, as MMD is. Let T = F F', and L = F' C1 F = F^(-1) C2 F^(-1)' be
diagonal. With u = F'(x - m1) of own images and v = F^(-1) (y - m2) of real ones, the derivative of T C1 T = C2 gives
|mean u - mean v|^2 + sum_kl (mean u u' - mean v v')_kl^2 / (2 (L_k + L_l)).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from experiments.metrics.influence import Influence
from reports.schema import GROUPS

Array = NDArray[np.float64]
ROWS = 128  # of a matrix of second moments, at a time
TINY = 1e-14  # of the largest eigenvalue: smaller ones are rounding


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and covariance (d, d) of the features of n images."""

    n: int
    mean: Array
    cov: Array

    @classmethod
    def of(cls, features: Array) -> "Moments":
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, np.atleast_2d(centred.T @ centred) / (len(features) - 1))

    @cached_property
    def eigen(self) -> tuple[Array, Array]:
        """The eigenvalues (d,) of the covariance, at least 0, and its eigenvectors (d, d)."""
        values, vectors = np.linalg.eigh(self.cov)
        return values.clip(min=0), vectors

    @cached_property
    def root(self) -> Array:
        """Some R (d, d) with R R' = covariance, by Cholesky where that is possible: it takes a tenth of the time."""
        try:
            return np.asarray(np.linalg.cholesky(self.cov), dtype=np.float64)
        except np.linalg.LinAlgError:  # it is singular
            values, vectors = self.eigen
            return np.asarray(vectors * np.sqrt(values))


def distance(own: Moments, real: Moments) -> float:
    """FD. It equals torch-fidelity's."""
    shift = own.mean - real.mean
    inner = np.linalg.eigvalsh(real.root.T @ own.cov @ real.root)
    return float(shift @ shift + np.trace(own.cov) + np.trace(real.cov) - 2 * np.sqrt(inner.clip(min=0)).sum())


def influence(own: Array, real: Array, moments: Moments | None = None) -> Influence:
    """FD of features (n, d) to real ones (r, d), with what each image adds to it. `moments`: of the real ones.

    With fewer than 2 d images on a side the cells are 0: FD is then far from quadratic.
    """
    first, second = Moments.of(own), moments or Moments.of(real)
    values, vectors = second.eigen
    root = vectors * np.sqrt(values)
    scales, axes = np.linalg.eigh(root.T @ first.cov @ root)
    scales = np.sqrt(scales.clip(min=0))
    shift = first.mean - second.mean
    value = shift @ shift + np.trace(first.cov) + np.trace(second.cov) - 2 * scales.sum()
    forth = (root @ axes) * _inverse_root(scales)  # T = forth forth'
    back = (vectors * _inverse_root(values)) @ (axes * np.sqrt(scales))  # its inverse, on the span of the real images
    own, real = own - first.mean, real - second.mean
    u, v = own @ forth, real @ back
    cells = _cells(u, v, scales) if min(first.n, second.n) >= 2 * len(scales) else np.zeros((2 * GROUPS, 2 * GROUPS))
    return Influence(float(value), _terms(own, u, 2 * shift), _terms(real, v, -2 * shift), cells)


def _inverse_root(values: Array) -> Array:
    """values^(-1/2); 0 where a value is 0 up to rounding."""
    kept = values > TINY * values.max()
    return np.divide(1, np.sqrt(values), out=np.zeros_like(values), where=kept)


def _terms(centred: Array, mapped: Array, slope: Array) -> Array:
    """slope.(x - m) + |x - m|^2 - |mapped|^2, minus its mean, for each image x."""
    terms = centred @ slope + (centred**2).sum(axis=1) - (mapped**2).sum(axis=1)
    return np.asarray(terms - terms.mean())


def _cells(u: Array, v: Array, scales: Array) -> Array:
    """The quadratic part of FD for each two groups of images, u (n, d) and v (r, d) as above."""
    parts = [(sign, side[group::GROUPS]) for sign, side in ((1, u), (-1, v)) for group in range(GROUPS)]
    means = np.stack([sign * part.mean(axis=0) for sign, part in parts])
    out = means @ means.T
    for start in range(0, len(scales), ROWS):
        rows, columns = slice(start, start + ROWS), slice(start, None)  # second moments are symmetric
        sums, counts = scales[rows, None] + scales[columns], 1 + (np.arange(start, len(scales)) >= start + ROWS)
        weights = np.divide(counts, 2 * sums, out=np.zeros_like(sums), where=sums > TINY * scales.max()) ** 0.5
        moments = [sign * weights * (part[:, rows].T @ part[:, columns]) / len(part) for sign, part in parts]
        flat = np.stack(moments).reshape(len(parts), -1)
        out += flat @ flat.T
    return np.asarray(out)
