"""The exact denoiser of a mixture of Gaussians with covariances of their own, as a stand-in for a trained network.

p(x0) = sum_k w_k N(x0; mu_k, C_k), C_k = U_k diag(l_k) U_k^T + s_k^2 I. With noise, s_k^2 is v_k = s_k^2 + sigma^2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """eps = sigma sum_k r_k(x) (C_k + sigma^2 I)^-1 (x - mu_k); r_k(x) is the probability of component k given x.

    Args: weights (K,), means (K, d), bases U_k (K, d, R) with orthonormal columns, variances l_k (K, R), stds s_k (K,),
        all float64.
    """

    weights: Tensor
    means: Tensor
    bases: Tensor
    variances: Tensor
    stds: Tensor

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """eps like x (B, ...), for sigma (B,); computed in float64."""
        sigma = sigma.double()[:, None]
        outside = self.stds.square() + sigma.square()  # v_k, (B, K)
        inside = self.variances + outside[:, :, None]
        apart = x.double().flatten(1)[:, None] - self.means
        along = torch.einsum("bkd,kdr->bkr", apart, self.bases)
        squares = (apart.square().sum(2) - along.square().sum(2)) / outside + (along.square() / inside).sum(2)
        _, dim, rank = self.bases.shape
        volumes = (dim - rank) * outside.log() + inside.log().sum(2)
        shares = (self.weights.log() - (squares + volumes) / 2).softmax(1)
        turned = shares[:, :, None] * along * (1 / inside - 1 / outside[:, :, None])
        straight = torch.einsum("bk,bkd->bd", shares / outside, apart)
        eps = sigma * (straight + torch.einsum("bkr,kdr->bd", turned, self.bases))
        return eps.view_as(x).to(x.dtype)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n clean draws (n, d), in data units."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        _, dim, rank = self.bases.shape
        factors = self.means.new_empty(n, rank).normal_(generator=generator)
        x = self.means.new_empty(n, dim).normal_(generator=generator) * self.stds[chosen, None]
        along = torch.einsum("ndr,nr->nd", self.bases[chosen], factors * self.variances[chosen].sqrt())
        return self.means[chosen] + x + along
