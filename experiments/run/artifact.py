"""One file of the cache: its tensors, and in its header facts, the whole config and a checksum of all that.

It is written aside under a lock and renamed, so it is there whole or not at all.
"""

import errno
import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor, contiguous_format

from experiments.own.user_code import told
from experiments.run.identity import plain_json

Tensors = Mapping[str, Tensor]


class Busy(Exception):
    """Another process makes this file at the moment."""


class CacheError(ValueError):
    """The cache cannot be read or written. The message names the file and says what to do."""


@dataclass(frozen=True)
class Artifact:
    """A file in the cache.

    Args:
        facts: what is known about it, such as counted evaluations, and when it was finished.
        sources: the checksums of the tensors of the files that it was made from.
        sum: the checksum of its tensors. Facts are apart from it: seconds and dates may differ, results not.
        stamp: tells whether the file is still the same.
    """

    path: Path
    facts: Mapping[str, Any]
    sources: tuple[str, ...]
    sum: str
    stamp: tuple[int, ...]

    @property
    def tensors(self) -> dict[str, Tensor]:
        return tensors_of(self.path, self.sum)


def tensors_of(path: Path, checksum: str) -> dict[str, Tensor]:
    """The tensors of a file. Busy if it does not have this checksum any more: another process makes it again."""
    whole = content_of(path)
    try:
        if whole is None or opened(whole)[1] != checksum:
            raise Busy(path)
    except ValueError:
        raise Busy(path) from None
    return load(whole)


def stored(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. ValueError if it is missing or damaged."""
    if (whole := content_of(path)) is None:
        raise ValueError(f"{path}: there is no such file")
    try:
        opened(whole)
    except ValueError as error:
        raise ValueError(f"{path}: it is damaged ({error}); give its command again") from None
    return load(whole)


def content_of(path: Path) -> bytes | None:
    """The content of a file, None if there is none. ValueError if something else is in its place, such as a pipe."""
    with disk_errors(path):
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise CacheError(f"{path}: this is no file; remove it, or choose another cache")
            return path.read_bytes()
        except FileNotFoundError:
            return None


def stamp_of(path: Path) -> tuple[int, ...]:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return ()


def opened(whole: bytes) -> tuple[dict[str, str], str]:
    """The metadata of a file, and the checksum of its tensors. ValueError if it is damaged."""
    try:
        index, content = _indexed(whole)
        metadata = index["__metadata__"]
        if metadata["seal"] != _seal(content, metadata):
            raise ValueError("its checksum differs")
        return metadata, content
    except (struct.error, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(told(error)) from None


def _indexed(whole: bytes) -> tuple[dict[str, Any], str]:
    """The header of a file, and the checksum of its tensors with their names, types and shapes."""
    (length,) = struct.unpack_from("<Q", whole)
    header = json.loads(whole[8 : 8 + length])
    content = hashlib.sha256(
        plain_json({name: each for name, each in header.items() if name != "__metadata__"}).encode()
    )
    content.update(memoryview(whole)[8 + length :])
    return header, content.hexdigest()


def _seal(content: str, metadata: Mapping[str, str]) -> str:
    """The checksum of a whole file."""
    parts = [content, *(metadata[name] for name in ("config", "facts", "sources"))]
    return hashlib.sha256(plain_json(parts).encode()).hexdigest()


def sealed(tensors: Tensors, facts: Mapping[str, Any], config: str, sources: Sequence[str]) -> list[bytes]:
    """The content of a file. ValueError for facts that are not JSON, such as NaN."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({**facts, "finished_at": now}, allow_nan=False)
    metadata = {"facts": text, "config": config, "sources": json.dumps(list(sources))}
    own = {name: each.detach().cpu().clone(memory_format=contiguous_format) for name, each in tensors.items()}
    whole = save(own)
    index, content = _indexed(whole)
    header = json.dumps({"__metadata__": metadata | {"seal": _seal(content, metadata)}} | index).encode()
    header += b" " * (-len(header) % 8)
    return [struct.pack("<Q", len(header)), header, whole[8 + struct.unpack_from("<Q", whole)[0] :]]


def header_of(path: Path) -> tuple[Any, Mapping[str, Any]]:
    """The config and the facts in a file's header; nothing if it is damaged."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            metadata = json.loads(file.read(min(length, path.stat().st_size)))["__metadata__"]
        return json.loads(metadata["config"])["config"], json.loads(metadata["facts"])
    except (OSError, struct.error, LookupError, TypeError, ValueError):
        return None, {}


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Holds the lock of a file; Busy if another process does. A killed process holds none.

    Yields where to write the file aside: only the holder writes there. Without locks it is a place of this process.
    """
    lock, aside = path.with_suffix(".lock"), path.with_suffix(".part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino != lock.stat().st_ino:  # removed by its holder since it was opened
                raise Busy(path)
        except (BlockingIOError, FileNotFoundError):
            raise Busy(path) from None
        except OSError:  # this file system has no locks
            aside = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}.part")
        try:
            yield aside
        finally:
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


CURES = {
    errno.ENOSPC: "no space left on device: free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
    errno.EFBIG: "a file is larger than this place allows: raise the limit or choose another place",
    errno.EROFS: "it is read-only: choose another place",
    errno.EACCES: "permission denied: change the permissions or choose another place",
    errno.EPERM: "permission denied: change the permissions or choose another place",
    errno.ENOTDIR: "a part of this path is no folder: choose another place",
    errno.EEXIST: "a part of this path is no folder: choose another place",
    errno.EISDIR: "this is a folder: remove it, or choose another place",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns errors such as a full disk into a CacheError that says what to do. Other errors pass through."""
    try:
        yield
    except OSError as error:
        if (cure := CURES.get(error.errno or 0)) is None:
            raise
        raise CacheError(f"{error.filename or path}: {cure}") from error
