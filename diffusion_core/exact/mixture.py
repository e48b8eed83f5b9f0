"""The exact denoiser of a mixture of Gaussians whose covariances are low-rank plus isotropic.

    p(x0) = sum_k w_k N(x0; mu_k, C_k)      C_k = U_k diag(l_k) U_k^T + s_k^2 I

This is a mixture of probabilistic principal component analysers (Tipping & Bishop 1999, Neural Computation 11(2)).
W_k in that paper is U_k diag(l_k)^(1/2), up to a rotation. Noise of standard deviation sigma changes only the isotropic
part, from s_k^2 to v_k = s_k^2 + sigma^2. So the noisy data x follow a mixture of the same kind. Let d be the number of
values per image, R the rank, p = U_k^T (x - mu_k) the projections and q = x - mu_k - U_k p the residual. Then

    (C_k + sigma^2 I)^-1 (x - mu_k)    = q / v_k + U_k (p / (l_k + v_k))
    -2 log N(x; mu_k, C_k + sigma^2 I) = |q|^2 / v_k + sum p^2 / (l_k + v_k)
                                         + (d - R) log v_k + sum log (l_k + v_k) + d log 2 pi

No d x d matrix is formed or inverted. |q|^2 = |x - mu_k|^2 - |p|^2 cancels, and is useless in float32 at small sigma.
So the logarithms are computed in float64, in products with all components at once.
"""

import math
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from diffusion_core.exact.gaussian import FlatDenoiser


