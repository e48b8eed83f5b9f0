"""The step that a CUDA graph would capture, run without a graph; with a card, the graph itself."""

import math

import pytest
import torch
from torch import Tensor

from bench.cuda_graph import Table, graphed_euler
from diffusion_core.exact.gaussian import GaussianDenoiser
from diffusion_core.samplers.euler import EulerWithin
from diffusion_core.samplers.sampling import Steps, eta_steps, euler
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules.sigma import geometric

SHAPE = (1, 4, 4)
WITHIN = EulerWithin(1.0, s_min=0.1, s_max=5.0).steps(geometric(12))  # some of its steps add noise, some do not
EXACT = GaussianDenoiser()


def start(device: str = "cpu") -> tuple[Tensor, BlockNoise]:
    noise = BlockNoise(3, 40, 50, SHAPE, torch.device(device))  # of two blocks
    return noise() * 30.0, noise


@pytest.mark.parametrize("steps", [eta_steps(geometric(12), 0.0), eta_steps(geometric(12), 1.0), WITHIN])
def test_table_steps_as_euler_does(steps: Steps) -> None:
    x, noise = start()
    expected = [x.clone() for x in euler(EXACT, x, steps, noise)]
    x, noise = start()
    table = Table(steps, x)
    for beta, there in zip(steps.betas, expected, strict=True):
        table.advance(EXACT, x, noise if beta > 0 else None)
        torch.testing.assert_close(x, there, rtol=1e-5, atol=1e-5)
    table.finish()


def test_table_names_the_step_of_a_model_that_fails() -> None:
    x, _ = start()
    table = Table(eta_steps(geometric(12), 0.0), x)
    for step in range(3):
        table.advance(lambda x, sigma, step=step: x * math.nan if step == 1 else x / 30, x, None)  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"NaN or infinity at step 1, sigma=16\.8"):
        table.finish()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card here")
@torch.no_grad()
def test_graph_draws_the_noise_that_euler_draws() -> None:
    x, noise = start("cuda")
    expected = [x.clone() for x in euler(EXACT, x, WITHIN, noise)]
    x, noise = start("cuda")
    found = graphed_euler(EXACT, x, WITHIN, noise)
    for there, here in zip(expected, found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5)
