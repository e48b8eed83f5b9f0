"""The exact denoiser of a mixture of Gaussians whose covariances are low-rank plus isotropic.

    p(x0) = sum_k w_k N(x0; mu_k, C_k)      C_k = U_k diag(l_k) U_k^T + s_k^2 I

This is a mixture of probabilistic principal component analysers (Tipping & Bishop 1999, Neural Computation 11(2)).
W_k in that paper is U_k diag(l_k)^(1/2), up to a rotation. Noise of standard deviation sigma changes only the isotropic
part, from s_k^2 to v_k = s_k^2 + sigma^2. So the noisy data x follow a mixture of the same kind. Let d be the number of
values per image, R the rank, p = U_k^T (x - mu_k) the projections and q = x - mu_k - U_k p the residual. Then

    (C_k + sigma^2 I)^-1 (x - mu_k)    = q / v_k + U_k (p / (l_k + v_k))
    -2 log N(x; mu_k, C_k + sigma^2 I) = |q|^2 / v_k + sum p^2 / (l_k + v_k)
                                         + (d - R) log v_k + sum log (l_k + v_k) + d log 2 pi

No d x d matrix is formed or inverted. |q|^2 is computed from q. |x - mu_k|^2 - |p|^2 would save one product with U_k,
but it cancels and is useless in float32 at small sigma.
"""

import math

import torch
from torch import Tensor

from diffusion_core.exact.gaussian import FlatDenoiser


class Mixture(FlatDenoiser):
    """The exact eps for data from a mixture of K Gaussians in d dimensions, and the mixture itself.

    eps = sigma sum_k r_k(x) (C_k + sigma^2 I)^-1 (x - mu_k). r_k(x) is the probability of component k given x.

    Args:
        weights: (K,), the w_k, at least 0, with sum 1.
        means: (K, d), the mu_k, in data units.
        bases: (K, d, R), the U_k, with orthonormal columns.
        variances: (K, R), the l_k, at least 0: variances along the columns, in addition to s_k^2.
        stds: (K,), the s_k, at least 0.

    Raises:
        ValueError: shapes that do not fit, a value outside its range, columns that are not orthonormal.
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

    def flat_eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        logs, pulls = [], []
        for k in range(self.n_components):
            projections, residual = self._split(x, k)
            logs.append(self._relative_log(projections, residual, sigma, k))
            noise = self.stds[k].square() + sigma.square()
            pulls.append(residual / noise + (projections / (self.variances[k] + noise)) @ self.bases[k].T)
        responsibilities = torch.stack(logs).softmax(dim=0)
        return sigma * torch.einsum("kb,kbd->bd", responsibilities, torch.stack(pulls))

    def log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The log-density log p_sigma(x) of noisy data, (B,), in nats and in the dtype of the buffers.

        Args:
            x: (B, C, H, W) or (B, d).
            sigma: (B,), at least 0; above 0 if any s_k is 0.
        """
        x, sigma = self.flattened(x, sigma)
        relative = self._relative_logs(x, sigma).logsumexp(dim=1)
        return relative - self.dim / 2 * (2 * math.pi * self._reference(sigma)).log().squeeze(1)

    def responsibilities(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The probability (B, K) of each component given x. Arguments as in `log_density`."""
        return self._relative_logs(*self.flattened(x, sigma)).softmax(dim=1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n clean draws (n, d), in data units and the dtype of the buffers.

        Args:
            generator: on the device of the buffers. For the same seed, the draws depend on dtype and device.
        """
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

    def _split(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The projections p (B, R) of x (B, d) and the residual q (B, d), for component k."""
        centred = x - self.means[k]
        projections = centred @ self.bases[k]
        return projections, torch.addmm(centred, projections, self.bases[k].T, alpha=-1)

    def _reference(self, sigma: Tensor) -> Tensor:
        """The v_k of component 0, (B, 1), the unit in determinants: d log v_k itself is too large for float32."""
        return self.stds[0].square() + sigma.square()

    def _relative_logs(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log w_k N(x; mu_k, C_k + sigma^2 I), (B, K), up to a term that all components share."""
        logs = [self._relative_log(*self._split(x, k), sigma, k) for k in range(self.n_components)]
        return torch.stack(logs, dim=1)

    def _relative_log(self, projections: Tensor, residual: Tensor, sigma: Tensor, k: int) -> Tensor:
        noise, reference = self.stds[k].square() + sigma.square(), self._reference(sigma)
        beyond = self.stds[k].square() - self.stds[0].square()
        log_determinant = (self.dim - self.rank) * (beyond / reference).log1p().squeeze(1) + (
            (self.variances[k] + beyond) / reference
        ).log1p().sum(dim=1)
        distance = residual.square().sum(dim=1) / noise.squeeze(1) + (
            projections.square() / (self.variances[k] + noise)
        ).sum(dim=1)
        return self.weights[k].log() - (distance + log_determinant) / 2
