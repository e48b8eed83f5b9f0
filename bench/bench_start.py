"""Seconds until a command answers: its help, a wrong option, and the quickstart when all is stored."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [("--help", 0), ("--network smal", 2), ("--preset smoke", 0)],
    ids=["help", "wrong option", "second quickstart"],
)
def bench_start(benchmark: Any, arguments: str, status: int, tmp_path: Path) -> None:
    places = [f"--out={tmp_path / 'out'}", f"--store={tmp_path / 'store'}"]
    command = [sys.executable, "-m", "experiments", "beta", *arguments.split(), *places]
    done = benchmark.pedantic(
        lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=False), rounds=3, warmup_rounds=1
    )
    assert done.returncode == status
