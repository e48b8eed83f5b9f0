"""The folder of a result: what an earlier run left there, and the mark of its owner."""

import os
from pathlib import Path
from typing import Any

from experiments.engine.tasks import STAGES
from experiments.store.store import Store, read_json
from reports.pages import tables_of

MARK = ".sigmabench"  # an empty file that marks a result folder, so that its results may be replaced
OTHER_FILES = ("run.json", "settings.json", "report.html", "report.md")
PARTS = {"images": "*.png", "figures": "*.svg", "export": "*-evaluations-*"}


def earlier_results(directory: Path, experiment: str) -> list[Path]:
    """The results of an earlier run in a result folder, of this or another experiment, without its logs.

    Raises:
        ValueError: the folder holds such files, but no run wrote them.
    """
    info = _run_info(directory)
    tables = tables_of(experiment) | tables_of(str(info.get("experiment")))
    packed = [f"{name}.gz" for name in tables]  # of a published result
    files = [path for name in (*tables, *packed, *OTHER_FILES) if (path := directory / name).exists()]
    files += [path for folder, kind in PARTS.items() for path in (directory / folder).glob(kind)]
    if files and not (directory / MARK).exists() and not {"schema", "experiment", "preset"} <= info.keys():
        raise ValueError(
            f"out={str(directory)!r}: it holds {files[0].relative_to(directory)}, which no run wrote; choose another "
            "folder"
        )
    if folder := next((path for path in files if path.is_dir()), None):
        raise ValueError(f"out={str(directory)!r}: {folder.name} is a folder there; choose another folder")
    return files


def check_outside(directory: Path, store: Store) -> None:
    """Raises ValueError for a result folder among the artifacts or the temporary folders of a store."""
    root, folder = store.root.resolve(), directory.resolve()
    if any(folder.is_relative_to(root / part) for part in ("tmp", "failures", "mixtures", *STAGES)):
        raise ValueError(f"out={str(directory)!r}: it lies in a folder of the store {store}; choose another folder")


def make(directory: Path) -> None:
    """Makes the result folder and marks it. Raises ValueError if nothing can be written there."""
    try:
        (directory / "logs").mkdir(parents=True, exist_ok=True)
        (directory / MARK).touch()
        probe = directory / "logs" / f".probe.{os.getpid()}"
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        raise ValueError(f"out={str(directory)!r}: nothing can be written there: {error.strerror or error}") from None


def _run_info(directory: Path) -> dict[str, Any]:
    """The content of run.json; nothing if it is missing or damaged."""
    try:
        return read_json(directory / "run.json")
    except (OSError, ValueError):
        return {}
