"""The folder of what can be made or fetched again: timings of this machine, and copies from remote stores."""

import hashlib
import os
from pathlib import Path


def cache_root() -> Path:
    """$SIGMABENCH_CACHE, else $XDG_CACHE_HOME/sigmabench, else ~/.cache/sigmabench."""
    if own := os.environ.get("SIGMABENCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sigmabench"


def cache_folder(url: str) -> Path:
    """The local copies of a remote store's artifacts."""
    return cache_root() / f"store-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:12]}"