class Mixture(FlatDenoiser):
    """The exact eps for data from a mixture of K Gaussians in d dimensions, and the mixture itself.

    eps = sigma sum_k r_k(x) (C_k + sigma^2 I)^-1 (x - mu_k). r_k(x) is the probability of component k given x.

    Args (ValueError if they do not fit):
        weights: (K,), the w_k, at least 0, with sum 1.
        means: (K, d), the mu_k, in data units.
        bases: (K, d, R), the U_k, with orthonormal columns.
        variances: (K, R), the l_k, at least 0: variances along the columns, in addition to s_k^2.
        stds: (K,), the s_k, at least 0.

    """

    weights: Tensor
    means: Tensor
    bases: Tensor
    variances: Tensor
    stds: Tensor

    def __init__(self, weights: Tensor, means: Tensor, bases: Tensor, variances: Tensor, stds: Tensor) -> None:
        super().__init__()
        if means.ndim != 2 or bases.ndim != 3:
            raise ValueError(
                f"means, bases: {means.ndim} and {bases.ndim} dimensions, but they must be (K, d), (K, d, R)"
            )
        self.n_components, self.dim = means.shape
        self.rank = bases.shape[2]
        tensors = {"weights": weights, "means": means, "bases": bases, "variances": variances, "stds": stds}
        k, d, r = self.n_components, self.dim, self.rank
        shapes = {"weights": (k,), "bases": (k, d, r), "variances": (k, r), "stds": (k,)}
        for name, shape in shapes.items():
            if tensors[name].shape != shape:
                raise ValueError(f"{name}: shape {tuple(tensors[name].shape)}, but means {(k, d)} need {shape}")
        for name in ("weights", "variances", "stds"):
            if not (tensors[name] >= 0).all():
                raise ValueError(f"{name}: the least is {tensors[name].min():.6g}, but they must be at least 0")
        if not abs(weights.sum().item() - 1) < 1e-5:
            raise ValueError(f"weights: their sum is {weights.sum():.6g}, but it must be 1")
        if not ((bases.mT @ bases - torch.eye(r, dtype=bases.dtype, device=bases.device)).abs() < 1e-4).all():
            raise ValueError("bases: their columns are not orthonormal")
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self._arrangement: Arranged | None = None

    def flat_eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        logs, projections = self._logs_and_projections(x, sigma)
        noise = self.stds.square() + sigma.square()  # v_k, (B, K)
        pulls = logs.softmax(dim=1).to(x.dtype) / noise
        # q / v + U (p / (l + v)) = (x - mu) / v - U (p l / (v (l + v)))
        inside = self.variances / (self.variances + noise[:, :, None])
        along = (pulls[:, :, None] * projections.to(x.dtype) * inside).flatten(1) @ self._arranged.rows
        return sigma * (x * pulls.sum(dim=1, keepdim=True) - pulls @ self.means - along)

    def log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p_sigma(x) (B,) of x (B, C, H, W) or (B, d), in nats; sigma (B,) is above 0 if any s_k is 0."""
        logs, _ = self._logs_and_projections(*self.flattened(x, sigma))
        return (logs.logsumexp(dim=1) - self.dim / 2 * math.log(2 * math.pi)).to(self.means.dtype)

    def responsibilities(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The probability (B, K) of each component given x. Arguments as in `log_density`."""
        logs, _ = self._logs_and_projections(*self.flattened(x, sigma))
        return logs.softmax(dim=1).to(self.means.dtype)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n clean draws (n, d), in data units. For the same seed they depend on dtype and device of the buffers."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        factors = self.means.new_empty(n, self.rank).normal_(generator=generator)
        x = self.means.new_empty(n, self.dim).normal_(generator=generator)
        x = x * self.stds[chosen, None] + self.means[chosen]
        for k in range(self.n_components):
            rows = (chosen == k).nonzero().squeeze(1)
            x[rows] += (factors[rows] * self.variances[k].sqrt()) @ self.bases[k].T
        return x

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d) of the clean mixture."""
        mean = self.weights @ self.means
        apart = (self.means - mean) * self.weights.sqrt()[:, None]
        scaled = self.bases * (self.weights[:, None] * self.variances).sqrt()[:, None, :]
        within = torch.einsum("kdr,ker->de", scaled, scaled)
        isotropic = (self.weights @ self.stds.square()).expand(self.dim).diag()
        return mean, within + apart.T @ apart + isotropic

    def _logs_and_projections(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """log w_k N(x; mu_k, C_k + sigma^2 I) + d/2 log 2 pi, (B, K), and the projections p (B, K, R), in float64."""
        known, x = self._arranged, x.double()
        noise = known.variances_outside + sigma.double().square()
        projections = (x @ known.bases).unflatten(1, (self.n_components, self.rank)) - known.projected_means
        distances = x.square().sum(dim=1, keepdim=True) - 2 * x @ known.means.T + known.squared_means
        bent = (projections.transpose(0, 1) @ known.beyond).transpose(0, 1)
        total = known.variances + noise[:, :, None]
        squares = (distances + (bent * projections).sum(dim=2)) / noise + (projections.square() / total).sum(dim=2)
        determinants = (self.dim - self.rank) * noise.log() + total.log().sum(dim=2)
        return known.log_weights - (squares + determinants) / 2, projections

    @property
    def _arranged(self) -> "Arranged":
        if self._arrangement is None:
            self._arrangement = Arranged.of(self)
        return self._arrangement

    def _apply(self, *arguments: Any, **more: Any) -> Self:
        self._arrangement = None  # the buffers change
        return super()._apply(*arguments, **more)


class Arranged(NamedTuple):
    """The parameters arranged for products with all components at once; in float64, but for `rows`."""

    log_weights: Tensor  # (K,)
    means: Tensor  # (K, d)
    bases: Tensor  # (d, K R)
    variances: Tensor  # (K, R)
    variances_outside: Tensor  # (K,), the s_k^2
    projected_means: Tensor  # (K, R), U_k^T mu_k
    squared_means: Tensor  # (K,)
    beyond: Tensor  # (K, R, R): |q|^2 = |x - mu|^2 + p^T beyond p. It is -I but for the rounding of the U_k.
    rows: Tensor  # (K R, d), the columns of all U_k

    @classmethod
    def of(cls, mixture: Mixture) -> "Arranged":
        means, bases = mixture.means.double(), mixture.bases.double()
        return cls(
            mixture.weights.double().log(),
            means,
            bases.transpose(0, 1).flatten(1).contiguous(),
            mixture.variances.double(),
            mixture.stds.double().square(),
            torch.einsum("kd,kdr->kr", means, bases),
            means.square().sum(dim=1),
            bases.mT @ bases - 2 * torch.eye(mixture.rank).to(bases),
            mixture.bases.mT.flatten(0, 1).contiguous(),
        )
