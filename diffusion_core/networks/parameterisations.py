"""Parameterisations: three meanings of a trunk's output F, each of which makes it a denoiser, eps = model(x, sigma).

In all three the trunk's inputs are x / sqrt(1 + sigma^2), which has unit variance for data of unit variance, and
ln(sigma) / 4. `mixture-input` is `preconditioned` with one input more. eps has the dtype of x, also under autocast. An
error of F becomes an error of eps, or of denoised = x - sigma eps, multiplied by

    parameterisation    in eps                     in denoised
    preconditioned      1 / sqrt(1 + sigma^2)      sigma / sqrt(1 + sigma^2)
    eps                 1                          sigma
    x0                  1 / sigma                  1

Only `preconditioned` never amplifies an error of F. Its F is the v prediction with the opposite sign.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from diffusion_core.data import SIDE
from diffusion_core.exact.tied_mixture import TiedMixture
from diffusion_core.tensors import broadcast_like


class Parameterised(nn.Module):
    """A trunk F(input, ln(sigma) / 4) whose output a subclass turns into eps. `dim` is the number of values of one x.

    `forward(x, sigma)` estimates the unit noise in x (B, C, ...) at sigma (B,), positive, in data standard deviations.
    """

    n_inputs: ClassVar[int] = 1  # images that the trunk sees, as channels of one

    def __init__(self, trunk: nn.Module, dim: int = SIDE**2) -> None:
        super().__init__()
        self.trunk = trunk

    def fit(self, x0: Tensor) -> None:
        """Learns from the training images x0 (n, C, H, W), before the first step, what is not learned by gradients."""

    @property
    def needs_fit(self) -> bool:
        return False

    def inputs(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Returns the images that the trunk sees (B, n_inputs * C, ...), for sigma (B, 1, ...)."""
        return x * (1 + sigma.square()).rsqrt()

    def trunk_output(self, x: Tensor, sigma: Tensor) -> Tensor:
        """F(inputs, ln(sigma) / 4) in the shape and dtype of x, for sigma (B, 1, ...)."""
        out: Tensor = self.trunk(self.inputs(x, sigma), sigma.flatten().log() / 4)
        return out.to(x.dtype)


class Preconditioned(Parameterised):
    """F is minus the v prediction; with F = 0 this is the exact denoiser of N(0, 1) data.

    F estimates (x0 sigma - noise) / sqrt(1 + sigma^2), and eps = x sigma / (1 + sigma^2) - F / sqrt(1 + sigma^2).

    Source: Karras et al. 2022, arXiv 2206.00364, Table 1 with sigma_data = 1, solved for eps = (x - denoised) / sigma;
        v: Salimans & Ho 2022, arXiv 2202.00512, with alpha = 1 / sqrt(1 + sigma^2).
    Note: at small sigma the paper's D(x) loses eps to cancellation. This form does not, at small or at large sigma.
    """

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = broadcast_like(x, sigma.to(x.dtype))
        scale = (1 + sigma.square()).rsqrt()
        return x * (sigma * scale.square()) - self.trunk_output(x, sigma) * scale


class MixtureInput(Preconditioned):
    """As `Preconditioned`, but the trunk also sees the image as a mixture of Gaussians denoises it, as more channels.

    At high noise networks learn little more than the score of such a mixture. `fit` fits it to the training images, in
    seconds; until then it is N(0, I), and `train` refuses the network. It is saved with the weights.

    Source: Wang & Vastola 2023, arXiv 2311.10892 (learned scores at high noise: a Gaussian's, then a mixture's).
    Note: with too many components for its images, samples resemble training images.
    """

    n_inputs: ClassVar[int] = 2

    def __init__(self, trunk: nn.Module, dim: int = SIDE**2) -> None:
        super().__init__(trunk, dim)
        self.mixture = TiedMixture.standard(dim)  # until `fit` or weights bring their size

    def fit(self, x0: Tensor) -> None:
        self.mixture = TiedMixture.fit(x0)

    @property
    def needs_fit(self) -> bool:
        return self.mixture.is_standard

    def inputs(self, x: Tensor, sigma: Tensor) -> Tensor:
        denoised = x - sigma * self.mixture(x, sigma.flatten())
        return torch.cat([super().inputs(x, sigma), denoised], dim=1)


class Eps(Parameterised):
    """F is the noise: eps = F, the form of the original notebook. With F = 0 nothing is removed.

    Source: Ho et al. 2020, arXiv 2006.11239, Section 3.2.
    Note: at sigma = 30 an error of 0.01 in F becomes an error of 0.3 in denoised.
    """

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.trunk_output(x, broadcast_like(x, sigma.to(x.dtype)))


class X0(Parameterised):
    """F is the clean image: eps = (x - F) / sigma. With F = 0 denoised is the mean of the data, 0.

    Source: Salimans & Ho 2022, arXiv 2202.00512, Section 4 (prediction of x).
    Note: at small sigma x - F cancels, and the division by sigma amplifies the rounding error. In bfloat16 (float32)
        eps is off by up to 0.065 (1e-6) at sigma = 0.03 and by 0.49 (7e-6) at 0.004, however good the training.
    """

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = broadcast_like(x, sigma.to(x.dtype))
        return (x - self.trunk_output(x, sigma)) / sigma
