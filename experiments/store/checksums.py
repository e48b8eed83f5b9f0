"""Artifacts: folders KIND/IDENTITY, which are complete once their manifest checksums.json is written, last of all.

    KIND/IDENTITY/checksums.json       the SHA-256 and the size of each file, by the path ATTEMPT/FILE
    KIND/IDENTITY/ATTEMPT/FILE         the files of one attempt to write the artifact

So if two runs write one artifact, the manifest that is created first decides, and files are never mixed. A folder
without a manifest is no artifact. A file that differs from it is damaged.
"""

import errno
import hashlib
import json
import os
import re
from pathlib import Path, PurePath
from typing import Any, NamedTuple

MANIFEST = "checksums.json"
FILE_NAME = re.compile(r"\w+/\w[\w.-]{0,99}")
Sums = dict[str, dict[str, Any]]  # ATTEMPT/FILE -> {"sha256": hex digits, "bytes": size}


class Name(NamedTuple):
    """The name of an artifact."""

    kind: str
    identity: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.identity}"


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


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically: a reader sees the old file or the new file."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes text atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def checksums(folder: Path, attempt: str) -> bytes:
    """The manifest of the files in a folder, which are those of an attempt."""
    sums = {
        f"{attempt}/{path.name}": {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    return json.dumps(sums, indent=1).encode()


def read_sums(manifest: bytes) -> Sums:
    """The checksums in a manifest. Raises ValueError if it holds something else."""
    try:
        read = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{MANIFEST} is not JSON ({len(manifest)} bytes)") from error
    try:
        sums = {str(name): {"sha256": str(sum["sha256"]), "bytes": int(sum["bytes"])} for name, sum in read.items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{MANIFEST} does not hold checksums") from error
    if not all(FILE_NAME.fullmatch(name) for name in sums) or len({PurePath(name).parent for name in sums}) > 1:
        raise ValueError(f"{MANIFEST} does not hold checksums of the files of one attempt")
    return sums


def attempt_of(sums: Sums) -> str:
    """The name of the attempt that wrote the files; empty if there are none."""
    return next(iter(sums), "").rpartition("/")[0]


def files_folder(artifact: Path) -> Path:
    """The folder of an artifact's files, KIND/IDENTITY/ATTEMPT; the folder itself if it is no artifact."""
    try:
        return artifact / attempt_of(read_sums((artifact / MANIFEST).read_bytes()))
    except (OSError, ValueError):
        return artifact


def find_faults(folder: Path, sums: Sums) -> list[str]:
    """Compares the files in an attempt's folder with their checksums: one text per fault, none if all are sound."""
    names = {PurePath(file).name: expected for file, expected in sums.items()}
    faults = {name: _fault(folder / name, **expected) for name, expected in names.items()}
    return [f"{name} {fault}" for name, fault in faults.items() if fault is not None]


def _fault(path: Path, sha256: str, bytes: int) -> str | None:
    try:
        if not path.is_file():  # a pipe would wait, a device has no end
            return "missing"
        if (size := path.stat().st_size) != bytes:
            return f"{'truncated' if size < bytes else 'too long'}: {size} bytes instead of {bytes}"
        return None if _sha256(path) == sha256 else "checksum differs"
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EIO):  # removed meanwhile, a bad disk
            raise
        return f"cannot be read: {error.strerror}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
