"""Time of a sampling loop without the network: our loop and other projects' loops, with a network that costs nothing.

The network returns ones, so the end of every loop is known: x moves by the sum of the steps and keeps its noise.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from bench.measure import SHAPE, Free
from bench.peers import PEERS, End, Peer
from diffusion_core.samplers import Accelerated, AlphaBeta, DPMpp2M, Euler, Heun, Sampler, sample
from diffusion_core.samplers.dialects import alpha_beta
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import alpha_beta_ladder, geometric

BATCH, N_STEPS = 64, 66
LADDER = geometric(N_STEPS)
EULERS: dict[str, tuple[tuple[float, ...], Euler | AlphaBeta]] = {
    "eta 0": (LADDER, Euler(0.0)),
    "eta 1": (LADDER, Euler(1.0)),
    "alpha 0.1, beta 0.3": (alpha_beta_ladder(0.1, 0.3), AlphaBeta(0.1, 0.3)),
}
SOLVERS: dict[str, Sampler] = {"DPM++ 2M": DPMpp2M(), "Heun": Heun(), "accelerated": Accelerated()}


def check(x: torch.Tensor, end: End) -> None:
    """Asserts the mean and std of x. With 65,536 pixels their standard errors are 0.4 % and 0.3 % of the std."""
    assert x.shape == (BATCH, *SHAPE)
    assert x.mean().item() == pytest.approx(end.shift, abs=0.03 * end.std)
    assert x.std().item() == pytest.approx(end.std, rel=0.03)


def run_ours(sigmas: tuple[float, ...], sampler: Sampler, device: str) -> tuple[Callable[[], torch.Tensor], Free]:
    model = Free((BATCH, *SHAPE), device)
    return lambda: sample(model, sigmas, sampler, n_samples=BATCH, shape=SHAPE, batch_size=BATCH, device=device), model


@pytest.mark.parametrize("name", EULERS)
def bench_loop_alone(clock: Callable[..., Any], name: str, device: str) -> None:
    """Our loop: the ODE, DDPM, and the original rule."""
    (sigmas, sampler), rounds = EULERS[name], 20
    run, model = run_ours(sigmas, sampler, device)
    nfe = sampler.planned_nfe(sigmas)
    x = clock(run, rounds=rounds, suite="loop", ours=True, who=f"ours, {name}", batch=BATCH, n_images=BATCH, nfe=nfe)
    steps = [
        (sigma, *((0.1, 0.3) if isinstance(sampler, AlphaBeta) else alpha_beta(sigma, sigma_next, sampler.eta)))
        for sigma, sigma_next in pairwise(sigmas)
    ]
    shift = -sum(alpha * sigma for sigma, alpha, _ in steps)
    variance = sigmas[0] ** 2 + sum((beta * sigma) ** 2 for sigma, _, beta in steps)
    check(x, End(shift, variance**0.5))
    assert model.calls == (rounds + 1) * nfe


@pytest.mark.parametrize("name", SOLVERS)
def bench_loop_of_solvers(clock: Callable[..., Any], name: str, device: str) -> None:
    """Our other samplers that add no noise. All are exact for a constant slope."""
    sampler = SOLVERS[name]
    run, _ = run_ours(LADDER, sampler, device)
    nfe = sampler.planned_nfe(LADDER)
    x = clock(run, rounds=20, suite="loop", ours=True, who=f"ours, {name}", batch=BATCH, n_images=BATCH, nfe=nfe)
    check(x, End(LADDER[-1] - LADDER[0], LADDER[0]))


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def bench_loop_of_peers(clock: Callable[..., Any], peer: Peer, device: str) -> None:
    """Loops of other projects."""
    if not peer.installed:
        pytest.skip(f"{peer.package} is not installed (extra `peers`)")
    shape, model, rounds = (BATCH, *SHAPE), Free((BATCH, *SHAPE), device), 10
    x = clock(
        lambda: peer.run(model, shape, N_STEPS, device),
        rounds=rounds, suite="loop", who=peer.name, batch=BATCH, n_images=BATCH, nfe=N_STEPS,
    )  # fmt: skip
    check(x, peer.end(N_STEPS))
    assert model.calls == (rounds + 1) * N_STEPS


@pytest.mark.parametrize("who", ["block noise", "torch.randn"])
def bench_noise(clock: Callable[..., Any], who: str, device: str) -> None:
    """One draw for a batch: block noise should cost what `torch.randn` costs."""
    noise = BlockNoise(0, 0, BATCH, SHAPE, torch.device(device))
    draw = {"block noise": noise, "torch.randn": lambda: torch.randn(BATCH, *SHAPE, device=device)}[who]
    x = clock(draw, rounds=200, suite="noise", who=who, ours=who == "block noise", batch=BATCH, n_images=BATCH, nfe=1)
    check(x, End(0.0, 1.0))
