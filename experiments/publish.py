"""From planned cells to a finished result folder: run, tabulate, contrast, write what the report reads, report."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from experiments import contrasts as contrasting
from experiments import foreign, stages, sweep
from experiments.config import ForeignConfig
from experiments.evidence import write_evidence
from experiments.features import dimension
from experiments.hardware import describe
from experiments.options import Options
from experiments.store import Store, write_json
from experiments.sweep import Cell, Infeasible
from reports.render import write_report

VERSIONS = ("sigmabench", "torch", "torch-fidelity", "numpy", "scipy")
Explain = Callable[[Path, Store, Sequence[Cell], Console], None]


def run_experiment(
    name: str,
    question: str,
    options: Options,
    planned: Sequence[Cell | Infeasible],
    contrasts: Sequence[contrasting.Contrast | contrasting.Choice],
    *,
    fixed_beforehand: bool = False,
    explain: Explain | None = None,
) -> pd.DataFrame:
    """Runs the cells, writes the result folder with its report, prints where it lies, and returns the table.

    Args:
        fixed_beforehand: whether the primary contrast is the one that the design fixed, or merely of its form.
        explain: writes further files that the experiment's report reads, given the cells that succeeded.
    """
    console = Console()
    directory, store = options.directory(name), Store(options.store)
    directory.mkdir(parents=True, exist_ok=True)
    cells = [cell for cell in planned if isinstance(cell, Cell)]
    _check(cells, store, options.data_root)
    notes = _notes(cells)
    for note in notes:
        console.print(f"note: {note}", style="yellow")
    rows = sweep.execute(cells, store, options.data_root, console)
    done = [cell for cell, row in zip(cells, rows, strict=True) if row["status"] == "ok"]
    floors = contrasting.floor_rows(cells, rows, store)
    sweep.write_rows(directory / "floors.csv", floors, contrasting.FLOOR_COLUMNS)
    sweep.write_rows(
        directory / "contrasts.csv", contrasting.contrast_rows(contrasts, rows, store), contrasting.COLUMNS
    )
    rows += [cell.row() for cell in planned if isinstance(cell, Infeasible)]
    sweep.write_rows(directory / "table.csv", rows, sweep.COLUMNS)
    write_json(
        directory / "run.json", _provenance(name, question, options, notes) | {"fixed_beforehand": fixed_beforehand}
    )
    write_evidence(directory, done, store, options.data_root)
    if explain:
        explain(directory, store, done, console)
    report = write_report(directory)
    failed = [row["error"] for row in rows if row["status"] == "failed"]
    for error in dict.fromkeys(failed):
        console.print(f"failed ({failed.count(error)}): {error}", style="red", markup=False, soft_wrap=True)
    console.print(f"{len(rows)} rows, {len(failed)} failed: {directory / 'table.csv'}")
    console.print(f"report: {report}", style="bold", soft_wrap=True)
    return pd.read_csv(directory / "table.csv")


def _check(cells: Sequence[Cell], store: Store, data_root: Path | None) -> None:
    """Stops the run before it starts, with one message, if it has no cells, no data, too few, or no such --model."""
    if not cells:
        raise ValueError("nothing to run: no setting that was asked for is feasible")
    for cell in cells:
        most = len(stages.images_of(cell.model.data, data_root).pixels) // 3
        if cell.samples.n_samples > most:
            raise ValueError(
                f"n_samples={cell.samples.n_samples}: data={cell.model.data!r} allows at most {most}, a third of its "
                "images: as many are set aside for the floor, and intervals hold only for a reference larger than that"
            )
        if isinstance(cell.model, ForeignConfig):
            stages.load_model(cell.model, store, data_root, cell.samples.machine.device)


def _notes(cells: Sequence[Cell]) -> list[str]:
    """What a reader of the numbers should know."""
    notes = []
    smallest, d = min(cell.samples.n_samples for cell in cells), dimension(cells[0].score.reference.features)
    if smallest <= d:
        notes.append(
            f"{smallest} samples span fewer than the {d} feature dimensions: their covariance is singular, "
            "so read FD with care and trust KD"
        )
    sources = {cell.model.source for cell in cells if isinstance(cell.model, ForeignConfig)}
    return notes + [note for source in sorted(sources) for note in foreign.notes(source)]


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
