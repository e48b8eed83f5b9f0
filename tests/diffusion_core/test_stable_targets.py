"""Targets above a level are expectations over the images; below it, and at low noise, they are the noise itself."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from diffusion_core import training
from diffusion_core.exact import Empirical
from diffusion_core.training import StableTargets, train

N = 20


def images(n: int = N) -> Tensor:
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def batch(x0: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    return x0 + sigma.view(-1, 1, 1, 1) * eps, eps


def test_above_the_level_the_target_is_the_exact_denoiser_of_the_images() -> None:
    sigma = torch.tensor([0.5, 1.0, 3.0, 30.0])
    x, eps = batch(images()[:4], sigma)
    targets = StableTargets(images(), above=1.0)(x, sigma, eps, torch.arange(4))
    torch.testing.assert_close(targets[2:], Empirical(images())(x[2:], sigma[2:]))
    assert torch.equal(targets[:2], eps[:2])
    assert not torch.isclose(targets[2:], eps[2:]).all()


def test_of_many_images_those_that_are_visited_together_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """At low noise only the own image can have made x. So the target is the noise, if that image is in the block."""
    monkeypatch.setattr(training, "BLOCK", 8)
    targets, order = StableTargets(images(), above=0.01), torch.empty(0, dtype=torch.long)
    for _ in range(20):
        while len(order) < targets.ahead(3):
            order = torch.cat([order, torch.randperm(N)])
        sigma = torch.full((3,), 0.02)
        x, eps = batch(images()[order[:3]], sigma)
        torch.testing.assert_close(targets(x, sigma, eps, order), eps, rtol=1e-3, atol=1e-3)
        assert len(targets.exact.points) == 8
        order = order[3:]


def test_training_visits_the_same_images_and_levels_and_its_loss_falls() -> None:
    """The loss of the same network on the same x falls by the variance of the targets."""

    def losses(above: float) -> list[float]:
        model = torch.nn.Conv2d(1, 1, 1)
        torch.nn.init.zeros_(model.weight)
        torch.nn.init.zeros_(model.bias)  # type: ignore[arg-type]  # it has one
        denoise = type("Denoise", (torch.nn.Module,), {"forward": lambda self, x, sigma: self.inner(x)})()
        denoise.inner = model
        steps = train(denoise, images(), Fixed(), n_images=64, batch_size=8, lr=1e-12, stable_above=above)
        return [step.loss.item() for step in steps]

    plain, stable = losses(math.inf), losses(1.0)
    assert sum(stable) < 0.9 * sum(plain)


class Fixed:
    """All levels are 2."""

    name = "fixed"

    def sample(self, n: int, generator: torch.Generator, stratified: bool = False) -> Tensor:
        return torch.full((n,), 2.0)

    def log_density(self, log_sigma: Tensor) -> Tensor:
        return torch.zeros_like(log_sigma)


@pytest.mark.parametrize("above", [0.0, -1.0, math.nan])
def test_the_level_must_be_positive(above: float) -> None:
    with pytest.raises(ValueError, match="stable_above"):
        next(itertools.islice(train(torch.nn.Conv2d(1, 1, 1), images(), Fixed(), n_images=1, stable_above=above), 1))
