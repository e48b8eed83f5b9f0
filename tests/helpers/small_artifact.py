"""What the tests of the store share: an artifact of two small files, processes, and a disk without room."""

import os
import subprocess
import sys
from pathlib import Path

from experiments.store.store import Store, write_json

CONTENT = bytes(range(256)) * 16


def put(store: Store, identity: str = "abc", kind: str = "models", content: bytes = CONTENT) -> Path:
    with store.writing(kind, identity) as folder:
        (folder / "file").write_bytes(content)
        write_json(folder / "meta.json", {"seconds": 1.5})
    return store.path(kind, identity)


def process(code: str, *arguments: str) -> subprocess.Popen[str]:
    """`python -c`, with warnings as errors. The store imports nothing that takes long."""
    line = [sys.executable, "-W", "error", "-c", code, *arguments]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(line, env=os.environ | path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def full(*arguments: object, **keywords: object) -> None:
    """What any write does on a full disk."""
    raise OSError(28, "No space left on device")
