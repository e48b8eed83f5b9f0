"""Runs code in a new process of Python, which has imported nothing yet."""

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def python(code: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """The ended process; it runs in the clone, and `how` is for `subprocess.run`."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, **how)
