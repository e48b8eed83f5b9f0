"""The mixture's denoiser against autograd and dense covariances; and the fit."""

import copy
import math
from typing import Any

import pytest
import torch
from small_mixture import mixture

from diffusion_core.exact import Empirical, Mixture
from diffusion_core.samplers import generate_samples
from diffusion_core.samplers.sampling import model_device


def dense(law: Mixture) -> torch.Tensor:
    """The covariances (K, d, d)."""
    eye = torch.eye(law.dim, dtype=law.means.dtype)
    return law.bases * law.variances[:, None] @ law.bases.mT + law.stds.square()[:, None, None] * eye


def noisy(law: Mixture, n: int, sigma: torch.Tensor | float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(n, law.dim, dtype=torch.float64, generator=generator)
    return law.sample(n, generator).double() + torch.as_tensor(sigma).view(-1, 1) * noise


def test_log_density_is_that_of_dense_covariances() -> None:
    law, sigma = mixture(4, 10, 3), torch.logspace(-3, 3, 13, dtype=torch.float64)
    x = noisy(law, 13, sigma)
    covariances = dense(law) + sigma.square().view(-1, 1, 1, 1) * torch.eye(10, dtype=torch.float64)
    parts = torch.distributions.MultivariateNormal(law.means, covariances).log_prob(x[:, None])
    joint = law.weights.log() + parts
    torch.testing.assert_close(law.log_density(x, sigma), joint.logsumexp(dim=1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(law.responsibilities(x, sigma), joint.softmax(dim=1), rtol=1e-7, atol=1e-9)


def test_eps_is_minus_sigma_times_the_score_at_each_samples_sigma() -> None:
    law, sigma = mixture(4, 12, 3), torch.logspace(-3, 3, 13, dtype=torch.float64)
    x = noisy(law, 13, sigma).view(13, 3, 2, 2).requires_grad_()
    (score,) = torch.autograd.grad(law.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(law(x, sigma), -sigma.view(-1, 1, 1, 1) * score, rtol=1e-5, atol=1e-5)


def test_exact_denoisers_ignore_autocast_and_keep_the_dtype_of_x() -> None:
    law, sigma = mixture(2, 16, 3), torch.full((4,), 0.5)
    x = noisy(law, 4, 0.5).float()
    expected, single = law(x, sigma), copy.deepcopy(law).float()
    assert expected.dtype == torch.float32
    exact = single(x, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(single(x, sigma), exact) and torch.equal(law(x, sigma), expected)


def test_samplers_find_the_device_of_a_model_with_buffers_only() -> None:
    assert model_device(mixture(2, 4, 1).to("meta")).type == "meta"


@pytest.mark.parametrize("sigma", [0.03, 1.0, 30.0])
def test_float32_is_close_to_float64(sigma: float) -> None:
    """At 1,024 values, close components (so that the responsibilities are not all 0 or 1 at sigma 1)."""
    law = mixture(5, 1024, 8, spread=0.1)
    x, levels = noisy(law, 16, sigma), torch.full((16,), sigma)
    exact = law(x, levels)
    assert exact.dtype == torch.float64
    single = copy.deepcopy(law).float()
    eps = single(x.float(), levels)
    assert eps.dtype == torch.float32
    assert (eps - exact).abs().max() < 1e-4
    shares = single.responsibilities(x.float(), levels) - law.responsibilities(x, levels)
    assert shares.abs().max() < 2e-3


@pytest.mark.parametrize("sigma", [1e-3, 1e3])
@pytest.mark.parametrize("distance", [0.0, 1e3])
def test_extreme_levels_stay_finite(sigma: float, distance: float) -> None:
    law, levels = mixture(5, 1024, 8).float(), torch.full((5,), sigma)
    x = law.means + distance
    assert law(x, levels).isfinite().all() and law.log_density(x, levels).isfinite().all()
    assert Empirical(law.means)(x, levels).isfinite().all()


def test_moments_are_those_of_samples() -> None:
    law = mixture(3, 6, 2)
    mean, covariance = law.moments()
    x = law.sample(40_000, torch.Generator().manual_seed(0))
    assert (x.mean(dim=0) - mean).abs().max() < 5 * covariance.diag().max().sqrt() / math.sqrt(40_000)
    assert (x.T.cov() - covariance).abs().max() < 0.05 * covariance.diag().max()


def test_the_sampler_ends_in_the_components_by_their_weights() -> None:
    law = mixture(3, 16, 2, spread=2.0)
    n = 1000
    x = generate_samples(law, alpha=0.1, beta=0.3, n_samples=n, shape=(1, 4, 4))
    shares = law.responsibilities(x, torch.full((n,), 0.03)).mean(dim=0)
    spread = (law.weights * (1 - law.weights) / n).sqrt()
    assert ((shares - law.weights).abs() < 4 * spread).all()


ONE, EYE = torch.ones(1), torch.eye(3)[None, :, :2]
GOOD = {"weights": ONE, "means": torch.zeros(1, 3), "bases": EYE, "variances": torch.ones(1, 2), "stds": ONE}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": ONE / 2}, "weights: their sum is 0.5, but it must be 1"),
        ({"stds": -ONE}, "stds: the least is -1, but they must be at least 0"),
        ({"variances": -torch.ones(1, 2)}, "variances: the least is -1, but they must be at least 0"),
        ({"variances": torch.ones(1, 3)}, r"variances: shape \(1, 3\), but means \(1, 3\) need \(1, 2\)"),
        ({"bases": EYE * 2}, "bases: their columns are not orthonormal"),
        ({"bases": EYE[0]}, r"means, bases: 2 and 2 dimensions, but they must be \(K, d\), \(K, d, R\)"),
        ({}, "x: images of 4 values, but the distribution is of 3"),
    ],
)
def test_bad_mixtures_and_images_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(**GOOD | changes)(torch.zeros(1, 1, 2, 2), torch.ones(1))
