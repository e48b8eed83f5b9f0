"""The training stage: config in, averaged weights out. It returns at once if they exist.

models/ID/      model.safetensors, config.json, losses.csv, meta.json
"""

import csv
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion_core.networks import build
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.training import Step, train
from experiments.config.denoisers import TrainConfig, TunedConfig
from experiments.config.identity import canonical, identity
from experiments.stages.common import Advance, images_of, write_meta
from experiments.stages.hardware import use_threads
from experiments.store.checksums import write_json
from experiments.store.store import Store

LOGGED_LOSSES = 200  # points of a loss curve; each is the mean of its stretch


def train_stage(config: TrainConfig, store: Store, data_root: Path | None, advance: Advance) -> str:
    """The identity of a network. Trains it and stores its averaged weights."""
    name = identity(config)
    if store.has("models", name):
        return name
    store.check_writable()
    use_threads(config.machine.threads)
    images = images_of(config.data, data_root)
    with torch.random.fork_rng(devices=[]):  # torch's layers take no generator: seed the global one for them only
        torch.manual_seed(block_seed(config.seed, -1))  # not the noise's seed: weights would repeat the noise
        model = build(config.network, images.shape[0], config.parameterisation).to(config.machine.device)
    x0 = images.standardised()[: len(images.pixels) - config.held_out].to(config.machine.device)
    steps = train(
        model,
        x0,
        config.noise,
        n_images=config.images_seen,
        batch_size=config.batch_size,
        lr=config.lr,
        warmup_images=config.warmup_images,
        ema_decay=config.ema_decay,
        weighting=config.weighting,
        stratified=config.stratified,
        precision=config.machine.precision,
        seed=config.seed,
    )
    return store_network(config, model, steps, store, advance, images.shape[0])


def store_network(
    config: TrainConfig | TunedConfig,
    model: torch.nn.Module,
    steps: Iterable[Step],
    store: Store,
    advance: Advance,
    channels: int,
) -> str:
    """The identity of a network. Takes the steps of its training, and stores its weights afterwards and its losses."""
    seen: list[int] = []
    losses: list[Tensor] = []
    start = time.perf_counter()
    for step in steps:
        advance(step.images_seen - (seen[-1] if seen else 0))
        seen.append(step.images_seen)
        losses.append(step.loss)
    curve = thinned(seen, torch.stack(losses).tolist())
    seconds = time.perf_counter() - start
    with store.writing("models", name := identity(config)) as folder:
        save_file(
            {key: value.contiguous().cpu() for key, value in model.state_dict().items()}, folder / "model.safetensors"
        )
        with (folder / "losses.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("images_seen", "loss"), *curve])
        write_json(folder / "config.json", canonical(config) | {"channels": channels})
        write_meta(folder, train_seconds=seconds, train_loss=curve[-1][1])
    return name


def thinned(seen: list[int], losses: list[float]) -> list[tuple[int, float]]:
    """At most LOGGED_LOSSES points (images seen, mean loss since the previous point)."""
    stride = -(-len(losses) // LOGGED_LOSSES)
    starts = range(0, len(losses), stride)
    stretches = [losses[start : start + stride] for start in starts]
    ends = [seen[min(start + stride, len(seen)) - 1] for start in starts]
    return [(end, sum(stretch) / len(stretch)) for end, stretch in zip(ends, stretches, strict=True)]
