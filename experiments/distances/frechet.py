"""FD, and what each image adds to it: its variance over images then costs two matrix products.

FD = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, arXiv 1706.08500; Dowson & Landau 1982, J.
Multivariate Anal. 12, 450). Its derivative by C1 is I - T, where T = R (R' C1 R)^(-1/2) R' with R R' = C2 is the linear
map that transports the first Gaussian to the second; its derivative by C2 is I - T^(-1), by m1 2 (m1 - m2).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

TINY = 1e-14  # of the largest eigenvalue: smaller ones are rounding


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and covariance (d, d) of the features of n images, float64."""

    n: int
    mean: Tensor
    cov: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Moments":
        mean = features.mean(dim=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred / (len(features) - 1))

    def without(self, part: "Moments") -> "Moments":
        """The moments of the other images, if these are of all of them and `part` of some."""
        n = self.n - part.n
        shift = part.mean - self.mean
        scatter = (self.n - 1) * self.cov - (part.n - 1) * part.cov
        scatter -= part.n * self.n / n * torch.outer(shift, shift)
        return Moments(n, self.mean - part.n / n * shift, scatter / (n - 1))

    @cached_property
    def eigen(self) -> tuple[Tensor, Tensor]:
        """The eigenvalues (d,) of the covariance, at least 0, and its eigenvectors (d, d)."""
        values, vectors = torch.linalg.eigh(self.cov)
        return values.clamp(min=0), vectors

    @cached_property
    def root(self) -> Tensor:
        """Some R (d, d) with R R' = covariance, by Cholesky where that is possible: it takes a tenth of the time."""
        factor, singular = torch.linalg.cholesky_ex(self.cov)
        if not singular:
            return factor
        values, vectors = self.eigen
        return vectors * values.sqrt()


def frechet_distance(own: Moments, real: Moments) -> float:
    """FD. It equals torch-fidelity's."""
    return _distance(own, real, torch.linalg.eigvalsh(real.root.T @ own.cov @ real.root))


def jackknife_terms(
    own: Tensor, first: Moments, second: Moments, real: Tensor | None = None
) -> tuple[float, Tensor, Tensor]:
    """FD, and what each image adds to it, (n,) and (r,), mean 0; nothing of real images if there are none.

    Args:
        own, real: features (n, d) and (r, d).
        first, second: their moments.
    """
    values, vectors = second.eigen
    root = vectors * values.sqrt()
    inner, axes = torch.linalg.eigh(root.T @ first.cov @ root)
    scales = inner.clamp(min=0).sqrt()
    shift = first.mean - second.mean
    forth = (root @ axes) * _inverse_root(scales)  # T = forth forth'
    back = (vectors * _inverse_root(values)) @ (axes * scales.sqrt())  # its inverse, on the span of the real images
    ours = _terms(own - first.mean, forth, 2 * shift)
    theirs = own.new_zeros(0) if real is None else _terms(real - second.mean, back, -2 * shift)
    return _distance(first, second, inner), ours, theirs


def _distance(own: Moments, real: Moments, inner: Tensor) -> float:
    """FD from the eigenvalues of the product of both covariances."""
    shift = own.mean - real.mean
    return float(shift @ shift + own.cov.trace() + real.cov.trace() - 2 * inner.clamp(min=0).sqrt().sum())


def _inverse_root(values: Tensor) -> Tensor:
    """values^(-1/2); 0 where a value is 0 up to rounding."""
    return torch.where(values > TINY * values.max(), values.rsqrt(), 0)


def _terms(centred: Tensor, half: Tensor, slope: Tensor) -> Tensor:
    """slope.(x - m) + |x - m|^2 - |half' (x - m)|^2, minus its mean, for each image x."""
    terms = centred @ slope + centred.square().sum(dim=1) - (centred @ half).square().sum(dim=1)
    return terms - terms.mean()
