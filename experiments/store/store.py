"""The store of artifacts, a folder that runs and machines may share.

An artifact is complete or absent (see checksums.py for the layout), and it is verified when it is read. If two runs
write the same artifact, both succeed and one copy stays. A damaged artifact is reported, removed and computed again,
never used. Unfinished work lies in ROOT/tmp; what a kill leaves there is swept.
"""

import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from experiments.store.checksums import (
    MANIFEST,
    Name,
    Sums,
    attempt_of,
    checksums,
    files_folder,
    find_faults,
    read_json,
    read_sums,
    write_json,
    write_text,
)
from experiments.store.errors import StoreError, disk_errors
from experiments.store.listing import Artifact, artifact_of
from experiments.store.temporary import abandoned_folders, temporary_folder

__all__ = ["Store", "StoreError", "read_json", "write_json", "write_text"]

LOG = logging.getLogger(__name__)
PROBE = b"\0" * 2**16
URL = re.compile(r"(?:^|/)(?!file:)[a-z][a-z0-9+.-]+:/")  # also if Path has made one slash of two
Stamp = frozenset[tuple[str, int, int]]  # name, size and time of change of each file


class Store:
    """Artifacts by kind and identity.

    Args:
        root: a folder, made when the first artifact is written.

    Raises:
        StoreError: an empty text, or a URL.
    """

    def __init__(self, root: Path | str) -> None:
        text = str(root)
        if not text or "\0" in text or URL.search(text):
            advice = "; copy one that lies elsewhere to this machine, for example with `aws s3 sync`"
            raise StoreError(f"store={text!r}: it must be a folder{advice if URL.search(text) else ''}")
        self.root = Path(text).absolute()  # workers may have another working directory
        self._verified: dict[Name, Stamp] = {}
        self._made: set[Name] = set()
        self._reported: set[str] = set()

    def __str__(self) -> str:
        return str(self.root)

    def path(self, kind: str, identity: str) -> Path:
        """The folder of an artifact's files, verified. It may not exist.

        Raises:
            StoreError: the artifact was damaged, or the store cannot be read.
        """
        name = Name(kind, identity)
        if damage := self._look(name)[1]:
            raise StoreError(f"{damage}; run the same command again")
        return files_folder(self._folder(name))

    @contextmanager
    def reading(self, kind: str, identity: str) -> Iterator[Path]:
        """The folder of an artifact's files, as in `path`, to be read in the block.

        Raises:
            StoreError: also if what the artifact holds cannot be read or used. It is then damaged, and removed.
        """
        path = self.path(kind, identity)
        try:
            yield path
        except (SafetensorError, FileNotFoundError, KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" in str(error).lower():  # too little is no damage
                raise
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

    def made(self, kind: str, identity: str) -> bool:
        """Whether this object wrote the artifact, so that it is not what another process wrote first."""
        return Name(kind, identity) in self._made

    @contextmanager
    def writing(self, kind: str, identity: str) -> Iterator[Path]:
        """A temporary folder to fill; it becomes the artifact when the block ends without an exception.

        Raises:
            StoreError: it cannot be written: no space, no permission.
        """
        with self._explained(), temporary_folder(self.root, identity) as folder:
            yield folder
            self._publish(folder, Name(kind, identity), checksums(folder, attempt=uuid.uuid4().hex[:8]))

    def check_writable(self) -> None:
        """Raises StoreError if nothing can be written now. Call it before a long computation."""
        with self._explained(), temporary_folder(self.root, "probe") as folder:
            (folder / "probe").write_bytes(PROBE)

    def artifacts(self) -> list[Artifact]:
        """Every complete artifact, unverified, sorted by name."""
        with self._explained():
            found = (artifact_of(path) for path in sorted(self.root.glob(f"*/*/{MANIFEST}")))
            return [artifact for artifact in found if artifact is not None]

    def discard(self, kind: str, identity: str) -> None:
        """Removes an artifact, if it is there, whatever its state."""
        name = Name(kind, identity)
        with self._explained():
            self._remove(name, self._manifest(name))

    def sweep_temporaries(self) -> None:
        """Removes the temporary folders of killed runs."""
        for folder in abandoned_folders(self.root):
            shutil.rmtree(folder, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------------- reading

    def _folder(self, name: Name) -> Path:
        return self.root / name.kind / name.identity

    def _manifest(self, name: Name) -> bytes | None:
        """The text of an artifact's manifest; None if there is no such artifact."""
        try:
            return (self._folder(name) / MANIFEST).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _look(self, name: Name) -> tuple[bool, str]:
        """Whether the artifact can be used, and a report of its damage, empty if there is none."""
        with self._explained():
            stamp = self._stamp(name)
            if stamp is not None and self._verified.get(name) == stamp:
                return True, ""
            manifest = self._manifest(name)
            if manifest is None:
                return False, ""
            try:
                sums = read_sums(manifest)
                faults = find_faults(self._folder(name) / attempt_of(sums), sums)
            except ValueError as error:
                faults = [str(error)]
            if not faults:
                self._use(name)
                return True, ""
            if self._manifest(name) != manifest:
                return self._look(name)  # another process removed or replaced it meanwhile
            return False, self._drop(name, manifest, faults)

    def _stamp(self, name: Name) -> Stamp | None:
        """A value that changes when a file of an artifact changes; None if there is no such artifact."""
        try:
            with os.scandir(files_folder(self._folder(name))) as entries:
                return frozenset((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)
        except OSError:  # reading it will tell
            return None

    def _use(self, name: Name) -> None:
        """Remembers that an artifact is sound, and that it is used now."""
        with suppress(OSError):  # read-only
            os.utime(self._folder(name) / MANIFEST)
        if (stamp := self._stamp(name)) is not None:
            self._verified[name] = stamp

    # ------------------------------------------------------------------------------------------- writing and removing

    def _publish(self, folder: Path, name: Name, manifest: bytes) -> None:
        """Makes the files in a temporary folder the artifact, unless another run was first."""
        if self._manifest(name) is not None:
            return
        sums = read_sums(manifest)
        target = self._folder(name) / attempt_of(sums)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        if not self._create_manifest(name, manifest, target):
            self._remove_files(name, sums)
            return
        self._made.add(name)
        self._use(name)

    def _create_manifest(self, name: Name, manifest: bytes, folder: Path) -> bool:
        """Creates a manifest if there is none, at once and whole. Returns whether this attempt's manifest counts."""
        place, unlinked = self._folder(name) / MANIFEST, folder / f".{MANIFEST}"
        unlinked.write_bytes(manifest)
        try:
            place.hardlink_to(unlinked)
        except Exception:
            if (first := self._manifest(name)) is not None:
                return first == manifest
            unlinked.replace(place)  # no hard links there, or it fails again; the later manifest counts
        unlinked.unlink(missing_ok=True)
        return True

    def _remove(self, name: Name, manifest: bytes | None) -> None:
        """Removes the copy of an artifact that has this manifest."""
        self._made.discard(name)
        if manifest is not None and self._manifest(name) == manifest:
            (self._folder(name) / MANIFEST).unlink()  # first: from now on the artifact is absent
            with suppress(ValueError):  # no checksums in it: its files stay
                self._remove_files(name, read_sums(manifest))

    def _remove_files(self, name: Name, sums: Sums) -> None:
        """Removes the folder of an attempt. What cannot be removed stays, and counts for nothing."""
        if attempt := attempt_of(sums):
            shutil.rmtree(self._folder(name) / attempt, ignore_errors=True)
        with suppress(OSError):  # another attempt is in it
            self._folder(name).rmdir()

    def _drop(self, name: Name, manifest: bytes, faults: list[str]) -> str:
        """Reports and removes a damaged artifact. Returns the report."""
        report = f"store {self}: {name} is damaged: {', '.join(faults)}"
        try:
            self._remove(name, manifest)
            report += "; it was removed and will be computed again"
        except (OSError, StoreError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            report += f"; it cannot be removed ({why}) and is not used"
        if report not in self._reported:
            LOG.warning(report)
        self._reported.add(report)
        return report

    def _explained(self) -> AbstractContextManager[None]:
        return disk_errors(f"store {self}", "--store")
