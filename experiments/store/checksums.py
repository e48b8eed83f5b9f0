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

MANIFEST = "checksums.json"
CHUNK_BYTES = 2**20  # bytes read at once
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
class StaleTemp:
    """What a killed writer left behind, for `remove_leftover`."""

    where: str
    size: int  # bytes


@dataclass(frozen=True)
class CheckResult:
    """What an inspection of a complete artifact found. `manifest` tells this copy of it from others."""

    manifest: bytes
    faults: list[str]  # one text a fault; none if the artifact is sound


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: something else is in it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: it must hold a JSON object")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def write_checksums(folder: Path) -> None:
    """Writes the checksums of a folder's files into it."""
    sums: Sums = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            size, digest = _measured(file)
        sums[path.name] = {"sha256": digest, "bytes": size}
    write_json(folder / MANIFEST, sums)


def read_sums(manifest: bytes) -> Sums:
    """The checksums in the text of a manifest. Raises ValueError saying what is wrong with it."""
    try:
        sums = json.loads(manifest)
    except ValueError as error:
        raise ValueError(f"{MANIFEST} is not JSON ({len(manifest)} bytes)") from error
    try:
        return {str(name): {"sha256": str(sum["sha256"]), "bytes": int(sum["bytes"])} for name, sum in sums.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{MANIFEST} does not hold checksums") from error


def inspect(manifest: bytes, opened: Callable[[str], BinaryIO]) -> CheckResult:
    """Compares the files that `opened` opens by name with the text of their manifest."""
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
        if size < expected["bytes"]:
            faults.append(f"{name} truncated: {size} of {expected['bytes']} bytes")
        elif size > expected["bytes"]:
            faults.append(f"{name} too long: {size} bytes instead of {expected['bytes']}")
        elif digest != expected["sha256"]:
            faults.append(f"{name} checksum differs")
    return CheckResult(manifest, faults)


def _measured(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 of what is left to read."""
    size, digest = 0, hashlib.sha256()
    while block := file.read(CHUNK_BYTES):
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()
