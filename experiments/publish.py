"""From planned cells to a finished result folder: run, tabulate, contrast, write what the report reads, report."""

import csv
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from experiments import contrasts as contrasting
from experiments import stages, sweep
from experiments.config import identity
from experiments.features import dimension
from experiments.hardware import describe
from experiments.options import Options
from experiments.store import Store, write_json
from reports.render import write_report

GRID = 4  # images along each side of a picture of samples
VERSIONS = ("sigmabench", "torch", "torch-fidelity", "numpy", "scipy")


def run_experiment(
    name: str,
    question: str,
    options: Options,
    cells: Sequence[sweep.Cell],
    infeasible: Sequence[sweep.Infeasible],
    contrasts: Sequence[contrasting.Contrast | contrasting.Choice],
    fixed_beforehand: bool,
) -> pd.DataFrame:
    """Runs the cells, writes the result folder with its report, prints where it lies, and returns the table.

    `fixed_beforehand` says whether the primary contrast is the one that the design fixed, or merely of its form.
    """
    console = Console()
    directory, store = options.directory(name), Store(options.store)
    directory.mkdir(parents=True, exist_ok=True)
    _check_data(cells, options.data_root)
    notes = _notes(cells)
    for note in notes:
        console.print(f"note: {note}", style="yellow")
    rows = sweep.execute(cells, store, options.data_root, console)
    rows += [cell.row() for cell in infeasible]
    sweep.write_rows(directory / "table.csv", rows, sweep.COLUMNS)
    contrast_rows = contrasting.contrast_rows(contrasts, rows, store)
    sweep.write_rows(directory / "contrasts.csv", contrast_rows, contrasting.COLUMNS)
    floors = contrasting.floor_rows(cells, rows, store)
    sweep.write_rows(directory / "floors.csv", floors, contrasting.FLOOR_COLUMNS)
    _write_evidence(directory, cells, rows, store, options.data_root)
    write_json(
        directory / "run.json", _provenance(name, question, options, notes) | {"fixed_beforehand": fixed_beforehand}
    )
    report = write_report(directory)
    failed = sum(row["status"] == "failed" for row in rows)
    console.print(f"{len(rows)} rows, {failed} failed: {directory / 'table.csv'}")
    console.print(f"report: {report}", style="bold", soft_wrap=True)
    return pd.read_csv(directory / "table.csv")


def _check_data(cells: Sequence[sweep.Cell], data_root: Path | None) -> None:
    """Stops the run before it starts, with one message, if its data cannot be had or are too few."""
    for cell in cells:
        most = len(stages.images_of(cell.model.data, data_root).pixels) // 3
        if cell.samples.n_samples > most:
            raise ValueError(
                f"n_samples={cell.samples.n_samples}: data={cell.model.data!r} allows at most {most}, a third of its "
                "images: as many are set aside for the floor, and intervals hold only for a reference larger than that"
            )


def _notes(cells: Sequence[sweep.Cell]) -> list[str]:
    """What a reader of the numbers should know."""
    smallest = min(cell.samples.n_samples for cell in cells)
    n_features = max(dimension(cell.score.reference.features) for cell in cells)
    if smallest <= n_features:
        return [
            f"{smallest} samples span fewer than the {n_features} feature dimensions: their covariance is singular, "
            "so read FD with care and trust KD"
        ]
    return []


def _write_evidence(
    directory: Path, cells: Sequence[sweep.Cell], rows: Sequence[sweep.Row], store: Store, data_root: Path | None
) -> None:
    """Pictures, class histograms and loss curves of the runs that succeeded."""
    pictures = directory / "images"
    pictures.mkdir(exist_ok=True)
    done = {cell.score: cell for cell, row in zip(cells, rows, strict=False) if row["status"] == "ok"}
    histograms: list[dict[str, Any]] = []
    losses: list[dict[str, Any]] = []
    for score, cell in done.items():
        samples_id = identity(cell.samples)
        _save_picture(pictures / f"{samples_id}.png", store.path("samples", samples_id) / "samples.safetensors")
        counts = stages.load_meta("scores", score, store)["histogram"]
        if counts is not None:
            histograms += _histogram(identity(score), counts)
    for model in dict.fromkeys(cell.model for cell in done.values()):
        shared = {"model_id": identity(model), "train_seed": model.seed, "network": model.network}
        with (store.path("models", identity(model)) / "losses.csv").open() as file:
            losses += [shared | point for point in csv.DictReader(file)]
    if done:
        cell = next(iter(done.values()))
        images = stages.images_of(cell.model.data, data_root)
        _picture(images.pixels).save(pictures / "real.png")
    if histograms:
        share = images.labels.bincount(minlength=stages.N_CLASSES) / len(images.labels)
        histograms += _histogram("real", (share * cell.samples.n_samples).tolist())
    sweep.write_rows(directory / "histograms.csv", histograms, ("run_id", "label", "count"))
    sweep.write_rows(directory / "losses.csv", losses, ("model_id", "train_seed", "network", "images_seen", "loss"))


def _histogram(run_id: str, counts: Sequence[float]) -> list[dict[str, Any]]:
    return [{"run_id": run_id, "label": label, "count": count} for label, count in enumerate(counts)]


def _save_picture(path: Path, samples: Path) -> None:
    if not path.exists():
        _picture(load_file(samples)["pixels"]).save(path)


def _picture(pixels: torch.Tensor) -> Image.Image:
    """The first 16 of pixels uint8 (n, 1, H, W) in a square."""
    height, width = pixels.shape[2:]
    tiles = torch.zeros(GRID * GRID, height, width, dtype=torch.uint8)
    tiles[: len(pixels)] = pixels[: GRID * GRID, 0]
    square = tiles.view(GRID, GRID, height, width).transpose(1, 2).reshape(GRID * height, GRID * width)
    return Image.fromarray(square.numpy())


def _provenance(name: str, question: str, options: Options, notes: Sequence[str]) -> dict[str, Any]:
    commit, dirty = _commit()
    return {
        "schema": 1,
        "experiment": name,
        "preset": options.preset,
        "question": question,
        "command": shlex.join(["python", "-m", "experiments", *sys.argv[1:]]),
        "commit": commit,
        "dirty": dirty,
        "versions": {"python": platform.python_version()} | {package: version(package) for package in VERSIONS},
        "machine": describe(),
        "notes": list(notes),
    }


def _commit() -> tuple[str | None, bool | None]:
    """The commit of this code and whether files differ from it; nothing outside a git checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, None
