"""The parameterisations: closed forms, float64, what they amplify, and the v prediction."""

from collections.abc import Callable

import pytest
import torch
from arrays import column, normal
from random_weights import filled
from torch import Tensor
from torch.testing import assert_close

from diffusion_core.exact.tied_mixture import TiedMixture
from diffusion_core.networks import PARAMETERISATIONS, build
from diffusion_core.networks.parameterisations import MixtureInput, Preconditioned
from diffusion_core.training import WEIGHTINGS

TARGETS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # the F that gives the true noise
    "preconditioned": lambda x0, noise, sigma: (x0 * sigma - noise) / (1 + sigma**2).sqrt(),
    "eps": lambda x0, noise, sigma: noise,
    "x0": lambda x0, noise, sigma: x0,
}
TARGETS["mixture-input"] = TARGETS["preconditioned"]  # without `fit` the mixture is N(0, I)
AMPLIFIED: dict[str, Callable[[float], float]] = {  # the error of eps over that of F
    "preconditioned": lambda sigma: (1 + sigma**2) ** -0.5,
    "eps": lambda sigma: 1.0,
    "x0": lambda sigma: 1 / sigma,
}
AMPLIFIED["mixture-input"] = AMPLIFIED["preconditioned"]


def noisy(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x0 and noise (9, 1, 32, 32) of unit variance, sigma (9,) from 0.01 to 100, and x."""
    x0, noise = normal(2, 9, 1, 32, 32, seed=3).to(dtype)
    sigma = torch.logspace(-2, 2, 9, dtype=dtype)
    return x0, noise, sigma, x0 + column(sigma) * noise


@pytest.mark.parametrize("name", PARAMETERISATIONS)
def test_a_trunk_sees_unit_variance_and_its_target_gives_the_true_noise_and_its_error_the_table(name: str):
    x0, noise, sigma, x = noisy()
    target, seen = TARGETS[name](x0, noise, column(sigma)), list[Tensor]()

    def eps(off: float) -> Tensor:
        def trunk(inputs: Tensor, condition: Tensor) -> Tensor:
            seen.extend((inputs, condition))
            return target + off

        return PARAMETERISATIONS[name](trunk).double()(x, sigma)

    assert_close(eps(0.0), noise, rtol=1e-10, atol=1e-10)
    by_hand = torch.stack([(a + s * b) / (1 + s * s) ** 0.5 for a, b, s in zip(x0, noise, sigma, strict=True)])
    assert_close(seen[0][:, :1], by_hand, rtol=1e-12, atol=1e-12)
    assert_close(seen[1], sigma.log() / 4, rtol=1e-12, atol=1e-12)
    errors = (eps(0.01) - noise).abs().mean(dim=(1, 2, 3))
    assert errors.tolist() == pytest.approx([0.01 * AMPLIFIED[name](s) for s in sigma.tolist()], rel=1e-6)


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 1e3])
def test_preconditioning_does_not_cancel(sigma: float):
    """Against the denoiser D(x) of Karras et al. (Eq. 7 and Table 1) in float64, where cancellation is harmless."""
    x = normal(3, 1, 32, 32, seed=1) * (1 + sigma**2) ** 0.5

    def trunk(inputs: Tensor, condition: Tensor) -> Tensor:
        return torch.tanh(inputs) * (2 + column(condition))

    wide, level = x.double(), torch.tensor(sigma, dtype=torch.float64)
    out = torch.tanh(wide / (1 + level**2).sqrt()) * (2 + level.log() / 4)
    denoised = wide / (1 + level**2) + level / (1 + level**2).sqrt() * out
    eps = Preconditioned(trunk)(x, torch.full((3,), sigma))
    assert_close(eps.double(), (wide - denoised) / level, rtol=1e-5, atol=1e-6)


def test_v_of_the_preconditioned_network_is_minus_what_its_trunk_returns():
    """Salimans & Ho 2022, arXiv 2202.00512: v = alpha eps - sigma_vp x0, read off z = alpha x0 + sigma_vp eps.

    A variance-preserving z is alpha x with alpha = 1 / sqrt(1 + sigma^2) and sigma_vp = sigma alpha.
    """
    x0, noise, sigma, _ = noisy()
    model = filled("small").double()
    alpha = (1 + column(sigma) ** 2).rsqrt()
    sigma_vp = column(sigma) * alpha
    z = alpha * x0 + sigma_vp * noise
    with torch.no_grad():
        eps = model(z / alpha, sigma)
        out = model.trunk(z, sigma.log() / 4)
    v = alpha * eps - sigma_vp * (z - sigma_vp * eps) / alpha
    assert out.std() > 0.1
    assert_close(v, -out, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PARAMETERISATIONS)
def test_karras_weight_is_the_unit_weight_on_v(name: str):
    x0, noise, sigma, x = noisy()
    with torch.no_grad():
        eps = filled("small", 1, name).double()(x, sigma)
    angle = column(sigma).atan()  # v = cos(angle) noise - sin(angle) x0
    estimate = angle.cos() * eps - angle.sin() * (x0 + column(sigma) * (noise - eps))
    error = estimate - (angle.cos() * noise - angle.sin() * x0)
    weighted = WEIGHTINGS["karras"](sigma) * (eps - noise).square().mean(dim=(1, 2, 3))
    assert_close(weighted, error.square().mean(dim=(1, 2, 3)), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", PARAMETERISATIONS)
def test_eps_of_a_bf16_trunk_is_combined_in_float32(name: str):
    _, _, sigma, x = noisy(torch.float32)

    def eps(dtype: torch.dtype) -> Tensor:
        out = torch.tensor(0.3, dtype=torch.bfloat16).to(dtype)
        model = PARAMETERISATIONS[name](lambda inputs, condition: out.expand_as(inputs[:, :1]))  # type: ignore[arg-type]
        return model(x, sigma)

    narrow = eps(torch.bfloat16)
    assert narrow.dtype == torch.float32 and torch.equal(narrow, eps(torch.float32))


@pytest.mark.parametrize("name, channels, side", [("small", 1, 32), ("paper", 3, 16), ("paper", 1, 16)])
def test_mixture_input_keeps_its_mixture_with_its_weights(name: str, channels: int, side: int):
    x0 = normal(40, channels, side, side, seed=2).cumsum(dim=3) / 4
    sigma = torch.logspace(-2, 2, 9)
    x = x0[:9] + column(sigma)
    model, twin = (build(name, channels, "mixture-input") for _ in range(2))
    model.fit(x0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
        twin.trunk.load_state_dict(model.trunk.state_dict())
        eps = model(x, sigma)
        assert eps.shape == x.shape
        if side == 32:
            assert not torch.allclose(twin(x, sigma), eps, atol=1e-3)
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(x, sigma), eps)


def test_mixture_input_shows_the_trunk_what_the_mixture_makes_of_the_image():
    x0, _, sigma, x = noisy(torch.float32)
    seen: list[Tensor] = []

    def trunk(inputs: Tensor, condition: Tensor) -> Tensor:
        seen.append(inputs)
        return inputs[:, :1]

    model = MixtureInput(trunk)  # type: ignore[arg-type]
    model.fit(x0)
    model(x, sigma)
    denoised = x - column(sigma) * TiedMixture.fit(x0)(x, sigma)
    assert_close(seen[0][:, 1:], denoised, rtol=0, atol=1e-4)
