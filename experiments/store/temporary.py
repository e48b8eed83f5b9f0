"""Temporary folders of a store, ROOT/tmp/LABEL-PROCESS-RANDOM-COMPUTER: the name tells whose process was killed."""

import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ABANDONED = 24 * 3600  # seconds after which unfinished work of another computer counts as abandoned


@contextmanager
def temporary_folder(root: Path, label: str) -> Iterator[Path]:
    """A new temporary folder on this computer, removed at the end."""
    folder = root / "tmp" / f"{label}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{socket.gethostname()}"
    try:
        folder.mkdir(parents=True)  # in here: an interrupt between it and `try` would leave the folder behind
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def abandoned_folders(root: Path) -> Iterator[Path]:
    """Temporary folders whose process has ended."""
    for folder in sorted((root / "tmp").glob("*-*-*")):
        with suppress(FileNotFoundError):
            if _abandoned(folder):
                yield folder


def _abandoned(folder: Path) -> bool:
    """Whether the process that made a temporary folder has ended; for another computer: whether it is a day old."""
    made = re.fullmatch(r"[^-]*-(\d{1,9})-[^-]*-(.+)", folder.name)
    if made is None:  # not by a store
        return False
    if made[2] != socket.gethostname():
        return time.time() - folder.stat().st_mtime > ABANDONED
    return not psutil.pid_exists(int(made[1]))
