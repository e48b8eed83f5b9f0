"""The Gaussian denoiser against the score of its density."""

import pytest
import torch

from diffusion_core.exact import GaussianDenoiser


@pytest.mark.parametrize("std", [0.0, 0.5, 1.0])
def test_eps_is_minus_sigma_times_the_score(std: float) -> None:
    x = torch.randn(8, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sigma = torch.linspace(0.1, 5, 8, dtype=torch.float64)
    scale = (std**2 + sigma**2).sqrt().view(-1, 1, 1, 1).expand_as(x)
    log_density = torch.distributions.Normal(0.4, scale).log_prob(x).sum()
    (score,) = torch.autograd.grad(log_density, x)
    torch.testing.assert_close(
        GaussianDenoiser(0.4, std)(x.detach(), sigma), -sigma.view(-1, 1, 1, 1) * score, rtol=1e-12, atol=1e-12
    )


def test_a_negative_std_is_named() -> None:
    with pytest.raises(ValueError, match="std=-1: it must be at least 0"):
        GaussianDenoiser(std=-1)
