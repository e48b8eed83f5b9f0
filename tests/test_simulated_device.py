"""The tests of devices, in a process of their own: from then on, torch has one more device in it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.release
def test_what_runs_on_a_card_runs_on_the_simulated_device():
    words = ["-m", "pytest", "tests/test_devices.py", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    ended = subprocess.run([sys.executable, *words], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert ended.returncode == 0 and " passed" in ended.stdout, ended.stdout[-4000:]
