"""What lies in a store: its complete artifacts, and files that killed writers left."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from experiments.store.checksums import MANIFEST, Name, attempt_of, read_sums

ABANDONED = 24 * 3600  # seconds after which unfinished work of another computer counts as abandoned
OF_ATTEMPT = re.compile(r"[0-9a-f]{8}/[^/]+")  # what only a store writes
Files = dict[str, dict[str, Any]]  # path in an artifact's folder -> its entry in fsspec's listing


@dataclass(frozen=True)
class Artifact:
    """A complete artifact in a listing."""

    name: Name
    size: int  # bytes
    used: float  # time of the last use, in seconds since 1970


@dataclass(frozen=True)
class Leftover:
    """Files of a killed writer: a temporary folder of this computer, or a file of the store that no manifest names."""

    where: str
    size: int  # bytes
    temporary: bool


def list_files(files: Any, base: str) -> dict[Name, Files]:
    """All files under BASE/KIND/IDENTITY/, by artifact, sorted. `files` is fsspec's file system."""
    entries = files.find(base, detail=True)
    if not entries:  # some file systems find nothing where they reach nothing
        with suppress(FileNotFoundError):
            files.ls(base)
    listing: dict[Name, Files] = {}
    for path, entry in sorted(entries.items()):
        parts = path.removeprefix(base).strip("/").split("/", 2)
        if len(parts) == 3:
            listing.setdefault(Name(parts[0], parts[1]), {})[parts[2]] = entry
    return listing


def artifact_of(name: Name, files: Files) -> Artifact | None:
    """The artifact that these files are; None without a manifest."""
    if MANIFEST not in files:
        return None
    return Artifact(name, sum(int(entry["size"]) for entry in files.values()), _modified(files[MANIFEST]))


def several_attempts(files: Files) -> bool:
    """Whether some of an artifact's files may be leftovers: there is no manifest, or more than one attempt."""
    return MANIFEST not in files or len({PurePosixPath(file).parent for file in files if file != MANIFEST}) > 1


def leftovers_of(name: Name, files: Files, manifest: bytes | None) -> Iterator[Leftover]:
    """The files, at least a day old, of attempts that the manifest does not name."""
    try:
        named = attempt_of(read_sums(manifest or b"{}"))
    except ValueError:
        return  # damaged: a run that reads it reports it
    for file in filter(OF_ATTEMPT.fullmatch, files):
        if PurePosixPath(file).parent.name != named and time.time() - _modified(files[file]) > ABANDONED:
            yield Leftover(f"{name}/{file}", int(files[file]["size"]), temporary=False)


def _modified(entry: dict[str, Any]) -> float:
    """When a file was written, in seconds since 1970."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()  # unknown: now, so that no artifact is removed by mistake
