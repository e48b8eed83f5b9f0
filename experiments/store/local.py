"""Artifacts in a local folder or on a shared filesystem: ROOT/KIND/IDENTITY/, complete or absent.

An artifact is filled under a temporary name in ROOT/tmp and then renamed, and it leaves by a rename into ROOT/tmp too,
so nobody ever sees half of one, whoever is killed when.
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

from experiments.store.checksums import MARKER, Artifact, Finding, Leftover, Name, inspect

ABANDONED = 24 * 3600  # seconds after which the unfinished work of another computer counts as left behind
PROBE = b"\0" * 2**16
Stamp = frozenset[tuple[str, int, int]]  # name, size and time of change of each file


class Folder:
    """A folder of artifacts.

    Args:
        root: the folder; made when the first artifact is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def path(self, name: Name) -> Path:
        """Where an artifact is or would be."""
        return self.root / name.kind / name.identity

    def marker(self, name: Name) -> bytes | None:
        """The text of an artifact's marker; None if there is no such artifact."""
        try:
            return (self.path(name) / MARKER).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def inspect(self, name: Name) -> Finding | None:
        """Compares an artifact's files with its checksums; None if there is no such artifact."""
        marker = self.marker(name)
        if marker is None:
            return None
        try:
            finding = inspect(marker, lambda file: (self.path(name) / file).open("rb"))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            finding = Finding(marker, [f"unreadable: {error}"])  # a bad disk
        if finding.faults and self.marker(name) != marker:
            return self.inspect(name)  # somebody removed or replaced it meanwhile
        return finding

    def fetch(self, name: Name) -> Finding | None:
        """As `inspect`: the files are here already."""
        return self.inspect(name)

    def stamp(self, name: Name) -> Stamp | None:
        """Something that changes when a file of the artifact does; None if there is no such artifact."""
        try:
            with os.scandir(self.path(name)) as entries:
                files = {entry.name: entry.stat() for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return None
        if MARKER not in files:
            return None
        return frozenset(
            (file, stat.st_size, 0 if file == MARKER else stat.st_mtime_ns)  # the marker's time tells the last use
            for file, stat in files.items()
        )

    def use(self, name: Name) -> None:
        """Notes that an artifact is used now, where the folder can be written."""
        with suppress(OSError):
            os.utime(self.path(name) / MARKER)

    def temporary(self, identity: str) -> Path:
        """A new folder to fill. Its name tells whose it is."""
        folder = self.root / "tmp" / f"{identity}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{socket.gethostname()}"
        folder.mkdir(parents=True)
        return folder

    def publish(self, folder: Path, name: Name) -> bool:
        """Makes a sealed folder the artifact, and says whether it did: False if another run was first."""
        target = self.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        while self.marker(name) is None:
            try:
                folder.rename(target)
                return True
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if self.marker(name) is None:  # else another run was first, a moment ago: readers may be at its copy
                    self.remove(name, None)  # without checksums it is none: an older layout
        return False

    def remove(self, name: Name, marker: bytes | None) -> None:
        """Removes the copy of an artifact that has this marker. If another copy has taken its place, that one stays."""
        try:
            aside = self.temporary(name.identity)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            (self.path(name) / MARKER).unlink(missing_ok=True)  # no room for another folder, and none for other copies
            shutil.rmtree(self.path(name), ignore_errors=True)
            return
        moved = aside / "removed"
        try:
            self.path(name).rename(moved)
            found = (moved / MARKER).read_bytes() if (moved / MARKER).exists() else None
            if found != marker:
                with suppress(OSError):  # a third copy is there already
                    moved.rename(self.path(name))
        except FileNotFoundError:
            pass  # somebody else removed it
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def artifacts(self) -> Iterator[Artifact]:
        """Every complete artifact, sorted by name."""
        for marker in sorted(self.root.glob(f"*/*/{MARKER}")):
            if marker.parts[-3] == "tmp":
                continue
            with suppress(FileNotFoundError):
                size = sum(file.stat().st_size for file in marker.parent.iterdir())
                yield Artifact(Name(*marker.parts[-3:-1]), size, marker.stat().st_mtime)

    def leftovers(self) -> Iterator[Leftover]:
        """Temporary folders whose process is gone."""
        for folder in sorted((self.root / "tmp").glob("*-*-*")):
            with suppress(FileNotFoundError):
                if _abandoned(folder):
                    files = [path for path in folder.rglob("*") if path.is_file()]
                    yield Leftover(str(folder), sum(file.stat().st_size for file in files))

    def remove_leftover(self, leftover: Leftover) -> None:
        shutil.rmtree(leftover.where, ignore_errors=True)

    def check_writable(self) -> None:
        """Raises OSError if nothing can be written now."""
        folder = self.temporary("probe")
        try:
            (folder / "probe").write_bytes(PROBE)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """Whether the process that made a temporary folder is gone. Another computer's is taken for gone after a day."""
    _, pid, _, *host = folder.name.split("-", 3)
    if host and host[0] != socket.gethostname():
        return time.time() - folder.stat().st_mtime > ABANDONED
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
