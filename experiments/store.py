"""Where artifacts live: ROOT/KIND/IDENTITY/, complete or absent.

An artifact is a folder, written under a temporary name and then renamed, so that a killed run leaves no half artifact.
Two runs may race to the same one: both succeed and one copy stays.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Store:
    """A folder of content-addressed artifacts.

    Args:
        root: the folder; made when the first artifact is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, identity: str) -> Path:
        """Where the artifact is or would be."""
        return self.root / kind / identity

    def has(self, kind: str, identity: str) -> bool:
        """Whether the artifact is complete."""
        return self.path(kind, identity).is_dir()

    @contextmanager
    def writing(self, kind: str, identity: str) -> Iterator[Path]:
        """A temporary folder to fill; it becomes the artifact when the block ends without an exception."""
        target = self.path(kind, identity)
        temporary = self.root / "tmp" / f"{identity}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        temporary.mkdir(parents=True)
        try:
            yield temporary
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():  # else another run was first with the same result
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def sweep_temporaries(self) -> None:
        """Remove what killed runs left behind: temporary folders whose process is gone."""
        for folder in (self.root / "tmp").glob("*-*-*"):
            if not _alive(int(folder.name.split("-")[1])):
                shutil.rmtree(folder, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
