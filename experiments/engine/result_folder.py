"""The folder of a result: what an earlier run left there, the mark of its owner, and half-written files."""

import os
import re
from pathlib import Path

from experiments.store.store import read_json
from reports.files import FILES

MARK = ".sigmabench"  # an empty file that marks a result folder, so that its results may be replaced
OTHER_FILES = ("run.json", "settings.json", "report.html", "report.md")
PARTS = {"images": "*.png", "figures": "*.svg", "export": "*.py"}


def earlier_results(directory: Path) -> list[Path]:
    """The results of an earlier run in a result folder, without its logs.

    Raises:
        ValueError: the folder holds such files, but no run wrote them.
    """
    files = [path for name in (*FILES, *OTHER_FILES) if (path := directory / name).exists()]
    files += [path for folder, kind in PARTS.items() for path in (directory / folder).glob(kind)]
    if files and not (directory / MARK).exists() and not _is_result(directory):
        raise ValueError(
            f"out={str(directory)!r}: it holds {files[0].relative_to(directory)}, which no run wrote; choose another "
            "folder"
        )
    if folder := next((path for path in files if path.is_dir()), None):
        raise ValueError(f"out={str(directory)!r}: {folder.name} is a folder there; choose another folder")
    return files


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


def _is_result(directory: Path) -> bool:
    """Whether run.json says that a run wrote this folder, for folders without the mark."""
    try:
        return {"schema", "experiment", "preset"} <= set(read_json(directory / "run.json"))
    except (OSError, ValueError):
        return False


def remove_strays(directory: Path) -> None:
    """Removes half-written files of a killed run, which are called .NAME.PID, from a result folder."""
    half_written = re.compile(r"\.[\w-]+\.(csv|json|md|html|svg|png|py)\.\d+")
    for folder in (directory, *(directory / part for part in PARTS)):
        for path in folder.glob(".*"):
            if path.is_file() and half_written.fullmatch(path.name):
                path.unlink()
