"""Artifacts: folders KIND/IDENTITY of files, which are complete once checksums.json is written.

checksums.json has the SHA-256 and the size of every file, and it is written last. A folder without it is no artifact. A
file that differs from it is damaged.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

MANIFEST = "checksums.json"
CHUNK_BYTES = 2**20  # bytes read at once
FILE_NAME = re.compile(r"(\w+/)?\w[\w.-]*")  # of an artifact; a bucket has one more level (see remote.py)
NO_FILE = (errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG)  # a folder, a loop of links, ...
Sums = dict[str, dict[str, Any]]  # file -> {"sha256": hex digits, "bytes": size}


class StoreError(ValueError):
    """The store cannot be read or written. The message names the store and says what to do."""


class Name(NamedTuple):
    """The name of an artifact."""

    kind: str
    identity: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.identity}"


@dataclass(frozen=True)
class Artifact:
    """A complete artifact in a listing."""

    name: Name
    size: int  # bytes
    used: float  # time of the last use, in seconds since 1970


@dataclass(frozen=True)
class StaleTemp:
    """Temporary files of a killed writer, for `remove_stale_temp`."""

    where: str
    size: int  # bytes


@dataclass(frozen=True)
class CheckResult:
    """The result of inspecting a complete artifact. `manifest` distinguishes this copy of it from other copies."""

    manifest: bytes
    faults: list[str]  # one text per fault; empty if the artifact is sound


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: it must hold a JSON object")
    return value


def open_file(path: Path) -> BinaryIO:
    """The opened file. Raises IsADirectoryError for all that is no regular file: a FIFO waits, a device has no end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, "no regular file", str(path))
    return path.open("rb")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically: a reader sees the old file or the new file."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes text atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def write_checksums(folder: Path) -> None:
    """Writes the checksums of a folder's files into the folder."""
    sums: Sums = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            size, digest = _measured(file)
        sums[path.name] = {"sha256": digest, "bytes": size}
    write_json(folder / MANIFEST, sums)


def read_sums(manifest: bytes) -> Sums:
    """The checksums in a manifest. Raises ValueError if it holds something else."""
    try:
        sums = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{MANIFEST} is not JSON ({len(manifest)} bytes)") from error
    try:
        found = {str(name): {"sha256": str(sum["sha256"]), "bytes": int(sum["bytes"])} for name, sum in sums.items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{MANIFEST} does not hold checksums") from error
    if not all(FILE_NAME.fullmatch(name) for name in found):
        raise ValueError(f"{MANIFEST} does not hold checksums of files in its folder")
    return found


def inspect(manifest: bytes, opened: Callable[[str], BinaryIO]) -> CheckResult:
    """Compares files with their manifest. `opened` opens a file by its name."""
    try:
        sums = read_sums(manifest)
    except ValueError as error:
        return CheckResult(manifest, [str(error)])
    faults = []
    for name, expected in sums.items():
        try:
            with opened(name) as file:
                size, digest = _measured(file)
        except FileNotFoundError:
            faults.append(f"{name} missing")
            continue
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            faults.append(f"{name} is no file")
            continue
        if size < expected["bytes"]:
            faults.append(f"{name} truncated: {size} of {expected['bytes']} bytes")
        elif size > expected["bytes"]:
            faults.append(f"{name} too long: {size} bytes instead of {expected['bytes']}")
        elif digest != expected["sha256"]:
            faults.append(f"{name} checksum differs")
    return CheckResult(manifest, faults)


def _measured(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 of the rest of an open file."""
    size, digest = 0, hashlib.sha256()
    while block := file.read(CHUNK_BYTES):
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()
