"""Grain is found where features hardly see it, read in the unit of noise levels, and not found in real images."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from diffusion_core import load
from experiments.distances.texture import RealTexture, texture

N = 500
DRAWS = 20
IMAGES = load("mnist5k")


@cache
def real() -> RealTexture:
    return RealTexture.of(IMAGES.pixels, IMAGES.std)


def noisy(pixels: Tensor, sigma: float, seed: int) -> Tensor:
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed))
    return (pixels.float() + sigma * IMAGES.std * noise).round().clamp(0, 255).to(torch.uint8)


def grains(sigma: float, left: float, blur: float = 0) -> np.ndarray:
    """Of 500 real digits, 20 times drawn, blurred, with noise."""
    pixels = gaussian_blur(IMAGES.pixels.float(), 7, blur) if blur else IMAGES.pixels
    orders = (torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))[:N] for seed in range(DRAWS))
    return np.array([real().grain(noisy(pixels[order], sigma, seed), left) for seed, order in enumerate(orders)])


def test_texture_by_hand():
    image = torch.tensor([[0, 0, 10, 0, 9], [0, 16, 0, 10, 9], [9, 9, 9, 9, 9]], dtype=torch.uint8)
    flat = torch.full((3, 5), 7, dtype=torch.uint8)
    by_hand = (np.log1p(8 / 4) + np.log1p(10 / 4)) / 2  # two blocks; the odd row and column are left out
    assert texture(torch.stack([image, flat])[:, None]) == pytest.approx([by_hand, 0])
    assert texture(torch.stack([image, flat])[None]) == pytest.approx([by_hand / 2])  # the mean over channels


@pytest.mark.parametrize("left", [0.003, 0.03])
def test_real_images_with_the_noise_of_the_schedule_have_no_grain(left: float):
    values = grains(left, left)
    assert abs(values.mean()) < 0.0015 and abs(values).max() < 0.005
    assert values.std() == pytest.approx(real().grain_spread(N, left), rel=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("added, low, high", [
    ((0.02, 0), 0.018, 0.022),  # grain where the last step removes it all
    ((0.036, 0.03), 0.004, 0.008),  # .02 beside the schedule's .03: far beyond real images, too little to mention
    ((0.05, 0.03), 0.018, 0.022), ((0.1, 0.03), 0.066, 0.074),
    ((0.03, 0.03, 0.4), -0.002, 0.004), ((0.03, 0.03, 0.7), -0.012, -0.003),  # blur: a halo must not pass for grain
])  # fmt: skip
def test_grain_is_read_as_the_noise_that_was_added(added: tuple[float, ...], low: float, high: float):
    values = grains(*added)
    assert low < values.min() and values.max() < high


def test_samples_that_are_noise_or_flat_are_at_the_ends():
    noise = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert real().grain(noise, 0.03) == pytest.approx(0.97)
    assert real().grain(torch.zeros_like(noise), 0.03) == pytest.approx(-0.03)
    board = (torch.arange(64).view(1, 1, 8, 8) + torch.arange(8)[:, None]) % 2 * 255
    assert (np.diff(RealTexture.of(board.to(torch.uint8), 70).mean) >= 0).all()  # noise makes it smoother
