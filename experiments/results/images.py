"""Images and curves for a report: samples, their trajectories, class histograms, loss curves."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.distances.spaces import DIGITS
from experiments.results.table import write_rows
from experiments.stages.common import images_of, load_meta
from experiments.stages.score import N_CLASSES, SHOWN_IMAGES, load_shown
from experiments.store.store import Store

MOST_LOSSES = 5_000  # rows of losses.csv
SIDE = math.isqrt(SHOWN_IMAGES)  # images along each side of a picture of samples


def write_evidence(directory: Path, done: Sequence[Trial], store: Store, data_root: Path | None) -> None:
    """Writes images/, films.csv, histograms.csv and losses.csv of the trials that succeeded."""
    pictures = directory / "images"
    pictures.mkdir(exist_ok=True)
    histograms: list[dict[str, Any]] = []
    losses: list[dict[str, Any]] = []
    films: list[dict[str, Any]] = []
    runs = {identity(trial.score): trial for trial in done}
    for run_id, trial in runs.items():
        _save_pictures(pictures, trial, store)
        meta = load_meta("scores", trial.score, store)
        films += [
            {"samples_id": identity(trial.samples), "frame": frame, "sigma": sigma}
            for frame, sigma in enumerate(meta["film_sigmas"])
        ]
        counts = meta["histogram"]
        if counts and trial.model.data.partition("@")[0] in DIGITS:  # only their classes are known to an extractor
            histograms += _histogram(run_id, counts)
    for model in dict.fromkeys(trial.model for trial in runs.values()):
        if model.from_scratch:
            shared = {"model_id": identity(model), "train_seed": model.seed, "network": model.description}
            with (store.path("models", identity(model)) / "losses.csv").open() as file:
                losses += [shared | point | {"loss": f"{float(point['loss']):.5g}"} for point in csv.DictReader(file)]
    if done:
        images = images_of(done[0].model.data, data_root)
        in_a_square(images.pixels).save(pictures / "real.png")
        if histograms:
            share = images.labels.bincount(minlength=N_CLASSES) / len(images.labels)
            histograms += _histogram("real", (share * done[0].samples.n_samples).tolist())
    write_rows(directory / "films.csv", films)
    write_rows(directory / "histograms.csv", histograms)
    write_rows(directory / "losses.csv", losses[:: 1 + len(losses) // MOST_LOSSES])


def _histogram(run_id: str, counts: Sequence[float]) -> list[dict[str, Any]]:
    return [{"run_id": run_id, "label": label, "count": count} for label, count in enumerate(counts)]


def _save_pictures(folder: Path, trial: Trial, store: Store) -> None:
    """Writes ID.png, the first samples in a square; of a few also ID-film.png (x) and ID-denoised.png (estimates).

    These two have one line per sample, and one frame per level of films.csv.
    """
    samples_id = identity(trial.samples)
    if (folder / f"{samples_id}.png").exists():
        return
    tensors = load_shown(trial.score, store)
    for name in ("film", "denoised"):
        if name in tensors:
            _tiled(tensors[name].transpose(0, 1)).save(folder / f"{samples_id}-{name}.png")
    in_a_square(tensors["pixels"]).save(folder / f"{samples_id}.png")


def in_a_square(pixels: torch.Tensor) -> Image.Image:
    """The first 16 of pixels uint8 (n, C, H, W) in a square."""
    tiles = torch.zeros(SIDE * SIDE, *pixels.shape[1:], dtype=torch.uint8)
    tiles[: len(pixels)] = pixels[: SIDE * SIDE]
    return _tiled(tiles.unflatten(0, (SIDE, SIDE)))


def _tiled(tiles: torch.Tensor) -> Image.Image:
    """One picture of tiles uint8 (rows, columns, C, H, W), grey (C = 1) or RGB (C = 3)."""
    rows, columns, channels, height, width = tiles.shape
    whole = tiles.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    return Image.fromarray(whole.squeeze(2).numpy())
