"""Time of a sampling loop without the network: our loop and other projects' loops, with a network that costs nothing.

The network returns ones, so every right loop moves x by a known sum and keeps its noise.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch

from bench.measure import SHAPE, Clocked
from bench.peers import PEERS, Peer
from diffusion_core.samplers import Accelerated, AlphaBeta, DPMpp2M, Euler, Heun, Sampler, sample
from diffusion_core.samplers.dialects import alpha_beta
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import alpha_beta_schedule, geometric

BATCH = 64
N_STEPS = 66
SCHEDULE = geometric(N_STEPS)
OURS: dict[str, tuple[tuple[float, ...], Sampler, float]] = {  # schedule, sampler, eta
    "eta 0": (SCHEDULE, Euler(0.0), 0.0),
    "eta 1": (SCHEDULE, Euler(1.0), 1.0),
    "alpha 0.1, beta 0.3": (alpha_beta_schedule(0.1, 0.3), AlphaBeta(0.1, 0.3), 1.0),
    "DPM++ 2M": (SCHEDULE, DPMpp2M(), 0.0),
    "Heun": (SCHEDULE, Heun(), 0.0),
    "accelerated": (SCHEDULE, Accelerated(), 0.0),
}


def check(x: torch.Tensor, sigmas: Sequence[float], eta: float) -> None:
    """Asserts the mean and std of x at the end. With 65,536 pixels their standard errors are below 0.4 % of the std."""
    shift = 0.0
    variance = sigmas[0] ** 2
    for sigma, sigma_next in pairwise(sigmas):
        alpha, beta = alpha_beta(sigma, sigma_next, eta)
        shift -= alpha * sigma
        variance += (beta * sigma) ** 2
    assert x.shape == (BATCH, *SHAPE)
    assert x.mean().item() == pytest.approx(shift, abs=0.03 * variance**0.5)
    assert x.std().item() == pytest.approx(variance**0.5, rel=0.03)


@pytest.fixture
def model(device: str) -> Clocked:
    ones = torch.ones(BATCH, *SHAPE, device=device)
    return Clocked(lambda x, sigma: ones)


@pytest.mark.parametrize("name", OURS)
def bench_loop_alone(clock: Callable[..., Any], model: Clocked, name: str, device: str) -> None:
    """Our samplers. All are exact for a constant slope."""
    sigmas, sampler, eta = OURS[name]
    x = clock(
        lambda: sample(model, sigmas, sampler, n_samples=BATCH, shape=SHAPE, batch_size=BATCH, device=device),
        model=model, rounds=20, suite="loop", ours=True, who=f"ours, {name}", batch=BATCH, n_images=BATCH,
        nfe=sampler.planned_nfe(sigmas),
    )  # fmt: skip
    check(x, sigmas, eta)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def bench_loop_of_peers(clock: Callable[..., Any], model: Clocked, peer: Peer, device: str) -> None:
    pytest.importorskip(peer.package)
    x = clock(
        lambda: peer.run(model, (BATCH, *SHAPE), N_STEPS, device),
        model=model, rounds=10, suite="loop", who=peer.name, batch=BATCH, n_images=BATCH, nfe=N_STEPS,
    )  # fmt: skip
    check(x, peer.sigmas(N_STEPS), peer.eta)


@pytest.mark.parametrize("who", ["block noise", "torch.randn"])
def bench_noise(clock: Callable[..., Any], who: str, device: str) -> None:
    """One draw for a batch: block noise should cost what `torch.randn` costs."""
    noise = BlockNoise(0, range(BATCH), SHAPE, torch.device(device))
    draw = {"block noise": noise, "torch.randn": lambda: torch.randn(BATCH, *SHAPE, device=device)}[who]
    x = clock(draw, rounds=200, suite="noise", who=who, ours=who == "block noise", batch=BATCH, n_images=BATCH, nfe=1)
    check(x, (1.0,), 0.0)
