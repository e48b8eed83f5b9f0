"""Where artifacts live: a local folder or a bucket, chosen by --store; verified on reading, complete or absent.

ROOT/KIND/IDENTITY/ holds an artifact's files and checksums.json (see checksums.py). Two runs may race to the same one:
both succeed and one copy stays. What is damaged is reported, removed and computed again, never used.
"""

import errno
import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from experiments.store.checksums import Artifact, Finding, Leftover, Name, StoreError, seal, write_json, write_text
from experiments.store.local import Folder, Stamp

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


class Place(Protocol):
    """What holds the artifacts: local.Folder or remote.Bucket."""

    def fetch(self, name: Name) -> Finding | None: ...
    def inspect(self, name: Name) -> Finding | None: ...
    def publish(self, folder: Path, name: Name) -> bool: ...
    def remove(self, name: Name, marker: bytes | None) -> None: ...
    def marker(self, name: Name) -> bytes | None: ...
    def artifacts(self) -> Iterable[Artifact]: ...
    def leftovers(self) -> Iterable[Leftover]: ...
    def remove_leftover(self, leftover: Leftover) -> None: ...
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
        self.place: Place
        url = str(root)
        if "://" in url and not url.startswith("file://"):
            from experiments.store.remote import Bucket, cache_folder

            self._local = Folder(cache_folder(url))
            self.place = Bucket(url, self._local)
        else:
            self._local = self.place = Folder(
                Path(url.removeprefix("file://")).absolute()
            )  # workers may stand elsewhere
        self.root = self._local.root
        self._verified: dict[Name, Stamp] = {}
        self._reported: set[str] = set()

    def __str__(self) -> str:
        return str(self.place)

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
            finding = self.place.fetch(name)
            if finding is None:
                return False, ""
            if finding.faults:
                return False, self._drop(name, finding)
            self._local.use(name)
            self._remember(name)
            return True, ""

    def _drop(self, name: Name, finding: Finding) -> str:
        """Reports and removes a damaged artifact. Returns the report."""
        report = f"store {self}: {name} is damaged: {', '.join(finding.faults)}"
        try:
            self.place.remove(name, finding.marker)
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
                seal(temporary)
                if self.place.publish(temporary, name):
                    self._remember(name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def check_writable(self) -> None:
        """Raises StoreError if nothing can be written now: to be asked before a long computation, not after it."""
        with self._explained():
            self.place.check_writable()

    def artifacts(self) -> list[Artifact]:
        """Every complete artifact, unverified."""
        with self._explained():
            return list(self.place.artifacts())

    def faults(self, artifact: Artifact) -> list[str]:
        """What is wrong with an artifact in its place, read anew; nothing if it is gone."""
        with self._explained():
            finding = self.place.inspect(artifact.name)
            return finding.faults if finding else []

    def remove(self, artifact: Artifact) -> None:
        """Removes an artifact, whatever its state."""
        self.discard(*artifact.name)

    def discard(self, kind: str, identity: str) -> None:
        """Removes an artifact of which only the name is known, if it is there."""
        name = Name(kind, identity)
        with self._explained():
            self.place.remove(name, self.place.marker(name))

    def leftovers(self) -> list[Leftover]:
        """What killed writers left behind."""
        with self._explained():
            return list(self.place.leftovers())

    def remove_leftover(self, leftover: Leftover) -> None:
        with self._explained():
            self.place.remove_leftover(leftover)

    def sweep_temporaries(self) -> None:
        """Removes what killed runs left behind on this computer: temporary folders whose process is gone."""
        for leftover in self._local.leftovers():
            self._local.remove_leftover(leftover)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns errors of the place into a StoreError that says what to do; leaves all others alone."""
        try:
            yield
        except Exception as error:
            cure = CURES.get(_errno(error) or 0)
            if cure is None or isinstance(error, StoreError):
                raise
            where = f"store {self}" if self._local is self.place else f"store {self}, its cache {self.root}"
            setting = "(--store)" if self._local is self.place else "(SIGMABENCH_CACHE)"
            raise StoreError(f"{where}: {cure} {setting}; what is finished is kept") from error


def _errno(error: Exception) -> int | None:
    """The number of an operating system's error; safetensors has it in its message only."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
