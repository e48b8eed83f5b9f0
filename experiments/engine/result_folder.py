"""The folder of a result: what an earlier run left there, and the mark of its owner."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.engine.tasks import STAGES
from experiments.store.store import Store, read_json
from reports.schema import TABLES

MARK = ".sigmabench"  # an empty file that marks a result folder, so that its results may be replaced
OTHER_FILES = ("run.json", "settings.json", "report.html", "report.md")
PARTS = {"images": "*.png", "figures": "*.svg", "export": "*-evaluations-*"}


def earlier_results(directory: Path, experiment: str) -> list[Path]:
    """The results of an earlier run in a result folder, of this or another experiment, without its logs.

    Raises:
        ValueError: the folder holds such files, but no run wrote them.
    """
    info = _run_info(directory)
    packed = [f"{name}.gz" for name in TABLES]  # of a published result
    files = [path for name in (*TABLES, *packed, *OTHER_FILES) if (path := directory / name).exists()]
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
    if any(folder.is_relative_to(root / part) for part in ("tmp", *STAGES)):
        raise ValueError(f"out={str(directory)!r}: it lies in a folder of the store {store}; choose another folder")


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Makes the result folder and marks it. Until the block ends, no other command writes a result there.

    Two commands with one folder would mix their tables, and each would print what the other wrote.

    Raises:
        ValueError: nothing can be written there, or another command is writing there.
    """
    name = f"out={str(directory)!r}"
    try:
        (directory / "logs").mkdir(parents=True, exist_ok=True)
        mark = (directory / MARK).open("a")
        probe = directory / "logs" / f".probe.{os.getpid()}"
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{name}: nothing can be written there: {error.strerror or error}") from None
    with mark:  # closing it ends the lock
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{name}: another command is writing there; wait for it, or choose another --out"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


def _run_info(directory: Path) -> dict[str, Any]:
    """The content of run.json; nothing if it is missing or damaged."""
    try:
        return read_json(directory / "run.json")
    except (OSError, ValueError):
        return {}
