"""The step that a CUDA graph would capture, run without a graph; with a card, the graph itself."""

import pytest
import torch

from bench.cuda_graph import GraphedEuler, Table
from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import Euler, follow, sample
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import geometric

SHAPE = (1, 4, 4)
LADDER = geometric(12)
EXACT = GaussianDenoiser()


def noise() -> BlockNoise:
    return BlockNoise(3, 40, 50, SHAPE, torch.device("cpu"))  # of two blocks


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_table_steps_as_euler_does(eta: float) -> None:
    draw = noise()
    expected = [x.clone() for x in follow(EXACT, Euler(eta), LADDER, draw() * 30.0, draw)]
    draw = noise()
    x = draw() * 30.0
    table, eps = Table(LADDER, eta, x), CheckedModel(EXACT)
    for noisy, there in zip(table.noisy, expected, strict=True):
        table.advance(eps, x, draw if noisy else None)
        torch.testing.assert_close(x, there, rtol=1e-5, atol=1e-5)


def test_it_is_euler_where_each_step_is_looked_at() -> None:
    found, expected = (
        list(follow(EXACT, s, LADDER, torch.ones(2, *SHAPE), noise()))[-1] for s in (GraphedEuler(), Euler())
    )
    assert torch.equal(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card here")
def test_graph_draws_the_noise_that_euler_draws() -> None:
    options = {"n_samples": 50, "first_sample": 40, "shape": SHAPE, "device": "cuda", "trajectory": True}
    there, here = (sample(EXACT, LADDER, sampler, **options) for sampler in (Euler(1.0), GraphedEuler(1.0)))
    torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5)
