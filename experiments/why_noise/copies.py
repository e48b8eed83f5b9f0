"""copies.csv: how many samples are copies of training images."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor

from experiments.config.denoisers import TrainConfig, networks
from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.results.table import write_rows
from experiments.stages.common import images_of
from experiments.store.store import Store

# a sample is a copy if its nearest training image is at most this share of the distance to the second nearest away
RATIO = 1 / 3
COLUMNS = ("arm", "setting", "train_seed", "copies", "n_samples", "ratio")


def write_copies(
    done: Sequence[Trial], store: Store, data_root: Path | None, directory: Path, console: Console
) -> None:
    """Writes one row per run whose samples are in the store: the share of copies among them.

    Source: Yoon et al. 2023, ICML workshop on structured probabilistic inference (ratio of the distances, 1/3).
    """
    shown = track(done, "looking for copies", console=console, disable=not console.is_terminal)
    write_rows(directory / "copies.csv", list(rows(shown, store, data_root)), COLUMNS)


def rows(done: Iterable[Trial], store: Store, data_root: Path | None) -> Iterator[dict[str, Any]]:
    """Rows of copies.csv. Runs whose samples were evicted are left out."""
    for trial in done:
        name = identity(trial.samples)
        if trial.mode != "control" and store.has("samples", name):
            with store.reading("samples", name) as folder:
                pixels = load_file(folder / "samples.safetensors")["pixels"]
            known = images_of(trial.model.data, data_root).pixels
            held_out = max(one.held_out for one in networks(trial.model) if isinstance(one, TrainConfig))
            share = copies(pixels, known[: len(known) - held_out])
            yield {"arm": trial.mode, "setting": trial.setting, "train_seed": trial.model.seed, "copies": share,
                   "n_samples": len(pixels), "ratio": RATIO}  # fmt: skip


def copies(pixels: Tensor, training: Tensor) -> float:
    """The share of images (n, C, H, W) that are copies of training images, by Euclidean distances of pixels."""
    known, found = training.flatten(1).float() / 255, []
    for part in (pixels.flatten(1).float() / 255).split(256):
        nearest = torch.cdist(part, known).topk(2, largest=False).values
        found.append(nearest[:, 0] <= RATIO * nearest[:, 1])
    return torch.cat(found).float().mean().item()
