"""Sampling time as a function of the batch size, the number of steps and the number of samples."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.measure import SHAPE, network
from diffusion_core.samplers import Euler, sample
from diffusion_core.schedules import geometric

CASES = {  # what varies -> (batch, n_steps, n_samples)
    "batch": [(batch, 2, 512) for batch in (16, 64, 128, 256, 512)],
    "steps": [(64, n_steps, 64) for n_steps in (4, 16, 64)],
    "samples": [(128, 4, n_samples) for n_samples in (128, 256, 512)],
}


@pytest.mark.parametrize(
    ("what", "batch", "n_steps", "n_samples"),
    [(what, *case) for what, cases in CASES.items() for case in cases],
    ids=lambda value: str(value),
)
def bench_scaling(clock: Callable[..., Any], what: str, batch: int, n_steps: int, n_samples: int, device: str) -> None:
    model = network(device)

    def run() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            return sample(
                model, geometric(n_steps), Euler(1.0), n_samples=n_samples, shape=SHAPE, batch_size=batch, device=device
            )

    x = clock(
        run, rounds=3, suite=f"scaling: {what}", who="ours, eta 1, bf16", ours=True,
        precision="bf16", batch=batch, n_images=n_samples, nfe=n_steps,
    )  # fmt: skip
    assert x.shape == (n_samples, *SHAPE) and torch.isfinite(x).all()
