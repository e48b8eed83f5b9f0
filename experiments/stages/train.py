"""The training stage: config in, averaged weights out. It returns at once if they exist.

models/ID/      model.safetensors, config.json, losses.csv, meta.json
"""

import csv
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from experiments.config.denoisers import ModelConfig
from experiments.config.identity import canonical, identity
from experiments.stages.common import Advance, StoreLoader, images_of, write_meta
from experiments.stages.hardware import use_threads
from experiments.store.checksums import write_json
from experiments.store.store import Store

FIRST_LOSSES = 2  # kept for the spot check
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
    for step in steps:
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
        first = torch.stack(losses[:FIRST_LOSSES]).tolist()
        write_meta(folder, train_seconds=seconds, train_loss=curve[-1][1], first_losses=first)
    return name


def thinned(seen: list[int], losses: list[float]) -> list[tuple[int, float]]:
    """At most LOGGED_LOSSES points (images seen, mean loss since the previous point)."""
    stride = -(-len(losses) // LOGGED_LOSSES)
    starts = range(0, len(losses), stride)
    stretches = [losses[start : start + stride] for start in starts]
    ends = [seen[min(start + stride, len(seen)) - 1] for start in starts]
    return [(end, sum(stretch) / len(stretch)) for end, stretch in zip(ends, stretches, strict=True)]
