"""The store of artifacts: a local folder or a bucket, chosen by --store.

ROOT/KIND/IDENTITY/ holds an artifact's files and checksums.json (see checksums.py). An artifact is complete or absent,
and it is verified when it is read. If two runs write the same artifact, both succeed and one copy stays. A damaged
artifact is reported, removed and computed again, never used.
"""

import errno
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError

from experiments.store.checksums import (
    Artifact,
    CheckResult,
    Name,
    StaleTemp,
    StoreError,
    read_json,
    write_checksums,
    write_json,
    write_text,
)
from experiments.store.local import LocalFolder, Stamp

__all__ = ["Store", "StoreError", "read_json", "write_json", "write_text"]

LOG = logging.getLogger(__name__)
CURES = {
    errno.ENOSPC: "no space left on device: free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
    errno.EFBIG: "a file is larger than this place allows: raise the limit or choose another place",
    errno.EROFS: "it is read-only: choose another place",
    errno.EACCES: "permission denied: change the permissions or choose another place",
    errno.EPERM: "permission denied: change the permissions or choose another place",
}


class StorageBackend(Protocol):
    """The interface of local.LocalFolder and remote.Bucket, which hold the artifacts."""

    def fetch(self, name: Name) -> CheckResult | None: ...
    def inspect(self, name: Name) -> CheckResult | None: ...
    def publish(self, folder: Path, name: Name) -> bool: ...
    def remove(self, name: Name, manifest: bytes | None) -> None: ...
    def manifest(self, name: Name) -> bytes | None: ...
    def artifacts(self) -> Iterable[Artifact]: ...
    def stale_temps(self) -> Iterable[StaleTemp]: ...
    def remove_stale_temp(self, stale: StaleTemp) -> None: ...
    def check_writable(self) -> None: ...


