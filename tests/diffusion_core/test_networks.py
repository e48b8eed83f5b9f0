"""The model contract and the preconditioning: closed forms, float64, and the v prediction."""

import pytest
import torch
from torch import Tensor, nn

from diffusion_core.networks import NAMES, Preconditioned, build


def filled(name: str, channels: int = 1) -> nn.Module:
    """The named network with every weight random, so that its trunk says something."""
    model = build(name, channels)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model


def inputs(n: int, channels: int = 1, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sigma = torch.logspace(-2, 2, n)
    return torch.randn(n, channels, 32, 32, generator=generator) * sigma.view(-1, 1, 1, 1), sigma


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_untrained_network_is_the_exact_denoiser_of_a_unit_gaussian(name: str, channels: int) -> None:
    x, sigma = inputs(4, channels)
    eps = build(name, channels)(x, sigma)
    by_hand = torch.stack([image * s / (s * s + 1) for image, s in zip(x.double(), sigma.double(), strict=True)])
    assert eps.dtype == torch.float32
    torch.testing.assert_close(eps.double(), by_hand, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_each_image_is_denoised_by_itself_at_its_own_sigma(name: str) -> None:
    model = filled(name)
    x, sigma = inputs(3)
    with torch.no_grad():
        together = model(x, sigma)
        alone = torch.cat([model(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
        other_sigma = model(x, sigma * 1.1)
    assert together.shape == x.shape
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert ((other_sigma - together).abs().amax(dim=(1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = filled(name)
    model(*inputs(3)).square().sum().backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 1e3])
def test_preconditioning_does_not_cancel(sigma: float) -> None:
    """Against the denoiser D(x) of Karras et al. (Eq. 7 and Table 1) in float64, where cancellation is harmless."""
    x, _ = inputs(3)
    x = x / x.std(dim=(1, 2, 3), keepdim=True) * (1 + sigma**2) ** 0.5

    def trunk(inputs: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return torch.tanh(inputs) * (2 + condition.view(-1, 1, 1, 1))

    wide, level = x.double(), torch.tensor(sigma, dtype=torch.float64)
    out = torch.tanh(wide / (1 + level**2).sqrt()) * (2 + level.log() / 4)
    denoised = wide / (1 + level**2) + level / (1 + level**2).sqrt() * out
    eps = Preconditioned(trunk)(x, torch.full((3,), sigma))
    torch.testing.assert_close(eps.double(), (wide - denoised) / level, rtol=1e-5, atol=1e-6)


def test_trunk_that_returns_minus_v_gives_the_true_noise() -> None:
    x0, noise = torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    sigma = torch.logspace(-2, 2, 5).view(-1, 1, 1, 1)
    angle = sigma.atan()  # Salimans & Ho 2022, arXiv 2202.00512: v = cos(angle) noise - sin(angle) x0
    v = angle.cos() * noise - angle.sin() * x0
    eps = Preconditioned(lambda inputs, condition: -v)(x0 + sigma * noise, sigma.flatten())
    torch.testing.assert_close(eps, noise, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_to_bf16_changes_little_and_returns_float32(name: str) -> None:
    model = filled(name)
    x, sigma = inputs(8)
    with torch.no_grad():
        wide = model(x, sigma)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = model(x, sigma)
    assert narrow.dtype == torch.float32
    error = ((narrow - wide).square().sum() / wide.square().sum()).sqrt()
    assert 0 < error < 0.02


def test_eps_of_a_bf16_trunk_is_combined_in_float32() -> None:
    x, sigma = inputs(4)
    eps = Preconditioned(lambda inputs, condition: torch.full_like(inputs, 0.3, dtype=torch.bfloat16))(x, sigma)
    out = torch.tensor(0.3, dtype=torch.bfloat16).double()
    level = sigma.double().view(-1, 1, 1, 1)
    by_hand = x * level / (1 + level**2) - out / (1 + level**2).sqrt()
    torch.testing.assert_close(eps.double(), by_hand, rtol=1e-5, atol=1e-6)


def test_unknown_network_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"network='big': unknown network; the names are small"):
        build("big")
