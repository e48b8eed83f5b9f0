"""What the tests of the store share: an artifact of two small files, and a disk without room."""

from pathlib import Path

from experiments.store.store import Store, write_json

CONTENT = bytes(range(256)) * 16


def put(store: Store, identity: str = "abc", kind: str = "models", content: bytes = CONTENT) -> Path:
    with store.writing(kind, identity) as folder:
        (folder / "file").write_bytes(content)
        write_json(folder / "meta.json", {"seconds": 1.5})
    return store.path(kind, identity)


def full(*arguments: object, **keywords: object) -> None:
    """What any write does on a full disk."""
    raise OSError(28, "No space left on device")
