"""The best linear predictor against closed forms, also where there are few images."""

from dataclasses import replace

import pytest
import torch
from arrays import seeded

from diffusion_core import load
from diffusion_core.data.dataset import Images, Values
from experiments.user.noisy_batch import linear_errors


@pytest.mark.parametrize("shape", [(3000, 1, 6, 6), (2000, 1, 34, 34)])
def test_the_linear_error_is_that_of_least_squares(shape: tuple[int, ...]):
    """On Gaussian images with a few wide directions, against the formula with the true covariance."""
    generator = seeded()
    dim = shape[2] * shape[3]
    basis = torch.linalg.qr(torch.randn(dim, 5, generator=generator)).Q * torch.tensor([4.0, 3, 3, 2, 1])
    x0 = (torch.randn(shape[0], 5, generator=generator) @ basis.T).view(shape) + 0.1 * torch.randn(
        shape, generator=generator
    )
    images = Values("mine", x0, torch.zeros(shape[0]), 0.0, 1.0)
    wide = torch.tensor([16.0, 9, 9, 4, 1]) + 0.01
    for sigma, error in zip((0.05, 0.5, 5.0), linear_errors(images, (0.05, 0.5, 5.0)), strict=True):
        exact = ((wide / (wide + sigma**2)).sum() + (dim - 5) * 0.01 / (0.01 + sigma**2)).item() / dim
        assert error == pytest.approx(exact, rel=0.05)


def test_few_images_do_not_make_the_linear_error_small():
    """An exact predictor for the population, which a good network may be, is not worse than 1.5 times this error."""
    whole = load("mnist5k")
    x0 = whole.standardised().flatten(1).double()
    variances = torch.linalg.eigvalsh(x0.T.cov(correction=0)).clamp(min=0)
    sigmas = (0.03, 0.14, 0.65, 3.0)
    truth = [(variances / (variances + sigma**2)).sum().item() / x0.shape[1] for sigma in sigmas]
    for n in (1, 2, 20, 100, 300, 1000):
        few = replace(whole, pixels=whole.pixels[:n], labels=whole.labels[:n])
        for exact, error in zip(truth, linear_errors(few, sigmas), strict=True):
            assert exact < 1.4 * error


def test_images_that_are_all_alike_are_predicted_exactly():
    pixels = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).expand(40, 1, 4, 4)
    assert linear_errors(Images("alike", pixels, torch.zeros(40), 7.5, 4.6), (0.1, 1.0)) == [0.0, 0.0]
