"""The stages: config in, artifact out. Each returns at once if its artifact is there already.

train_stage   models/ID/      model.safetensors, config.json, losses.csv, meta.json
sample_stage  samples/ID/     see sampling.py
score_stage   scores/ID/      features.safetensors, shown.safetensors, meta.json
reference     references/ID/  features.safetensors: features, labels, kernel row sums of the training images

A score holds all that rows and reports need of its samples, so samples may be evicted once they are scored.
"""

import csv
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusion_core import samplers
from diffusion_core.block_noise import block_seed
from diffusion_core.data import Images, load
from diffusion_core.networks import build
from diffusion_core.training import train
from experiments.config import (
    MIXTURE,
    ExactConfig,
    ForeignConfig,
    Model,
    ReferenceConfig,
    ScoreConfig,
    TrainConfig,
    canonical,
    identity,
)
from experiments.features import extract
from experiments.foreign import load_foreign
from experiments.hardware import use_threads
from experiments.known_law import exact_model, mixture_data
from experiments.metrics import (
    Pool,
    Reference,
    fd_replicates,
    frechet_distance,
    jackknife_se,
    kd_replicates,
    kernel_distance,
    kernel_row_sums,
    precision_recall,
)
from experiments.store import Store, read_json, write_json

LOGGED_LOSSES = 200  # points of a loss curve, each the mean of its stretch
N_CLASSES = 10
SHOWN_IMAGES = 16  # of the samples, kept with their score for reports
Advance = Callable[[float], None]  # told how many images were trained, or how many network evaluations were made


@lru_cache(maxsize=4)
def images_of(data: str, data_root: Path | None) -> Images:
    """The training images of a data set, loaded once a process."""
    if data.startswith(MIXTURE):
        return mixture_data(data, data_root)
    return load(data, root=data_root)


