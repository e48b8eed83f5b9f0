"""Training speed: our loop and the plain loop of most tutorials, with one network and batch; their rounds alternate."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bench.loops import OURS
from bench.measure import SHAPE, Job, network
from diffusion_core.noise import LogNormal
from diffusion_core.tensors import computing_in
from diffusion_core.training import train

BATCH = 64
IN_ONE = 4  # steps per timed round


def plain(model: nn.Module, images: Tensor, precision: str) -> Iterator[Tensor]:
    """Yields the loss of each step: a DataLoader over single images, AdamW, EMA parameter by parameter."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, (0.9, 0.99), weight_decay=0.0)
    averages = [weight.detach().clone() for weight in model.parameters()]
    loader = DataLoader(TensorDataset(images.cpu()), BATCH, shuffle=True, drop_last=True)
    for _ in itertools.count():
        for (x0,) in loader:
            x0 = x0.to(images.device)
            sigma = torch.exp(-0.507 + 1.2 * torch.randn(len(x0), device=x0.device))
            eps = torch.randn_like(x0)
            with computing_in(precision, images.device.type):
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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("who", ["ours", "plain loop with a DataLoader"])
def bench_training(clock: Callable[..., Tensor], who: str, precision: str, device: str) -> None:
    """Forward, backward, AdamW and EMA. Each image has one grey value, so the loss must fall."""

    def prepare(who: str, precision: str, device: str) -> Job:
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(1024, 1, 1, 1, generator=generator).expand(1024, *SHAPE).contiguous().to(device)
        model = network(device).train()
        ours = train(model, images, LogNormal(), n_images=10**9, batch_size=BATCH, precision=precision)
        losses = (step.loss for step in ours) if who == "ours" else plain(model, images, precision)
        steps = torch.stack(list(itertools.islice(losses, 20)))  # the loss falls
        assert steps[-5:].mean() < steps[:5].mean()
        notes = {"suite": "training", "mode": precision, "who": who, "package": OURS if who == "ours" else "torch"}
        return Job(lambda _: torch.stack(list(itertools.islice(losses, IN_ONE))), IN_ONE * BATCH, device,
                   notes | {"network": "small", "nfe": IN_ONE, "batch": BATCH})  # fmt: skip

    assert torch.isfinite(clock(prepare, rounds=5)).all()
