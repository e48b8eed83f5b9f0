"""What a store holds: artifacts, folders KIND/IDENTITY of files that count once their checksums are written.

checksums.json names every file with its SHA-256 and its size. It is written last, so it marks a complete artifact:
without it there is none, and whatever differs from it is damaged.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

MARKER = "checksums.json"
BLOCK = 2**20  # bytes read at once
Sums = dict[str, dict[str, Any]]  # file -> {"sha256": hex digits, "bytes": size}


class StoreError(ValueError):
    """A store that cannot be read or written. The message names it and says what to do."""


class Name(NamedTuple):
    """What an artifact is called."""

    kind: str
    identity: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.identity}"


@dataclass(frozen=True)
class Artifact:
    """A complete artifact as a listing shows it."""

    name: Name
    size: int  # bytes
    used: float  # when it was last read or written, seconds since 1970


@dataclass(frozen=True)
class Leftover:
    """What a killed writer left behind, for `remove_leftover`."""

    where: str
    size: int  # bytes


@dataclass(frozen=True)
class Finding:
    """What an inspection of a complete artifact found. `marker` tells this copy of it from others."""

    marker: bytes
    faults: list[str]  # one text a fault; none if the artifact is sound


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def seal(folder: Path) -> None:
    """Writes the checksums of a folder's files into it."""
    sums: Sums = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            size, digest = _measured(file)
        sums[path.name] = {"sha256": digest, "bytes": size}
    write_json(folder / MARKER, sums)


def read_sums(marker: bytes) -> Sums:
    """The checksums in the text of a marker. Raises ValueError saying what is wrong with it."""
    try:
        sums = json.loads(marker)
    except ValueError as error:
        raise ValueError(f"{MARKER} is not JSON ({len(marker)} bytes)") from error
    try:
        return {str(name): {"sha256": str(sum["sha256"]), "bytes": int(sum["bytes"])} for name, sum in sums.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{MARKER} does not hold checksums") from error


def inspect(marker: bytes, opened: Callable[[str], BinaryIO]) -> Finding:
    """Compares the files that `opened` opens by name with the text of their marker."""
    try:
        sums = read_sums(marker)
    except ValueError as error:
        return Finding(marker, [str(error)])
    faults = []
    for name, expected in sums.items():
        try:
            with opened(name) as file:
                size, digest = _measured(file)
        except FileNotFoundError:
            faults.append(f"{name} missing")
            continue
        if size < expected["bytes"]:
            faults.append(f"{name} truncated: {size} of {expected['bytes']} bytes")
        elif size > expected["bytes"]:
            faults.append(f"{name} too long: {size} bytes instead of {expected['bytes']}")
        elif digest != expected["sha256"]:
            faults.append(f"{name} checksum differs")
    return Finding(marker, faults)


def _measured(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 of what is left to read."""
    size, digest = 0, hashlib.sha256()
    while block := file.read(BLOCK):
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()
