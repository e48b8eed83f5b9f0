"""Where artifacts live: a local folder or a bucket, chosen by --store; verified on reading, complete or absent.

ROOT/KIND/IDENTITY/ holds an artifact's files and checksums.json (see checksums.py). Two runs may race to the same one:
both succeed and one copy stays. What is damaged is reported, removed and computed again, never used.
"""

import errno
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

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
    """What holds the artifacts: local.LocalFolder or remote.Bucket."""

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
    """Content-addressed artifacts in one place.

    Args:
        root: a folder, made when the first artifact is written, or a URL that fsspec knows, such as s3://BUCKET/FOLDER.

    Attributes:
        root: the folder in which artifacts are read: the store itself, or the local cache of a remote one.

    Raises:
        StoreError: a URL of an unknown kind, or one whose package is not installed.
    """

    def __init__(self, root: Path | str) -> None:
        self.backend: StorageBackend
        url = str(root)
        if "://" in url and not url.startswith("file://"):
            from experiments.store.remote import Bucket, cache_folder

            self._local = LocalFolder(cache_folder(url))
            self.backend = Bucket(url, self._local)
        else:
            self._local = self.backend = LocalFolder(
                Path(url.removeprefix("file://")).absolute()
            )  # workers may stand elsewhere
        self.root = self._local.root
        self._verified: dict[Name, Stamp] = {}
        self._reported: set[str] = set()

    def __str__(self) -> str:
        return str(self.backend)

    def path(self, kind: str, identity: str) -> Path:
        """The local folder of an artifact, verified and, from a remote store, fetched; or where it would be.

        Raises:
            StoreError: the artifact was damaged, or the store cannot be read.
        """
        name = Name(kind, identity)
        if damage := self._look(name)[1]:
            raise StoreError(f"{damage}; run the same command again")
        return self._local.path(name)

    def has(self, kind: str, identity: str) -> bool:
        """Whether the artifact is complete and sound. A damaged one is reported and removed: then it is absent.

        Checksums are compared when this process first sees an artifact, and again when a file of it has changed.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._look(Name(kind, identity))[0]

    def _look(self, name: Name) -> tuple[bool, str]:
        """Whether the artifact can be used, and what was wrong with it, if anything."""
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
        """Raises StoreError if nothing can be written now: to be asked before a long computation, not after it."""
        with self._explained():
            self.backend.check_writable()

    def artifacts(self) -> list[Artifact]:
        """Every complete artifact, unverified."""
        with self._explained():
            return list(self.backend.artifacts())

    def faults(self, artifact: Artifact) -> list[str]:
        """What is wrong with an artifact in its place, read anew; nothing if it is gone."""
        with self._explained():
            result = self.backend.inspect(artifact.name)
            return result.faults if result else []

    def remove(self, artifact: Artifact) -> None:
        """Removes an artifact, whatever its state."""
        self.discard(*artifact.name)

    def discard(self, kind: str, identity: str) -> None:
        """Removes an artifact of which only the name is known, if it is there."""
        name = Name(kind, identity)
        with self._explained():
            self.backend.remove(name, self.backend.manifest(name))

    def stale_temps(self) -> list[StaleTemp]:
        """What killed writers left behind."""
        with self._explained():
            return list(self.backend.stale_temps())

    def remove_stale_temp(self, stale: StaleTemp) -> None:
        with self._explained():
            self.backend.remove_stale_temp(stale)

    def sweep_temporaries(self) -> None:
        """Removes what killed runs left behind on this computer: temporary folders whose process is gone."""
        for stale in self._local.stale_temps():
            self._local.remove_stale_temp(stale)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns errors of the place into a StoreError that says what to do; leaves all others alone."""
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
    """The number of an operating system's error; safetensors has it in its message only."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
