"""The Gaussian denoisers against the score of their densities."""

import copy

import pytest
import torch

from diffusion_core.exact import FullGaussian, GaussianDenoiser, gaussian_moments
from diffusion_core.samplers.sampling import model_device


def covariance(dim: int) -> torch.Tensor:
    """One of full rank with eigenvalues from 1e-3 to 10, float64."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator)).Q
    return basis * torch.logspace(-3, 1, dim, dtype=torch.float64) @ basis.T


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


def test_moments_of_one_full_step_without_noise() -> None:
    """alpha = 1 lands on the conditional mean: variance sigma^2 (1 - sigma^2 / (1 + sigma^2))^2."""
    assert gaussian_moments((3.0, 0.1), (1.0,), (0.0,)) == [9.0, pytest.approx(9 * (1 - 9 / 10) ** 2)]


def test_full_gaussian_is_minus_sigma_times_the_score_at_each_samples_sigma() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(12, dtype=torch.float64, generator=generator)
    x = 3 * torch.randn(7, 3, 2, 2, dtype=torch.float64, generator=generator)
    sigma = torch.logspace(-2, 2, 7, dtype=torch.float64)
    noised = covariance(12) + sigma.square()[:, None, None] * torch.eye(12, dtype=torch.float64)
    flat = x.flatten(1).clone().requires_grad_()
    log_density = torch.distributions.MultivariateNormal(mean, noised).log_prob(flat).sum()
    (score,) = torch.autograd.grad(log_density, flat)
    eps = FullGaussian.from_covariance(mean, covariance(12))(x, sigma)
    torch.testing.assert_close(eps, -sigma.view(-1, 1, 1, 1) * score.view_as(x), rtol=1e-10, atol=1e-10)


def test_full_gaussian_with_equal_variances_is_the_isotropic_one() -> None:
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([1e-3, 0.1, 1.0, 30.0, 1e3])
    model = FullGaussian.from_covariance(torch.full((16,), 0.4), 0.25 * torch.eye(16))
    torch.testing.assert_close(model(x, sigma), GaussianDenoiser(0.4, 0.5)(x, sigma), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.03, 1.0, 30.0])
def test_full_gaussian_in_float32_is_close_to_float64(sigma: float) -> None:
    model = FullGaussian.from_covariance(torch.zeros(256), covariance(256).float())
    generator = torch.Generator().manual_seed(2)
    coordinates = torch.randn(8, 256, generator=generator) * model.variances.sqrt()
    x = coordinates @ model.basis.T + sigma * torch.randn(8, 256, generator=generator)
    levels = torch.full((8,), sigma)
    exact = copy.deepcopy(model).double()(x.double(), levels.double())
    eps = model(x, levels)
    assert eps.dtype == torch.float32 and exact.dtype == torch.float64
    assert (eps - exact).abs().max() < 2e-4


def test_exact_denoisers_ignore_autocast_and_keep_the_dtype_of_x() -> None:
    model = FullGaussian.from_covariance(torch.zeros(16, dtype=torch.float64), covariance(16))
    x, sigma = torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), torch.full((4,), 0.5)
    expected = model(x, sigma)
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.float()(x, sigma), model(x, sigma))
        torch.testing.assert_close(model(x, sigma), expected, rtol=1e-5, atol=1e-5)


def test_samplers_find_the_device_of_a_model_with_buffers_only() -> None:
    assert model_device(FullGaussian(torch.zeros(2), torch.ones(2), torch.eye(2)).to("meta")).type == "meta"


def test_bad_gaussians_are_named() -> None:
    mean, eye, covariance = torch.zeros(2), torch.eye(2), FullGaussian.from_covariance
    for make, message in (
        (lambda: GaussianDenoiser(std=-1), "std=-1: it must be at least 0"),
        (lambda: FullGaussian(mean, torch.tensor([1.0, -1.0]), eye), "variances: the least is -1, but they must be at"),
        (lambda: FullGaussian(mean, torch.ones(3), eye), r"variances, basis: shapes \(\(2,\), \(3,\), \(2, 2\)\)"),
        (lambda: covariance(mean, torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "covariance: it is not symmetric"),
        (lambda: covariance(mean, torch.tensor([[0.0, 1.0], [1.0, 0.0]])), "it has the negative eigenvalue -1"),
        (lambda: FullGaussian(mean, mean, eye)(torch.zeros(1, 1, 2, 2), torch.ones(1)), "x: images of 4 values, but"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize(("alphas", "betas"), [((0.5,), (0.0, 0.0)), ((0.5, 0.5), (0.0,)), ((0.5,) * 3, (0.0,) * 3)])
def test_moments_need_alpha_and_beta_of_each_step(alphas: tuple[float, ...], betas: tuple[float, ...]) -> None:
    assert len(gaussian_moments((3.0, 1.0, 0.1), (0.5, 0.5), (0.0, 0.0))) == 3
    with pytest.raises(ValueError, match="zip"):
        gaussian_moments((3.0, 1.0, 0.1), alphas, betas)
