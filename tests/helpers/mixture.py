"""The exact denoiser of a mixture of Gaussians with covariances of their own, as a stand-in for a trained network.

p(x0) = sum_k w_k N(x0; mu_k, C_k), C_k = U_k diag(l_k) U_k^T + s_k^2 I. With noise, s_k^2 is v_k = s_k^2 + sigma^2.
"""

import torch
from torch import Tensor

from diffusion_core.exact.gaussian import FlatDenoiser


class Mixture(FlatDenoiser):
    """eps = sigma sum_k r_k(x) (C_k + sigma^2 I)^-1 (x - mu_k); r_k(x) is the probability of component k given x.

    Args: weights (K,), means (K, d), bases U_k (K, d, R) with orthonormal columns, variances l_k (K, R), stds s_k (K,).
    """

    weights: Tensor
    means: Tensor
    bases: Tensor
    variances: Tensor
    stds: Tensor

    def __init__(self, weights: Tensor, means: Tensor, bases: Tensor, variances: Tensor, stds: Tensor) -> None:
        super().__init__()
        self.dim = means.shape[1]
        parts = {"weights": weights, "means": means, "bases": bases, "variances": variances, "stds": stds}
        for name, tensor in parts.items():
            self.register_buffer(name, tensor)

    def flat_eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        outside = (self.stds.square() + sigma.square())[:, :, None]  # v_k, (B, K, 1)
        inside = self.variances + outside
        apart = x[:, None] - self.means
        along = torch.einsum("bkd,kdr->bkr", apart, self.bases)
        rest = apart - torch.einsum("bkr,kdr->bkd", along, self.bases)
        squares = (rest.square() / outside).sum(dim=2) + (along.square() / inside).sum(dim=2)
        n_outside = self.dim - self.bases.shape[2]
        logs = self.weights.log() - (squares + n_outside * outside.log()[:, :, 0] + inside.log().sum(dim=2)) / 2
        pulls = rest / outside + torch.einsum("bkr,kdr->bkd", along / inside, self.bases)
        return sigma * (logs.softmax(dim=1)[:, :, None] * pulls).sum(dim=1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n clean draws (n, d), in data units."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        factors = self.means.new_empty(n, self.bases.shape[2]).normal_(generator=generator)
        x = self.means.new_empty(n, self.dim).normal_(generator=generator) * self.stds[chosen, None]
        along = torch.einsum("ndr,nr->nd", self.bases[chosen], factors * self.variances[chosen].sqrt())
        return self.means[chosen] + x + along
