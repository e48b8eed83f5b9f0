"""The folder of what can be measured again: the timings of this machine."""

import os
from pathlib import Path


def cache_root() -> Path:
    """$SIGMABENCH_CACHE, else $XDG_CACHE_HOME/sigmabench, else ~/.cache/sigmabench."""
    if own := os.environ.get("SIGMABENCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sigmabench"
