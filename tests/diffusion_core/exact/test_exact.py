"""Exact denoisers: data sets against brute force, Gaussians against the score, mixtures against the same one twice."""

import copy

import pytest
import torch
from arrays import normal, seeded
from mixture import Mixture
from refusals import refused
from torch import Tensor
from torch.testing import assert_close

from diffusion_core.exact import Empirical, GaussianDenoiser, empirical
from diffusion_core.exact.tied_mixture import TiedMixture, probabilities
from diffusion_core.samplers.sampling import model_device
from diffusion_core.tensors import broadcast_like


def images(n: int, dim: int = 1024) -> Tensor:
    """n images around 0.7, the last half of them 0.001 from the first (float32)."""
    half = normal(n // 2, dim) + 0.7
    return torch.cat([half, half + 0.001 * normal(n // 2, dim, seed=2)])


def noisy(x0: Tensor, sigma: float) -> Tensor:
    return x0 + sigma * normal(*x0.shape, seed=1)


def brute(x: Tensor, sigma: Tensor, data: Tensor) -> Tensor:
    """eps (B, d) in float64, from all differences."""
    x, sigma, data = x.double(), sigma.double(), data.double()
    squares = (x[:, None] - data).square().sum(dim=2)
    weights = (-squares / (2 * sigma[:, None] ** 2)).softmax(dim=1)
    return (x - weights @ data) / sigma[:, None]


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.3, 1.0, 30.0])
def test_float32_is_close_to_brute_force_in_float64(sigma: float):
    """Pairs of images almost alike: the case in which |x|^2 - 2 x.x_i + |x_i|^2 would weigh them wrongly."""
    data, levels = images(64), torch.full((16,), sigma)
    x = noisy(data[:16], sigma)
    eps = Empirical(data)(x, levels)
    assert eps.dtype == torch.float32
    assert (eps - brute(x, levels, data)).abs().max() < 3e-5 + 1e-6 / sigma


def by_score(log_density: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """eps = -sigma grad ln p_sigma(x)."""
    (score,) = torch.autograd.grad(log_density.sum(), x)
    return -broadcast_like(x, sigma) * score


def test_eps_of_images_is_minus_sigma_times_the_score_at_each_samples_sigma():
    data, sigma = images(30, 12).double(), torch.logspace(-3, 3, 9, dtype=torch.float64)
    x = (data[:9] + 0.5 * sigma[:, None]).view(9, 3, 2, 2).requires_grad_()
    squares = (x.flatten(1)[:, None] - data).square().sum(dim=2)
    log_density = (-squares / (2 * sigma[:, None] ** 2)).logsumexp(dim=1)
    eps = Empirical(data.view(30, 3, 2, 2))(x.detach(), sigma)
    assert eps.dtype == torch.float64
    assert_close(eps, by_score(log_density, x, sigma), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_the_chunk_size_does_not_matter(chunk: int, monkeypatch: pytest.MonkeyPatch):
    data = images(64, 100)
    x, sigma = noisy(data[:9], 1.0), torch.tensor([0.01, 0.03, 0.1, 0.5, 1, 2, 5, 20, 80])
    whole = Empirical(data)(x, sigma)
    monkeypatch.setattr(empirical, "CHUNK", chunk)
    assert_close(Empirical(data)(x, sigma), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("std", [0.0, 0.5, 1.0])
def test_eps_of_a_gaussian_is_minus_sigma_times_the_score(std: float):
    x = normal(8, 1, 2, 2).double().requires_grad_()
    sigma = torch.linspace(0.1, 5, 8, dtype=torch.float64)
    law = torch.distributions.Normal(0.4, broadcast_like(x, (std**2 + sigma**2).sqrt()))
    eps = GaussianDenoiser(0.4, std)(x.detach(), sigma)
    assert_close(eps, by_score(law.log_prob(x), x, sigma), rtol=1e-12, atol=1e-12)


DIM, RANK, N = 12, 5, 4


def pair(dtype: torch.dtype = torch.float64) -> tuple[TiedMixture, Mixture]:
    """The same distribution twice; every parameter differs from the others."""
    mean = normal(DIM).to(dtype)
    centres = 3 * normal(N, RANK, seed=1).to(dtype)
    basis = torch.linalg.qr(normal(DIM, RANK, seed=2).to(dtype)).Q
    variances = torch.linspace(0.2, 2, RANK, dtype=dtype)
    outside = torch.tensor([0.09], dtype=dtype)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=dtype)
    tied = TiedMixture(mean, basis, variances, outside, weights.log(), centres)
    means, more = mean + centres @ basis.T, (variances - outside).expand(N, RANK)
    return tied, Mixture(weights, means, basis.expand(N, DIM, RANK).contiguous(), more, outside.sqrt().expand(N))


@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-5), (torch.float32, 1e-3)])
def test_eps_is_that_of_the_same_mixture_with_a_covariance_per_component(dtype: torch.dtype, error: float):
    tied, mixture = pair(dtype)[0], pair()[1]
    generator = seeded(1)
    sigma = torch.logspace(-3, 3, 13, dtype=torch.float64)
    x = mixture.sample(13, generator) + sigma[:, None] * torch.randn(13, DIM, generator=generator)
    eps = tied(x.to(dtype), sigma.to(dtype))
    assert_close(eps.double(), mixture(x, sigma), rtol=error, atol=error)


def test_exact_denoisers_ignore_autocast_keep_the_dtype_of_x_and_name_a_wrong_size():
    law, x, sigma = pair()[0], torch.randn(4, 3, 2, 2), torch.full((4,), 0.5)
    expected, single = law(x, sigma), copy.deepcopy(law).float()
    assert expected.dtype == torch.float32
    exact = single(x, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(single(x, sigma), exact) and torch.equal(law(x, sigma), expected)
    with refused("x: images of 4 values, but the distribution is of 12"):
        law(x[:, :1], sigma)


def test_the_fit_denoises_as_the_distribution_that_the_images_are_from():
    tied, mixture = pair(torch.float32)
    generator = seeded(2)
    x0, fresh = mixture.sample(4000, generator).float(), mixture.sample(500, generator).float()
    fitted = TiedMixture.fit(x0, n_components=8, rank=RANK)
    for level in (0.1, 0.5, 2.0, 10.0):
        sigma = torch.full((500,), level)
        x = fresh + level * torch.randn(500, DIM, generator=generator)
        truth = tied(x, sigma)
        error = (fitted(x, sigma) - truth).square().mean() / (x / (1 + level**2) * level - truth).square().mean()
        assert error < 0.02, level


def test_the_fit_keeps_mean_and_covariance_of_the_images():
    x0 = normal(300, 1, 4, 5, seed=3).cumsum(dim=3)
    flat, fitted = x0.flatten(1), TiedMixture.fit(x0, n_components=7, rank=19, prior=0)
    weights, means = fitted.log_weights.exp(), fitted.mean + fitted.centres @ fitted.basis.T
    assert_close(weights @ means, flat.mean(dim=0), rtol=0, atol=1e-4)
    apart = (means - weights @ means) * weights.sqrt()[:, None]
    outside = fitted.outside * (torch.eye(20) - fitted.basis @ fitted.basis.T)
    covariance = apart.T @ apart + fitted.basis * fitted.variances @ fitted.basis.T + outside
    assert_close(covariance, flat.T.cov(correction=0), rtol=0, atol=2e-3)


def test_the_prior_pulls_centres_to_the_mean_by_as_many_images():
    x0 = torch.tensor([-6.0, 6.0]).repeat(10)[:, None] * torch.tensor([1.0, 0, 0])
    x0 += 0.1 * normal(20, 3, seed=5)
    centres = TiedMixture.fit(x0, n_components=2, rank=1, prior=2).centres
    assert_close(centres.sort(dim=0).values, torch.tensor([[-5.0], [5.0]]), rtol=0, atol=0.1)


@pytest.mark.parametrize("n", [5, 80])  # fewer images than components, and more
def test_the_rank_is_below_the_number_of_values_of_an_image(n: int):
    x0 = normal(n, 1, 2, 3, seed=6)
    fitted, standard = TiedMixture.fit(x0), TiedMixture.standard(6)
    assert fitted.basis.shape == standard.basis.shape == (6, 5)
    assert fitted(x0, torch.full((n,), 0.1)).isfinite().all()
    assert standard.is_standard and not fitted.is_standard
    standard.mean += 1
    assert not standard.is_standard
    assert model_device(standard.to("meta")).type == "meta", "samplers find the device of a model with buffers only"


def test_weights_of_another_size_are_loaded_with_their_size():
    x0 = normal(50, 1, 4, 5, seed=6).double()
    fitted = TiedMixture.fit(x0, n_components=3, rank=2)
    loaded = TiedMixture.standard(6)
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(loaded(x0, torch.ones(50)), fitted(x0, torch.ones(50)))
    with pytest.raises(RuntimeError, match="size mismatch for mean"):
        loaded.load_state_dict(fitted.state_dict() | {"mean": torch.zeros(20, 1)})
    with pytest.raises(RuntimeError, match="Missing key"):
        loaded.load_state_dict({})


def test_what_is_next_to_nothing_is_nothing_since_subnormal_numbers_are_slow():
    generator = seeded(4)
    x0 = pair(torch.float32)[1].sample(200, generator).float()
    padded = torch.nn.functional.pad(x0, (3, 3))
    fitted = TiedMixture.fit(padded, n_components=8, rank=RANK)
    assert not fitted.basis[[0, 1, 2, -3, -2, -1]].any()
    assert probabilities(torch.tensor([[0.0, -90.0]])).tolist() == [[1.0, 0.0]]
