"""The store of artifacts: a local folder, or whatever fsspec reaches by a URL, read through a local cache.

The layout is the same everywhere (see checksums.py). An artifact is complete or absent, and it is verified when it is
read. If two runs write the same artifact, both succeed and one copy stays. A damaged artifact is reported, removed and
computed again, never used. Unfinished work lies in ROOT/tmp on this computer; what a kill leaves there is swept.
"""

import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError

from experiments.store.cache import cache_folder
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
from experiments.store.errors import StoreError, connection_errors, disk_errors
from experiments.store.listing import Artifact, Files, Leftover, artifact_of, leftovers_of, list_files, several_attempts
from experiments.store.temporary import abandoned_folders, temporary_folder

__all__ = ["Store", "StoreError", "read_json", "write_json", "write_text"]

LOG = logging.getLogger(__name__)
PROBE = b"\0" * 2**16
PACKAGES = "s3:// needs pip install -e '.[remote]', gs:// needs gcsfs, az:// needs adlfs"
Stamp = frozenset[tuple[str, int, int]]  # name, size and time of change of each file


class Store:
    """Artifacts by kind and identity.

    Args:
        root: a folder, made when the first artifact is written, or a URL that fsspec knows, such as s3://BUCKET/FOLDER.
            Its packages find credentials and endpoint in their usual places.

    Attributes:
        root: the folder from which artifacts are read: the store itself, or the local cache of a remote store.
        cache: the cache of a remote store, else None.

    Raises:
        StoreError: an empty text, a URL of an unknown kind, or the package for it is not installed.
    """

    def __init__(self, root: Path | str) -> None:
        url = str(root)
        if not url or "\0" in url:
            raise StoreError(f"store={url!r}: it must be a folder or a URL")
        self.root: Path
        self.cache: Store | None = None
        self.files: Any
        if "://" in url and not url.startswith("file://"):
            self.shown = re.sub(r"//[^/]*@", "//", url.rstrip("/"))  # without a password
            try:
                self.files, self.base = url_to_fs(url.rstrip("/"), use_listings_cache=False)  # others write there too
            except (ImportError, ValueError) as error:  # its package is missing; an unknown protocol
                raise StoreError(f"store {self.shown}: {error}; {PACKAGES}") from error
            self.cache = Store(cache_folder(url))
            self.root = self.cache.root
        else:
            self.root = Path(url.removeprefix("file://")).absolute()  # workers may have another working directory
            self.files, self.base = LocalFileSystem(), str(self.root)
            self.shown = self.base
        self._verified: dict[Name, Stamp] = {}
        self._made: set[Name] = set()
        self._reported: set[str] = set()

    def __str__(self) -> str:
        return self.shown

    def path(self, kind: str, identity: str) -> Path:
        """The local folder of an artifact's files, verified and, from a remote store, fetched. It may not exist.

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
            StoreError: it cannot be written: no space, no permission, no connection.
        """
        with self._explained(), temporary_folder(self.root, identity) as folder:
            yield folder
            self._publish(folder, Name(kind, identity), checksums(folder, attempt=uuid.uuid4().hex[:8]))

    def check_writable(self) -> None:
        """Raises StoreError if nothing can be written now. Call it before a long computation."""
        with self._explained():
            with temporary_folder(self.root, "probe") as folder:
                (folder / "probe").write_bytes(PROBE)
            if self.cache is not None:
                probe = f"{self.base}/tmp/probe/{uuid.uuid4().hex[:8]}/probe"
                with self._reached():
                    self.files.pipe_file(probe, PROBE)
                    self.files.rm_file(probe)

    def artifacts(self) -> list[Artifact]:
        """Every complete artifact, unverified, sorted by name. Reading counts as use in a folder, not behind a URL."""
        artifacts = (artifact_of(name, files) for name, files in self._listing().items())
        return [artifact for artifact in artifacts if artifact is not None]

    def discard(self, kind: str, identity: str) -> None:
        """Removes an artifact, if it is there, whatever its state."""
        name = Name(kind, identity)
        with self._explained():
            self._remove(name, self._manifest(name))

    def leftovers(self) -> list[Leftover]:
        """Temporary folders of killed writers, and files of attempts, at least a day old, that no manifest names."""
        leftovers = list(abandoned_folders(self.root))
        for name, files in self._listing().items():
            if several_attempts(files):
                leftovers += leftovers_of(name, files, self._manifest(name))
        return leftovers

    def remove_leftover(self, leftover: Leftover) -> None:
        with self._explained(), self._reached():
            if leftover.temporary:
                shutil.rmtree(leftover.where, ignore_errors=True)
            else:
                self.files.rm_file(f"{self.base}/{leftover.where}")

    def sweep_temporaries(self) -> None:
        """Removes the temporary folders of killed runs on this computer."""
        for leftover in abandoned_folders(self.root):
            self.remove_leftover(leftover)

    # ------------------------------------------------------------------------------------------------------- reading

    def _folder(self, name: Name) -> Path:
        return self.root / name.kind / name.identity

    def _place(self, name: Name, file: str) -> str:
        return f"{self.base}/{name.kind}/{name.identity}/{file}"

    def _manifest(self, name: Name) -> bytes | None:
        """The text of an artifact's manifest; None if there is no such artifact."""
        with self._reached():
            try:
                text: bytes = self.files.cat_file(self._place(name, MANIFEST))
            except (FileNotFoundError, NotADirectoryError):
                return None
            return text

    def _look(self, name: Name) -> tuple[bool, str]:
        """Whether the artifact can be used, and a report of its damage, empty if there is none."""
        local = self.cache or self
        with self._explained():
            stamp = local._stamp(name)
            if stamp is not None and local._verified.get(name) == stamp:
                return True, ""
            manifest = self._manifest(name)
            if manifest is None:
                return False, ""
            try:
                sums = read_sums(manifest)
                faults = local._faults(name, sums) if local is self else self._fetch(name, manifest, sums)
            except ValueError as error:
                faults = [str(error)]
            if not faults:
                local._use(name)
                return True, ""
            if self._manifest(name) != manifest:
                return self._look(name)  # another process removed or replaced it meanwhile
            return False, self._drop(name, manifest, faults)

    def _fetch(self, name: Name, manifest: bytes, sums: Sums) -> list[str]:
        """Copies an artifact into the cache, unless this copy is there already. Returns its faults."""
        assert self.cache is not None
        cached = self.cache._manifest(name)
        if cached == manifest:
            faults = self.cache._faults(name, sums)
            if not faults:
                return []
            LOG.warning(f"cache {self.cache}: {name} is damaged: {', '.join(faults)}; it is fetched again")
        self.cache._remove(name, cached)
        for _ in range(2):  # a fault of the connection must not remove a sound artifact
            with temporary_folder(self.root, name.identity) as folder:
                for file in sums:
                    with self._reached(), suppress(FileNotFoundError):
                        self.files.get_file(self._place(name, file), str(folder / PurePosixPath(file).name))
                faults = find_faults(folder, sums)
                if not faults:
                    self.cache._publish(folder, name, manifest)
                    break
        return faults

    def _faults(self, name: Name, sums: Sums) -> list[str]:
        return find_faults(self._folder(name) / attempt_of(sums), sums)

    def _stamp(self, name: Name) -> Stamp | None:
        """A value that changes when a file of a local artifact changes; None if there is no such artifact."""
        try:
            with os.scandir(files_folder(self._folder(name))) as entries:
                return frozenset((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)
        except OSError:  # reading it will tell
            return None

    def _use(self, name: Name) -> None:
        """Remembers that a local artifact is sound, and that it is used now."""
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
        if self.cache is None:
            folder = self._move(folder, self._folder(name) / attempt_of(sums))
        else:
            for file in sums:
                with self._reached():
                    self.files.put_file(str(folder / PurePosixPath(file).name), self._place(name, file))
        if not self._create_manifest(name, manifest, folder):
            self._remove_files(name, sums)
            return
        self._made.add(name)
        if self.cache is None:
            self._use(name)
        else:
            self.cache.discard(*name)  # it belongs to a copy that is gone from the store
            self.cache._publish(folder, name, manifest)

    @staticmethod
    def _move(folder: Path, target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            for file in folder.iterdir():  # in the cache, where another process has fetched the same copy
                file.replace(target / file.name)
        return target

    def _create_manifest(self, name: Name, manifest: bytes, folder: Path) -> bool:
        """Creates a manifest if there is none, at once and whole. Returns whether this attempt's manifest counts."""
        place, unlinked = self._place(name, MANIFEST), folder / f".{MANIFEST}"
        if self.cache is None:
            unlinked.write_bytes(manifest)
        with self._reached():
            try:
                if self.cache is None:
                    Path(place).hardlink_to(unlinked)
                else:
                    self.files.pipe_file(place, manifest, mode="create")
            except Exception:
                if (first := self._manifest(name)) is not None:
                    return first == manifest
                if self.cache is None:  # no hard links there, or it fails again; the later manifest counts
                    unlinked.replace(place)
                else:
                    self.files.pipe_file(place, manifest)
            unlinked.unlink(missing_ok=True)
        return True

    def _remove(self, name: Name, manifest: bytes | None) -> None:
        """Removes the copy of an artifact that has this manifest, and the cached copy."""
        self._made.discard(name)
        if manifest is not None and self._manifest(name) == manifest:
            with self._reached():
                self.files.rm_file(self._place(name, MANIFEST))  # first: from now on the artifact is absent
            with suppress(ValueError):  # no checksums in it: its files stay as leftovers
                self._remove_files(name, read_sums(manifest))
        if self.cache is not None:
            self.cache.discard(*name)

    def _remove_files(self, name: Name, sums: Sums) -> None:
        """Removes the folder of an attempt. What cannot be removed stays as a leftover."""
        with self._reached(), suppress(OSError):
            self.files.rm(self._place(name, attempt_of(sums)), recursive=True)
        if self.cache is None:
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

    # --------------------------------------------------------------------------------------------- listing and errors

    def _listing(self) -> dict[Name, Files]:
        with self._explained(), self._reached():
            listing = list_files(self.files, self.base)
        return {name: files for name, files in listing.items() if self.cache is not None or name.kind != "tmp"}

    def _reached(self) -> AbstractContextManager[None]:
        return nullcontext() if self.cache is None else connection_errors(f"store {self}")

    def _explained(self) -> AbstractContextManager[None]:
        if self.cache is None:
            return disk_errors(f"store {self}", "--store")
        return disk_errors(f"store {self}, its cache {self.root}", "SIGMABENCH_CACHE")
