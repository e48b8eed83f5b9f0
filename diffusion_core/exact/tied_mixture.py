"""The exact denoiser of a mixture of Gaussians that share one covariance, and its fit to images in seconds.

    p(x0) = sum_k w_k N(x0; mean + U m_k, C)      C = U diag(l) U^T + s^2 (I - U U^T)

The span of U (d, R) is that of the first R principal components of the images. The centres of the Gaussians lie in it,
and all directions outside have the same variance s^2. So hundreds of Gaussians cost little more than one.
"""

import math
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_core.exact.gaussian import FlatDenoiser

N_COMPONENTS = 50
RANK = 256  # smaller for images of at most 256 values
PRIOR = 5.0  # images
MAX_IMAGES = 20_000  # for the fit
EM_STEPS = 15
EXACT_DIM = 4096  # more values of an image, such as 64x64 in colour, would take minutes and gigabytes
OVERSAMPLED = 16
ITERATIONS = 2
MIN_VARIANCE = 1e-3  # of a direction, in data units
TINY = 1e-12  # becomes 0: products with subnormal numbers take several times as long on a CPU


class TiedMixture(FlatDenoiser):
    """The exact eps for data from a mixture of K Gaussians with one covariance in d dimensions.

    Of x = x0 + sigma noise, let z = U^T (x - mean). The probability of Gaussian k given x is the softmax over k of
    ln w_k - |z - m_k|^2 / (2 (l + sigma^2)), and m(x) is the mean of the m_k by these probabilities. Then
    eps = sigma (C + sigma^2 I)^-1 (x - mean - U m(x)).

    Usually made by `fit`, where the defaults do. Also called a mixture with tied, or shared, covariances. Do not
    confuse it with `Empirical`, whose Gaussians have no width and are as many as the images.

    `load_state_dict` also takes weights of another size: the mixture gets their d, R and K.

    Args: the parameters, standardised data units.
        mean: (d,).
        basis: U (d, R), with orthonormal columns.
        variances: l (R,), along these columns.
        outside: s^2 (1,).
        log_weights: ln w_k (K,).
        centres: m_k (K, R).
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor
    outside: Tensor
    log_weights: Tensor
    centres: Tensor

    def __init__(
        self, mean: Tensor, basis: Tensor, variances: Tensor, outside: Tensor, log_weights: Tensor, centres: Tensor
    ) -> None:
        super().__init__()
        self.dim = len(mean)
        names = ("mean", "basis", "variances", "outside", "log_weights", "centres")
        for name, value in zip(names, (mean, basis, variances, outside, log_weights, centres), strict=True):
            self.register_buffer(name, value)

    @classmethod
    def standard(cls, dim: int) -> Self:
        """N(0, I) in `dim` dimensions, in tensors of the same shapes as those of a fitted mixture."""
        rank = min(RANK, dim - 1)
        log_weights = torch.full((N_COMPONENTS,), -math.log(N_COMPONENTS))
        centres = torch.zeros(N_COMPONENTS, rank)
        return cls(torch.zeros(dim), torch.eye(dim, rank), torch.ones(rank), torch.ones(1), log_weights, centres)

    @property
    def is_standard(self) -> bool:
        """Whether it is N(0, I), the mixture before `fit`. It reads the values, so it is right after loading too."""
        zero = not (self.mean.any() or self.centres.any())
        return zero and bool((self.variances == 1).all()) and bool((self.outside == 1).all())

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        """Loads tensors as `nn.Module` does, but first gives each the shape of the one that is loaded."""
        for name, old in self._buffers.items():
            new = state_dict.get(prefix + name)
            if old is not None and new is not None and new.ndim == old.ndim:
                setattr(self, name, old.new_empty(new.shape))
        self.dim = len(self.mean)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def flat_eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        centred = x - self.mean
        z = centred @ self.basis
        inside = 1 / (self.variances + sigma.square())
        outside = 1 / (self.outside + sigma.square())
        logits = (z * inside) @ self.centres.T - inside @ (self.centres.square().T / 2) + self.log_weights
        apart = z - probabilities(logits) @ self.centres
        return sigma * (centred * outside + (apart * inside - z * outside) @ self.basis.T)

    @classmethod
    def fit(cls, x0: Tensor, n_components: int = N_COMPONENTS, rank: int = RANK, prior: float = PRIOR) -> Self:
        """The mixture fitted to the images x0 (n, C, H, W) or (n, d), standardised, by expectation maximisation.

        Each centre is the mean of its images and of `prior` images more that equal the overall mean, so that it depends
        less on single images. The same images give the same mixture up to rounding. At most 20,000 images are used. The
        rank is at most d - 1: at that rank no direction is left out, as the one outside has its own variance s^2.

        Source: Dempster, Laird & Rubin 1977, J. R. Statist. Soc. B 39(1); `prior` is the conjugate prior of a mean.
        Note: the prior is used for the centres only. So with prior > 0 the steps are a heuristic and not expectation
            maximisation of one objective.
        """
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(x0), generator=generator)[:MAX_IMAGES]
        flat = x0[chosen.to(x0.device)].flatten(1).float()
        n, d = flat.shape
        rank = min(rank, d - 1)
        mean = flat.mean(dim=0)
        flat = flat - mean
        basis = principal_axes(flat, rank, generator)
        z = flat @ basis
        outside = (flat.square().sum() - z.square().sum()) / (n * (d - rank))
        total = z.T @ z / n
        identity = torch.eye(rank).to(z)
        centres = z[torch.arange(n_components) % n]
        covariance = identity
        weights = z.new_full((n_components,), 1 / n_components)
        for _ in range(EM_STEPS):
            pull = centres @ torch.linalg.inv(covariance + MIN_VARIANCE * identity)
            shares = probabilities(z @ pull.T - (pull * centres).sum(dim=1) / 2 + weights.log())
            weights = shares.mean(dim=0).clamp(min=1e-9)
            sums = shares.T @ z / n
            centres = sums / (weights + prior / n)[:, None]
            across = centres.T @ sums
            covariance = total - across - across.T + (centres.T * weights) @ centres
        variances, turn = torch.linalg.eigh(covariance.double())
        variances = variances.clamp(min=MIN_VARIANCE).to(z)
        outside = outside.clamp(min=MIN_VARIANCE).view(1)
        basis = functional.hardshrink(basis @ turn.to(z), TINY)  # 0 at pixels that are the same in all images
        return cls(mean, basis, variances, outside, weights.log(), centres @ turn.to(z))


def principal_axes(flat: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """The first principal axes (d, rank) of centred rows (n, d); of more than `EXACT_DIM` values approximately.

    Source: Halko, Martinsson & Tropp 2011, arXiv 0909.4061, Algorithm 4.4 (randomised subspace iteration).
    """
    dim = flat.shape[1]
    if dim <= EXACT_DIM:
        return torch.linalg.eigh((flat.T @ flat).double()).eigenvectors.flip(1)[:, :rank].to(flat)
    axes = torch.randn(dim, rank + OVERSAMPLED, generator=generator).to(flat)
    for _ in range(ITERATIONS):
        axes = torch.linalg.qr(flat.T @ (flat @ axes)).Q
    inside = flat @ axes
    return axes @ torch.linalg.eigh((inside.T @ inside).double()).eigenvectors.flip(1)[:, :rank].to(flat)


def probabilities(logits: Tensor) -> Tensor:
    """The softmax over the last axis, with 0 for what is below `TINY`."""
    return functional.threshold(logits.softmax(dim=-1), TINY, 0.0)