def train_stage(config: TrainConfig, store: Store, data_root: Path | None, advance: Advance) -> str:
    """Trains one network and stores its averaged weights. Returns the model's identity."""
    name = identity(config)
    if store.has("models", name):
        return name
    store.check_writable()
    use_threads(config.machine.threads)
    images = images_of(config.data, data_root)
    with torch.random.fork_rng(devices=[]):  # torch's layers take no generator: seed the global one for them only
        torch.manual_seed(block_seed(config.seed, -1))  # not the seed of the noise: its stream would repeat in them
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
    seen: list[int] = []
    losses: list[Tensor] = []
    start = time.perf_counter()
    for step in steps:
        advance(step.images_seen - (seen[-1] if seen else 0))
        seen.append(step.images_seen)
        losses.append(step.loss)
    curve = thinned(seen, torch.stack(losses).tolist())
    seconds = time.perf_counter() - start
    with store.writing("models", name) as folder:
        save_file(
            {key: value.contiguous().cpu() for key, value in model.state_dict().items()}, folder / "model.safetensors"
        )
        with (folder / "losses.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("images_seen", "loss"), *curve])
        write_json(folder / "config.json", canonical(config) | {"channels": images.shape[0]})
        write_meta(folder, train_seconds=seconds, train_loss=curve[-1][1])
    return name


@lru_cache(maxsize=2)
def load_model(config: Model, store: Store, data_root: Path | None, device: str) -> samplers.Model:
    """The network of a config, on `device`, ready to sample."""
    images = images_of(config.data, data_root)
    if isinstance(config, ExactConfig):
        return exact_model(config).to(device)
    if isinstance(config, ForeignConfig):
        return load_foreign(config.source, images, config.label, device)
    model = build(config.network, images.shape[0], config.parameterisation)
    model.load_state_dict(load_file(store.path("models", identity(config)) / "model.safetensors"))
    return model.to(device).eval()


def reference_stage(config: ReferenceConfig, store: Store, data_root: Path | None) -> str:
    """Features of the training images, computed once. Returns the reference's identity."""
    name = identity(config)
    if store.has("references", name):
        return name
    use_threads(1)  # the reference is the same for runs on any number of threads
    images = images_of(config.data, data_root)
    features = extract(config.features, images.pixels, weights=config.weights)[0]
    row_sums = torch.from_numpy(kernel_row_sums(features.double().numpy()))
    with store.writing("references", name) as folder:
        tensors = {"features": features, "labels": images.labels, "row_sums": row_sums}
        save_file(tensors, folder / "features.safetensors")
    return name


@lru_cache(maxsize=4)
def load_pool(config: ReferenceConfig, store: Store) -> tuple[Pool, Tensor]:
    """The real images of a reference as a Pool, and their labels (T,)."""
    tensors = load_file(store.path("references", identity(config)) / "features.safetensors")
    return Pool(tensors["features"].double().numpy(), tensors["row_sums"].numpy()), tensors["labels"]


@lru_cache(maxsize=4)
def load_reference(config: ReferenceConfig, store: Store, n: int) -> Reference:
    """What n samples are compared with."""
    return load_pool(config, store)[0].reference(n)


def score_stage(config: ScoreConfig, store: Store, data_root: Path | None) -> str:
    """Scores samples against real images; stores features, scores, class histogram, and what reports show."""
    name = identity(config)
    if store.has("scores", name):
        return name
    store.check_writable()
    reference_stage(config.reference, store, data_root)
    use_threads(config.samples.machine.threads)  # sums are rounded by how they are split among threads
    sampled = load_file(store.path("samples", identity(config.samples)) / "samples.safetensors")
    pixels = sampled.pop("pixels")
    features32, logits = extract(config.reference.features, pixels, weights=config.reference.weights)
    features = features32.double().numpy()
    reference = load_reference(config.reference, store, len(features))
    precision, recall = precision_recall(features, reference)
    kd_jackknife = kd_replicates(features, reference)
    with store.writing("scores", name) as folder:
        save_file({"features": features32}, folder / "features.safetensors")
        shown = {"pixels": pixels[:SHOWN_IMAGES].contiguous()} | sampled  # the film, if there is one
        save_file(shown, folder / "shown.safetensors")
        write_meta(
            folder,
            **load_meta("samples", config.samples, store),
            fd=frechet_distance(features, reference),
            kd=kernel_distance(features, reference),
            kd_se=jackknife_se(kd_jackknife),
            precision=precision,
            recall=recall,
            n_reference=len(reference.features),
            histogram=None if logits is None else logits.argmax(dim=1).bincount(minlength=N_CLASSES).tolist(),
            fd_replicates=fd_replicates(features, reference).tolist(),
            kd_replicates=kd_jackknife.tolist(),
        )
    return name


def load_shown(config: ScoreConfig, store: Store) -> dict[str, Tensor]:
    """What a report shows of a scored run: pixels uint8 of the first images (n, C, H, W), and their film if any."""
    return load_file(store.path("scores", identity(config)) / "shown.safetensors")


def load_features(config: ScoreConfig, store: Store) -> Tensor:
    """The features float32 (n, d) of a scored run."""
    return load_file(store.path("scores", identity(config)) / "features.safetensors")["features"]


def load_meta(kind: str, config: Any, store: Store) -> dict[str, Any]:
    """What a stage wrote down beside its tensors."""
    meta: dict[str, Any] = read_json(store.path(kind, identity(config)) / "meta.json")
    return meta


def thinned(seen: list[int], losses: list[float]) -> list[tuple[int, float]]:
    """At most LOGGED_LOSSES points (images seen, mean loss since the point before)."""
    stride = -(-len(losses) // LOGGED_LOSSES)
    starts = range(0, len(losses), stride)
    stretches = [losses[start : start + stride] for start in starts]
    ends = [seen[min(start + stride, len(seen)) - 1] for start in starts]
    return [(end, sum(stretch) / len(stretch)) for end, stretch in zip(ends, stretches, strict=True)]


def write_meta(folder: Path, **values: Any) -> None:
    """What a stage says beside its tensors, and when."""
    write_json(folder / "meta.json", values | {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")})