class Store:
    """Artifacts by kind and identity, in one folder or bucket.

    Args:
        root: a folder, made when the first artifact is written, or a URL that fsspec knows, such as s3://BUCKET/FOLDER.

    Attributes:
        root: the folder from which artifacts are read: the store itself, or the local cache of a remote store.

    Raises:
        StoreError: an empty text, a URL of an unknown kind, or the package for it is not installed.
    """

    def __init__(self, root: Path | str) -> None:
        self.backend: StorageBackend
        url = str(root)
        if not url or "\0" in url:
            raise StoreError(f"store={url!r}: it must be a folder or a URL")
        if "://" in url and not url.startswith("file://"):
            from experiments.store.remote import Bucket, cache_folder

            self._local = LocalFolder(cache_folder(url))
            self.backend = Bucket(url, self._local)
        else:
            self._local = self.backend = LocalFolder(
                Path(url.removeprefix("file://")).absolute()
            )  # workers may have another working directory
        self.root = self._local.root
        self._verified: dict[Name, Stamp] = {}
        self._reported: set[str] = set()

    def __str__(self) -> str:
        return str(self.backend)

    def path(self, kind: str, identity: str) -> Path:
        """The local folder of an artifact, verified and, from a remote store, fetched. The folder may not exist.

        Raises:
            StoreError: the artifact was damaged, or the store cannot be read.
        """
        name = Name(kind, identity)
        if damage := self._look(name)[1]:
            raise StoreError(f"{damage}; run the same command again")
        return self._local.path(name)

    @contextmanager
    def reading(self, kind: str, identity: str) -> Iterator[Path]:
        """The folder of an artifact, as in `path`, to be read in the block.

        Raises:
            StoreError: also if what the artifact holds cannot be read or used. It is then damaged, and removed.
        """
        path = self.path(kind, identity)
        try:
            yield path
        except (SafetensorError, FileNotFoundError, KeyError, TypeError, ValueError, RuntimeError) as error:
            self.discard(kind, identity)
            raise StoreError(
                f"store {self}: {kind}/{identity} is damaged: {type(error).__name__}: {error}; it was removed, so run "
                "the same command again"
            ) from error

    def has(self, kind: str, identity: str) -> bool:
        """Whether the artifact is complete and sound. A damaged artifact is reported and removed.

        Checksums are compared when this process first sees an artifact, and again when a file of it has changed.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._look(Name(kind, identity))[0]

    def _look(self, name: Name) -> tuple[bool, str]:
        """Whether the artifact can be used, and a report of its damage, empty if there is none."""
        with self._explained():
            stamp = self._local.stamp(name)
            if stamp is not None and self._verified.get(name) == stamp:
                return True, ""
            result = self.backend.fetch(name)
            if result is None:
                return False, ""
            if result.faults:
                return False, self._drop(name, result)
            self._local.use(name)
            self._remember(name)
            return True, ""

    def _drop(self, name: Name, result: CheckResult) -> str:
        """Reports and removes a damaged artifact. Returns the report."""
        report = f"store {self}: {name} is damaged: {', '.join(result.faults)}"
        try:
            self.backend.remove(name, result.manifest)
            report += "; it was removed and will be computed again"
        except (OSError, StoreError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            report += f"; it cannot be removed ({why}) and is not used"
        if report not in self._reported:
            LOG.warning(report)
        self._reported.add(report)
        return report

    def _remember(self, name: Name) -> None:
        stamp = self._local.stamp(name)
        if stamp is not None:
            self._verified[name] = stamp

    @contextmanager
    def writing(self, kind: str, identity: str) -> Iterator[Path]:
        """A temporary folder to fill; it becomes the artifact when the block ends without an exception.

        Raises:
            StoreError: it cannot be written: no space, no permission, no connection.
        """
        name = Name(kind, identity)
        with self._explained():
            temporary = self._local.temporary(identity)
            try:
                yield temporary
                write_checksums(temporary)
                if self.backend.publish(temporary, name):
                    self._remember(name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def check_writable(self) -> None:
        """Raises StoreError if nothing can be written now. Call it before a long computation."""
        with self._explained():
            try:
                self.backend.check_writable()
            except OSError as error:
                if error.errno in CURES:
                    raise
                why = error.strerror or error
                raise StoreError(f"store {self}: nothing can be written there: {why}; choose another place") from error

    def artifacts(self) -> list[Artifact]:
        """Every complete artifact, unverified."""
        with self._explained():
            return list(self.backend.artifacts())

    def faults(self, artifact: Artifact) -> list[str]:
        """The faults of an artifact, read again from the folder or bucket; empty if it is gone."""
        with self._explained():
            result = self.backend.inspect(artifact.name)
            return result.faults if result else []

    def remove(self, artifact: Artifact) -> None:
        """Removes an artifact, whatever its state."""
        self.discard(*artifact.name)

    def discard(self, kind: str, identity: str) -> None:
        """Removes an artifact by its name, if it is there."""
        name = Name(kind, identity)
        with self._explained():
            self.backend.remove(name, self.backend.manifest(name))

    def stale_temps(self) -> list[StaleTemp]:
        """Temporary files of killed writers."""
        with self._explained():
            return list(self.backend.stale_temps())

    def remove_stale_temp(self, stale: StaleTemp) -> None:
        with self._explained():
            self.backend.remove_stale_temp(stale)

    def sweep_temporaries(self) -> None:
        """Removes the temporary folders of killed runs on this computer."""
        for stale in self._local.stale_temps():
            self._local.remove_stale_temp(stale)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns errors such as a full disk into a StoreError that says what to do. Other errors pass through."""
        try:
            yield
        except Exception as error:
            cure = CURES.get(_errno(error) or 0)
            if cure is None or isinstance(error, StoreError):
                raise
            where = f"store {self}" if self._local is self.backend else f"store {self}, its cache {self.root}"
            setting = "(--store)" if self._local is self.backend else "(SIGMABENCH_CACHE)"
            raise StoreError(f"{where}: {cure} {setting}; what is finished is kept") from error


def _errno(error: Exception) -> int | None:
    """The errno of an error. Errors of safetensors have it only in their message."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
