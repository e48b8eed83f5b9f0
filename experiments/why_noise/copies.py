"""copies.csv: how many samples are copies of training images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor

from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.results.table import write_rows
from experiments.stages.common import images_of
from experiments.store.store import Store
from experiments.why_noise.page.tables import HELD_OUT, TABLES

# A sample is a copy if its nearest training image is at most this share of the distance to the second nearest away. The
# network's own residue can hide a copy, so near copies are counted too, and compared with those among held-out images.
COPY, NEAR = 1 / 3, 0.9


def write_copies(
    done: Sequence[Trial], store: Store, data_root: Path | None, directory: Path, console: Console
) -> None:
    """Writes one row per run whose samples are in the store, with the shares of copies; and one on held-out images.

    Source: Yoon et al. 2023, ICML workshop on structured probabilistic inference (ratio of the distances, 1/3).
    """
    write_rows(directory / "copies.csv", list(rows(done, store, data_root, console)), TABLES["copies.csv"])


def rows(done: Sequence[Trial], store: Store, data_root: Path | None, console: Console) -> Iterator[dict[str, Any]]:
    """Rows of copies.csv. All runs are of the same data; those whose samples were evicted are left out."""
    if not done:
        return
    images, model = images_of(done[0].model.data, data_root), done[0].model
    training, held = images.pixels.tensor_split([images.n_training(model.held_out)])
    known: dict[str, dict[str, Any]] = {}  # samples -> their shares; several arms may have the same
    for trial in track(done, "looking for copies", console=console, disable=not console.is_terminal):
        name = identity(trial.samples)
        if trial.mode != "control" and store.has("samples", name):
            if name not in known:
                with store.reading("samples", name) as folder:
                    known[name] = shares(load_file(folder / "samples.safetensors")["pixels"], training)
            yield {"arm": trial.mode, "setting": trial.setting, "train_seed": trial.model.seed} | known[name]
    if len(held):
        yield {"arm": HELD_OUT, "setting": "real"} | shares(held, training)


def shares(pixels: Tensor, training: Tensor) -> dict[str, Any]:
    """The shares of images (n, C, H, W) that are copies and near copies, by Euclidean distances of pixels."""
    known, verdicts = training.flatten(1).float() / 255, []
    for part in (pixels.flatten(1).float() / 255).split(256):
        nearest = torch.cdist(part, known).topk(2, largest=False).values
        verdicts.append(nearest[:, :1] <= torch.tensor([COPY, NEAR]) * nearest[:, 1:])
    copies, near = torch.cat(verdicts).float().mean(dim=0).tolist()
    return {"copies": copies, "near_copies": near, "n_samples": len(pixels)}
