"""Speed of the sampling loop, with a network that costs nothing (the loop alone) and with `small`.

Each benchmark reports nfe, batch, device, precision and microseconds per network evaluation in `extra_info`.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from diffusion_core.block_noise import BlockNoise
from diffusion_core.networks import build
from diffusion_core.samplers import Steps, alpha_beta_steps, eta_steps, sample
from diffusion_core.schedules import geometric

SAMPLERS = {
    "ode": eta_steps(geometric(66), 0.0),
    "eta-1": eta_steps(geometric(66), 1.0),
    "alpha-beta-0.3": alpha_beta_steps(0.1, 0.3),
}


def free_network(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Keeps the model contract at no cost."""
    return x


@pytest.fixture
def time_sampling(benchmark: Any, device: str, synchronise: Callable[[], None]) -> Callable[..., None]:
    """Times one batch from noise to samples, and checks what came out."""
    shape = (1, 32, 32)

    def time(model: Any, steps: Steps, *, batch: int, precision: str) -> None:
        def run() -> torch.Tensor:
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                out = sample(
                    model, steps.sigmas, steps.run, n_samples=batch, shape=shape, batch_size=batch, device=device
                )
            synchronise()
            return out

        out = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
        nfe = len(steps.alphas)
        assert out.shape == (batch, *shape) and torch.isfinite(out).all()
        benchmark.extra_info |= {
            "nfe": nfe,
            "batch": batch,
            "device": device,
            "precision": precision,
            "microseconds_per_evaluation": benchmark.stats.stats.median / nfe * 1e6,
            "images_per_second": batch / benchmark.stats.stats.median,
        }

    return time


@pytest.mark.parametrize("name", SAMPLERS)
def bench_loop_alone(time_sampling: Callable[..., None], name: str) -> None:
    """What the loop costs besides the network; `time_sampling` asserts what comes out."""
    time_sampling(free_network, SAMPLERS[name], batch=64, precision="fp32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["ode", "eta-1"])
def bench_loop_small(time_sampling: Callable[..., None], name: str, precision: str, device: str) -> None:
    """The loop with the network for CPUs, on a ladder of 8 steps; `time_sampling` asserts what comes out."""
    eta = {"ode": 0.0, "eta-1": 1.0}[name]
    model = build("small").to(device).eval()
    time_sampling(model, eta_steps(geometric(8), eta), batch=256, precision=precision)


def bench_noise(benchmark: Any, device: str, synchronise: Callable[[], None]) -> None:
    """One draw of block noise for 64 images of 32x32."""
    noise = BlockNoise(0, 0, 64, (1, 32, 32), torch.device(device))

    def run() -> torch.Tensor:
        out = noise()
        synchronise()
        return out

    out = benchmark(run)
    assert out.shape == (64, 1, 32, 32) and abs(out.std().item() - 1) < 0.05


def bench_randn(benchmark: Any, device: str, synchronise: Callable[[], None]) -> None:
    """What a plain `torch.randn` of the same size costs: the price that block noise should not exceed."""

    def run() -> torch.Tensor:
        out = torch.randn(64, 1, 32, 32, device=device)
        synchronise()
        return out

    assert benchmark(run).shape == (64, 1, 32, 32)
