"""Artifacts in a local folder or on a shared filesystem: ROOT/KIND/IDENTITY/, complete or absent.

An artifact is written under a temporary name in ROOT/tmp and then renamed. It is removed by a rename into ROOT/tmp. So
readers never see a partial artifact, even if a process is killed.
"""

import errno
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from experiments.store.checksums import (
    MANIFEST,
    NO_FILE,
    Artifact,
    CheckResult,
    Name,
    StaleTemp,
    inspect,
    open_file,
)

ABANDONED = 24 * 3600  # seconds after which unfinished work of another computer counts as abandoned
PROBE = b"\0" * 2**16
Stamp = frozenset[tuple[str, int, int]]  # name, size and time of change of each file


class LocalFolder:
    """A folder of artifacts.

    Args:
        root: the folder; made when the first artifact is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def path(self, name: Name) -> Path:
        """The folder of an artifact, which may not exist."""
        return self.root / name.kind / name.identity

    def manifest(self, name: Name) -> bytes | None:
        """The text of an artifact's manifest; None if there is no such artifact."""
        return _read_manifest(self.path(name))

    def inspect(self, name: Name) -> CheckResult | None:
        """Compares an artifact's files with its checksums; None if there is no such artifact."""
        manifest = self.manifest(name)
        if manifest is None:
            return None
        try:
            result = inspect(manifest, lambda file: open_file(self.path(name) / file))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            result = CheckResult(manifest, [f"unreadable: {error}"])  # a bad disk
        if result.faults and self.manifest(name) != manifest:
            return self.inspect(name)  # another process removed or replaced it meanwhile
        return result

    def fetch(self, name: Name) -> CheckResult | None:
        """Same as `inspect`, because the files are local."""
        return self.inspect(name)

    def stamp(self, name: Name) -> Stamp | None:
        """A value that changes when a file of the artifact changes; None if there is no such artifact."""
        try:
            with os.scandir(self.path(name)) as entries:
                files = {entry.name: entry.stat() for entry in entries}
        except OSError as error:
            if error.errno not in (errno.ENOENT, *NO_FILE):
                raise
            return None
        if MANIFEST not in files:
            return None
        return frozenset(
            (file, stat.st_size, 0 if file == MANIFEST else stat.st_mtime_ns)  # the manifest's time is the last use
            for file, stat in files.items()
        )

    def use(self, name: Name) -> None:
        """Records that an artifact is used now, if the folder can be written."""
        with suppress(OSError):
            os.utime(self.path(name) / MANIFEST)

    def temporary(self, identity: str) -> Path:
        """A new temporary folder. Its name has the process and the computer."""
        folder = self.root / "tmp" / f"{identity}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{socket.gethostname()}"
        folder.mkdir(parents=True)
        return folder

    def publish(self, folder: Path, name: Name) -> bool:
        """Makes a folder with checksums the artifact. Returns False if another run was first."""
        target = self.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        while self.manifest(name) is None:
            try:
                folder.rename(target)
                return True
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if self.manifest(name) is None:  # else another run was first, and readers may use its copy
                    self.remove(name, None)  # no artifact, since it has no checksums: an older layout
        return False

    def remove(self, name: Name, manifest: bytes | None) -> None:
        """Removes the copy of an artifact that has this manifest. If another copy has replaced it, that copy stays."""
        try:
            aside = self.temporary(name.identity)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            (self.path(name) / MANIFEST).unlink(
                missing_ok=True
            )  # no space for a temporary folder, so nobody can write another copy
            shutil.rmtree(self.path(name), ignore_errors=True)
            return
        moved = aside / "removed"
        try:
            self.path(name).rename(moved)
            if _read_manifest(moved) != manifest:
                with suppress(OSError):  # a third copy is there already
                    moved.rename(self.path(name))
        except FileNotFoundError:
            pass  # another process removed it
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def artifacts(self) -> Iterator[Artifact]:
        """Every complete artifact, sorted by name."""
        for manifest in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            if manifest.parts[-3] == "tmp":
                continue
            with suppress(FileNotFoundError):
                size = sum(file.lstat().st_size for file in manifest.parent.iterdir())
                yield Artifact(Name(*manifest.parts[-3:-1]), size, manifest.lstat().st_mtime)

    def stale_temps(self) -> Iterator[StaleTemp]:
        """Temporary folders whose process has ended."""
        for folder in sorted((self.root / "tmp").glob("*-*-*")):
            with suppress(FileNotFoundError):
                if _abandoned(folder):
                    files = [path for path in folder.rglob("*") if path.is_file()]
                    yield StaleTemp(str(folder), sum(file.stat().st_size for file in files))

    def remove_stale_temp(self, stale: StaleTemp) -> None:
        shutil.rmtree(stale.where, ignore_errors=True)

    def check_writable(self) -> None:
        """Raises OSError if nothing can be written now."""
        folder = self.temporary("probe")
        try:
            (folder / "probe").write_bytes(PROBE)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _read_manifest(folder: Path) -> bytes | None:
    """The text of the manifest in a folder; None if there is none. What is no file reads as an empty text."""
    try:
        with open_file(folder / MANIFEST) as file:
            return file.read()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        if error.errno in NO_FILE:
            return b""
        raise


def _abandoned(folder: Path) -> bool:
    """Whether the process that made a temporary folder has ended; for another computer: whether it is a day old."""
    _, pid, _, *host = folder.name.split("-", 3)
    if not pid.isdecimal() or len(pid) > 9:  # not made by a store
        return False
    if host and host[0] != socket.gethostname():
        return time.time() - folder.stat().st_mtime > ABANDONED
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
