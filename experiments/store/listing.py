"""What lies in a store: its complete artifacts."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.store.checksums import Name


@dataclass(frozen=True)
class Artifact:
    """A complete artifact in a listing."""

    name: Name
    size: int  # bytes
    used: float  # time of the last use, in seconds since 1970


def artifact_of(manifest: Path) -> Artifact | None:
    """The artifact that a manifest KIND/IDENTITY/checksums.json belongs to; None if it was removed meanwhile."""
    folder = manifest.parent
    with suppress(FileNotFoundError):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return Artifact(Name(folder.parent.name, folder.name), size, manifest.stat().st_mtime)
    return None
