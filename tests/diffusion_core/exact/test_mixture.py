"""The mixture's denoiser against autograd and dense covariances; and the fit."""

import copy
import math
from typing import Any

import pytest
import torch
from small_mixture import mixture

from diffusion_core.exact import Empirical, Mixture, fit_mixture
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
    ("make", "changes", "message"),
    [
        (Mixture, {"weights": ONE / 2}, "weights: their sum is 0.5, but it must be 1"),
        (Mixture, {"stds": -ONE}, "stds: the least is -1, but they must be at least 0"),
        (Mixture, {"variances": -torch.ones(1, 2)}, "variances: the least is -1, but they must be at least 0"),
        (Mixture, {"variances": torch.ones(1, 3)}, r"variances: shape \(1, 3\), but means \(1, 3\) need \(1, 2\)"),
        (Mixture, {"bases": EYE * 2}, "bases: their columns are not orthonormal"),
        (Mixture, {"bases": EYE[0]}, r"means, bases: 2 and 2 dimensions, but they must be \(K, d\), \(K, d, R\)"),
        (fit_mixture, {"n_components": 5}, "n_components=5: it must be from 1 to the number of images, 4"),
        (fit_mixture, {"rank": 4}, "rank=4: it must be from 1 to 3, below the number of values"),
        (fit_mixture, {"min_std": 0.0}, "min_std=0.0: it must be above 0"),
        (fit_mixture, {"em_steps": -1}, "em_steps=-1: it must be at least 0"),
        (Mixture, {}, "x: images of 4 values, but the distribution is of 3"),
    ],
)
def test_bad_mixtures_fits_and_images_are_named(make: Any, changes: dict[str, Any], message: str) -> None:
    good = GOOD if make is Mixture else {"x0": torch.zeros(4, 1, 2, 2), "n_components": 2, "rank": 1}
    with pytest.raises(ValueError, match=message):
        make(**good | changes)(torch.zeros(1, 1, 2, 2), torch.ones(1))


def fitted_data() -> tuple[Mixture, torch.Tensor]:
    law = mixture(3, 12, 2, spread=2.0)
    return law, law.sample(3000, torch.Generator().manual_seed(3)).float()


def test_the_fit_finds_the_law_that_drew_the_data() -> None:
    law, x0 = fitted_data()
    fresh, zeros = law.sample(3000, torch.Generator().manual_seed(4)), torch.zeros(3000)
    found = fit_mixture(x0, 3, 2, em_steps=20)
    gap = (law.log_density(fresh, zeros) - found.log_density(fresh, zeros)).mean().item()
    assert -0.01 < gap < 0.1  # half a nat a parameter, of about 120, over 3,000 images is 0.02
    assert sorted(found.weights.tolist()) == pytest.approx(sorted(law.weights.tolist()), abs=0.03)


def test_the_fit_keeps_mean_and_total_variance_and_em_climbs() -> None:
    _, x0 = fitted_data()
    fits = [fit_mixture(x0, 4, 2, em_steps=steps, min_std=1e-6) for steps in (0, 1, 2, 4)]
    heights = [fit.log_density(x0, torch.zeros(3000)).mean().item() for fit in fits]
    assert heights == sorted(heights) and heights[-1] > heights[0]
    mean, covariance = fits[-1].moments()
    torch.testing.assert_close(mean, x0.double().mean(dim=0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(covariance.trace(), x0.double().var(dim=0, correction=0).sum(), rtol=1e-9, atol=0)


def test_the_fit_is_decided_by_its_seed() -> None:
    _, x0 = fitted_data()
    first, again, other = (fit_mixture(x0, 5, 2, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["means"], other["means"])
    bases = first["bases"]  # the sign of an eigenvector is convention, and draws depend on it
    assert (bases.amax(dim=1) == bases.abs().amax(dim=1)).all()


def test_the_fit_survives_few_images_constant_values_and_copies() -> None:
    """Clusters smaller than the rank, and more clusters than different images."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(-2, 3, (4, 1, 3, 4), generator=generator).float()  # so that copies are 0 apart, unrounded
    x0 = whole.repeat(3, 1, 1, 1)
    x0[:, :, 0] = -1
    found = fit_mixture(x0, 6, 5, min_std=0.05)
    assert all(tensor.isfinite().all() for tensor in found.state_dict().values())
    assert (found.stds == 0.05).all()
    assert found(x0, torch.full((12,), 0.1)).isfinite().all()
