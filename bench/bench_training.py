"""Training speed: our loop in fp32 and bf16, and the plain fp32 loop of most tutorials, with one network and batch."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bench.measure import SHAPE, TRAINING_BATCH, flop_per_image, machine_choice, network
from diffusion_core.noise import LogNormal
from diffusion_core.training import train

BATCH = TRAINING_BATCH
ROUNDS = 5
IN_ONE = 4  # steps per timed round


def plain(model: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """Yields the loss of each step: fp32, a DataLoader over single images, AdamW, EMA parameter by parameter."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, (0.9, 0.99), weight_decay=0.0)
    averages = [weight.detach().clone() for weight in model.parameters()]
    loader = DataLoader(TensorDataset(images.cpu()), BATCH, shuffle=True, drop_last=True)
    for _ in itertools.count():
        for (x0,) in loader:
            x0 = x0.to(images.device)
            sigma = torch.exp(-0.507 + 1.2 * torch.randn(len(x0), device=x0.device))
            eps = torch.randn_like(x0)
            estimate = model(x0 + sigma.view(-1, 1, 1, 1) * eps, sigma)
            loss = ((1 + sigma**2) * (estimate - eps).square().mean(dim=(1, 2, 3))).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                for average, weight in zip(averages, model.parameters(), strict=True):
                    average.mul_(0.999).add_(weight, alpha=0.001)
            yield loss.detach()


@pytest.mark.parametrize("who", ["ours, bf16", "ours, fp32", "ours by default", "plain fp32 loop with a DataLoader"])
def bench_training(benchmark: Any, clock: Callable[..., Any], who: str, device: str) -> None:
    """Forward, backward, AdamW and EMA. Each image has one grey value, so the loss must fall."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1024, 1, 1, 1, generator=generator).expand(1024, *SHAPE).contiguous().to(device)
    model = network(device).train()
    default = who == "ours by default"
    precision = "bf16" if who == "ours, bf16" else "fp32"
    if default:
        precision = machine_choice(device).training.precision
    ours = train(model, images, LogNormal(), n_images=10**9, batch_size=BATCH, precision=precision)
    losses = plain(model, images) if who.startswith("plain") else (step.loss for step in ours)
    first = torch.stack(list(itertools.islice(losses, 5))).mean()
    list(itertools.islice(losses, 20))  # warm-up: the loss falls
    last = clock(
        lambda: torch.stack(list(itertools.islice(losses, IN_ONE))).mean(),
        rounds=ROUNDS, warmup=0, suite="training", who=who, ours="ours" in who, default=default,
        precision=precision, batch=BATCH, n_images=IN_ONE * BATCH, nfe=1,
    )  # fmt: skip
    assert torch.isfinite(last) and last < first
    if benchmark.disabled:
        return
    rate = 3 * flop_per_image(device) * benchmark.extra_info["images_per_second"]  # backward costs two forward passes
    benchmark.extra_info["flop_per_second"] = rate
