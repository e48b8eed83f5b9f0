"""Speed of one forward pass and of one training step of `small`."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from diffusion_core.networks import build
from diffusion_core.noise import LogNormal
from diffusion_core.training import train

BATCH = 128


def note(benchmark: Any, device: str, precision: str) -> None:
    benchmark.extra_info |= {
        "batch": BATCH,
        "device": device,
        "precision": precision,
        "images_per_second": BATCH / benchmark.stats.stats.median,
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def bench_forward(benchmark: Any, precision: str, device: str, synchronise: Callable[[], None]) -> None:
    """eps = model(x, sigma) on one batch."""
    model = build("small").to(device).eval()
    x, sigma = torch.randn(BATCH, 1, 32, 32, device=device), torch.ones(BATCH, device=device)

    def run() -> torch.Tensor:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            eps: torch.Tensor = model(x, sigma)
        synchronise()
        return eps

    eps = benchmark.pedantic(run, rounds=10, warmup_rounds=2)
    assert eps.shape == x.shape and torch.isfinite(eps).all()
    note(benchmark, device, precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def bench_training_step(benchmark: Any, precision: str, device: str, synchronise: Callable[[], None]) -> None:
    """Forward, backward, AdamW and EMA on one batch."""
    images = torch.randn(4 * BATCH, 1, 32, 32, device=device)
    steps = train(
        build("small").to(device), images, LogNormal(), n_images=1000 * BATCH, batch_size=BATCH, precision=precision
    )

    def run() -> Any:
        step = next(steps)
        synchronise()
        return step

    last = benchmark.pedantic(run, rounds=10, warmup_rounds=2)
    assert last.step == 12 and torch.isfinite(last.loss)
    assert len(list(itertools.islice(steps, 1))) == 1  # the budget was not used up while timing
    note(benchmark, device, precision)
