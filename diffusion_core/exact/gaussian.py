"""Exact denoisers of Gaussian data: the conditional mean in closed form, as ground truth for samplers.

`tied_mixture.py` has mixtures of Gaussians; `empirical.py` has the data set itself as the distribution. All exact
denoisers satisfy eps = -sigma grad log p_sigma(x) and x - sigma eps = E[x0 | x] (Robbins 1956, Efron 2011). p_sigma is
the density of the data plus noise of standard deviation sigma.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from diffusion_core.tensors import broadcast_like, computing_in


@dataclass(frozen=True)
class GaussianDenoiser:
    """The exact eps for data with independent pixels N(mean, std^2). It keeps the model contract.

    E[noise | x] = sigma (x - mean) / (std^2 + sigma^2), by conditioning one Gaussian on another: the Wiener filter.
    Usual is GaussianDenoiser(), for standardised data.
    """

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = broadcast_like(x, sigma)
        return (x - self.mean) * (sigma / (self.std**2 + sigma**2))


class FlatDenoiser(nn.Module):
    """Base class that keeps the model contract. A subclass defines `flat_eps`, which takes images as vectors.

    It computes in the dtype of its buffers, for every dtype of x and without autocast. `.to` moves it, and `.double()`
    makes it compute in float64.
    """

    dim: int  # C * H * W

    def flat_eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        """eps (B, dim) for x (B, dim) and sigma (B, 1), all in the dtype of the buffers."""
        raise NotImplementedError  # a subclass has it

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The exact eps of x (B, C, H, W) or (B, d) at sigma (B,) above 0, like x. ValueError if d != dim."""
        flat = x.flatten(1)
        dtype = next(self.buffers()).dtype
        if flat.shape[1] != self.dim:
            raise ValueError(f"x: images of {flat.shape[1]} values, but the distribution is of {self.dim}")
        with computing_in("fp32", x.device):
            return self.flat_eps(flat.to(dtype), sigma.to(dtype)[:, None]).view_as(x).to(x.dtype)
