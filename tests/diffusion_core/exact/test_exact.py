"""Exact denoisers: a data set against brute force in float64, a Gaussian against the score of its density."""

import pytest
import torch

from diffusion_core.exact import Empirical, GaussianDenoiser


def images(n: int, dim: int = 1024) -> torch.Tensor:
    """n images around 0.7, the last half of them 0.001 from the first (float32)."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(n // 2, dim, generator=generator) + 0.7
    return torch.cat([half, half + 0.001 * torch.randn(n // 2, dim, generator=generator)])


def noisy(x0: torch.Tensor, sigma: float) -> torch.Tensor:
    return x0 + sigma * torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))


def brute(x: torch.Tensor, sigma: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    """eps (B, d) in float64, from all differences."""
    x, sigma, data = x.double(), sigma.double(), data.double()
    squares = (x[:, None] - data).square().sum(dim=2)
    weights = (-squares / (2 * sigma[:, None] ** 2)).softmax(dim=1)
    return (x - weights @ data) / sigma[:, None]


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.3, 1.0, 30.0])
def test_float32_is_close_to_brute_force_in_float64(sigma: float) -> None:
    """Pairs of images almost alike: the case in which |x|^2 - 2 x.x_i + |x_i|^2 would weigh them wrongly."""
    data, levels = images(64), torch.full((16,), sigma)
    x = noisy(data[:16], sigma)
    eps = Empirical(data)(x, levels)
    assert eps.dtype == torch.float32
    assert (eps - brute(x, levels, data)).abs().max() < 3e-5 + 1e-6 / sigma


def test_eps_is_minus_sigma_times_the_score_at_each_samples_sigma() -> None:
    data, sigma = images(30, 12).double(), torch.logspace(-3, 3, 9, dtype=torch.float64)
    x = (data[:9] + 0.5 * sigma[:, None]).view(9, 3, 2, 2).requires_grad_()
    squares = (x.flatten(1)[:, None] - data).square().sum(dim=2)
    log_density = (-squares / (2 * sigma[:, None] ** 2)).logsumexp(dim=1).sum()
    (score,) = torch.autograd.grad(log_density, x)
    eps = Empirical(data.view(30, 3, 2, 2))(x.detach(), sigma)
    assert eps.dtype == torch.float64
    torch.testing.assert_close(eps, -sigma.view(-1, 1, 1, 1) * score, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_the_chunk_size_does_not_matter(chunk: int) -> None:
    data = images(64, 100)
    x, sigma = noisy(data[:9], 1.0), torch.tensor([0.01, 0.03, 0.1, 0.5, 1, 2, 5, 20, 80])
    torch.testing.assert_close(Empirical(data, chunk=chunk)(x, sigma), Empirical(data)(x, sigma), rtol=1e-4, atol=1e-4)


def test_one_image_is_a_point() -> None:
    x, sigma = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 1.0, 30.0])
    eps = Empirical(torch.full((1, 1, 2, 2), 0.4))(x, sigma)
    torch.testing.assert_close(eps, GaussianDenoiser(0.4, 0.0)(x, sigma), rtol=1e-6, atol=1e-6)


def test_bad_data_are_named() -> None:
    with pytest.raises(ValueError, match="images, chunk: 0 and 4096, but there must be at least 1 of each"):
        Empirical(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="images, chunk: 2 and 0"):
        Empirical(torch.zeros(2, 4), chunk=0)


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
