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
        """In products of matrices, without the differences x - mu_k (B, K, d), which take most of the time."""
        outside = self.stds.square() + sigma.square()  # v_k, (B, K)
        inside = self.variances + outside[:, :, None]
        n_components, dim, rank = self.bases.shape
        columns = self.bases.transpose(0, 1).reshape(dim, n_components * rank)  # U_1, ..., U_K beside each other
        of_means = torch.einsum("kd,kdr->kr", self.means, self.bases)
        along = (x @ columns).unflatten(1, (n_components, rank)) - of_means
        apart = x.square().sum(dim=1, keepdim=True) - 2 * x @ self.means.T + self.means.square().sum(dim=1)
        squares = (apart - along.square().sum(dim=2)) / outside + (along.square() / inside).sum(dim=2)
        logs = self.weights.log() - (squares + (dim - rank) * outside.log() + inside.log().sum(dim=2)) / 2
        shares = logs.softmax(dim=1)
        over = shares / outside
        turned = (shares[:, :, None] / inside - over[:, :, None]) * along
        return sigma * (over.sum(dim=1, keepdim=True) * x - over @ self.means + turned.flatten(1) @ columns.T)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n clean draws (n, d), in data units."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        factors = self.means.new_empty(n, self.bases.shape[2]).normal_(generator=generator)
        x = self.means.new_empty(n, self.dim).normal_(generator=generator) * self.stds[chosen, None]
        along = torch.einsum("ndr,nr->nd", self.bases[chosen], factors * self.variances[chosen].sqrt())
        return self.means[chosen] + x + along
