"""The training stage: config in, averaged weights out. It returns at once if they exist.

models/ID/      model.safetensors, config.json, losses.csv, meta.json
"""

import csv
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffusion_core.training import Step
from experiments.config.denoisers import ModelConfig
from experiments.config.identity import canonical, identity
from experiments.run.hardware import use_threads
from experiments.stages.common import Advance, StoreLoader, images_of, write_meta
from experiments.store.checksums import write_json
from experiments.store.store import Store

FIRST_STEPS = 2  # of which numbers are kept for the spot check
LOGGED_LOSSES = 200  # points of a loss curve; each is the mean of its stretch


def train_stage(config: ModelConfig, store: Store, data_root: Path | None, advance: Advance) -> str:
    """The identity of a network. Trains it, and stores its averaged weights and its losses."""
    name = identity(config)
    if store.has("models", name):
        return name
    store.check_writable()
    use_threads(config.machine.threads)
    model, steps = config.training(StoreLoader(store, data_root, config.machine.device))
    seen: list[int] = []
    losses: list[Tensor] = []
    start = time.perf_counter()
    first, numbers = beginning(model, steps)
    for step in chain(first, steps):
        advance(step.images_seen - (seen[-1] if seen else 0))
        seen.append(step.images_seen)
        losses.append(step.loss)
    curve = thinned(seen, torch.stack(losses).tolist())
    seconds = time.perf_counter() - start
    channels = images_of(config.data, data_root).shape[0]
    with store.writing("models", name) as folder:
        save_file(
            {key: value.contiguous().cpu() for key, value in model.state_dict().items()}, folder / "model.safetensors"
        )
        with (folder / "losses.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("images_seen", "loss"), *curve])
        write_json(folder / "config.json", canonical(config) | {"channels": channels})
        write_meta(folder, train_seconds=seconds, train_loss=curve[-1][1], **numbers)
    return name


def beginning(model: nn.Module, steps: Iterator[Step]) -> tuple[list[Step], dict[str, list[float]]]:
    """The first steps of a training, and numbers that show a change of it.

    The losses hardly depend on the network, whose output layer starts at 0. The gradients depend on its other layers
    and their first weights, and how far the weights move depends on the optimiser and the learning rate.
    """
    weights = [weight.detach().clone() for weight in model.parameters()]
    first = list(islice(steps, FIRST_STEPS))
    with torch.no_grad():
        moved = [(now - before).norm() for now, before in zip(model.parameters(), weights, strict=True)]
    return first, {
        "first_losses": [step.loss.item() for step in first],
        "first_gradients": [step.gradient.item() for step in first],
        "first_moves": torch.stack(moved).tolist(),
    }


def thinned(seen: list[int], losses: list[float]) -> list[tuple[int, float]]:
    """At most LOGGED_LOSSES points (images seen, mean loss since the previous point)."""
    stride = -(-len(losses) // LOGGED_LOSSES)
    starts = range(0, len(losses), stride)
    stretches = [losses[start : start + stride] for start in starts]
    ends = [seen[min(start + stride, len(seen)) - 1] for start in starts]
    return [(end, sum(stretch) / len(stretch)) for end, stretch in zip(ends, stretches, strict=True)]
