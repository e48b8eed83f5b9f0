"""Every benchmark runs once, without a clock. `make test` runs the quick ones, `make release` all of them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICK = "loop or noise or (sampling and not compiled and not default) or fidelity or help"


def run_once(*words: str) -> None:
    command = [sys.executable, "-m", "pytest", "--benchmark", "--benchmark-disable", "-q", "-p", "no:xdist", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-4000:]


@pytest.mark.slow(13)
def test_the_quick_benchmarks_run() -> None:
    run_once("-k", QUICK)


@pytest.mark.release
@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "bench").glob("bench_*.py")))
def test_each_file_of_benchmarks_runs_in_a_process_of_its_own(file: str) -> None:
    run_once(f"bench/{file}")
