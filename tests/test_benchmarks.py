"""Every benchmark runs once, without a clock, in `make release`; `make test` times a user's sampler and network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.loops import of_sampler
from bench.measure import Job, time_alternately
from diffusion_core.samplers import Euler, Heun

ROOT = Path(__file__).parents[1]
MINE = """
from dataclasses import dataclass
from itertools import pairwise
from diffusion_core import adapters, load
from diffusion_core.samplers import Sampler
@dataclass(frozen=True)
class Mine(Sampler):
    def run(self, eps, x, sigmas, noise):
        for sigma, after in pairwise(sigmas):
            x = x + (after - sigma) * eps(x, sigma) + 0.1 * after * noise()
            yield x
flow = adapters.flow(lambda z, t: 0.1 * z, load("mnist5k"))
"""


def run_benchmarks(*words: str, **environment: str) -> str:
    """As `pytest --benchmark` in the clone."""
    command = [sys.executable, "-m", "pytest", "--benchmark", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *words]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}  # which disables
    done = subprocess.run(command, cwd=ROOT, env=alone | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-4000:] + done.stderr[-1000:]
    return done.stdout


@pytest.mark.release
@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "bench").glob("bench_*.py")))
def test_each_file_of_benchmarks_runs_in_a_process_of_its_own(file: str):
    run_benchmarks("--benchmark-disable", f"bench/{file}")


def test_a_sampler_of_two_evaluations_takes_half_as_many_steps():
    assert [len(of_sampler("x", "y", sampler)[0].sigmas(12)) for sampler in (Euler(0.0), Heun())] == [13, 7]


@pytest.mark.slow(8)
def test_loops_of_packages_that_are_not_installed_are_skipped(tmp_path: Path):
    """As in a clone after `make quickstart`."""
    (tmp_path / "diffusers.py").write_text("raise ModuleNotFoundError(\"No module named 'diffusers'\")")
    words = ["--benchmark-disable", "-k", "loop_alone and (ddim or DDIM or eta)", "bench/bench_loop.py"]
    out = run_benchmarks(*words, PYTHONPATH=str(tmp_path), OMP_NUM_THREADS="1")
    assert "diffusers is not installed: pip install -e '.[peers]' for its loops" in out and " skipped" in out


@pytest.mark.slow(15)
def test_a_users_sampler_and_network_are_timed_from_a_folder_of_theirs(tmp_path: Path):
    """Whatever else lies there: its `experiments` does not hide ours."""
    (tmp_path / "timed.py").write_text(MINE)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise ImportError")
    words = ["bench", "sampling", "--sampler", "timed:Mine", "--network", "python:timed:flow", "--save", "it"]
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from experiments.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", program, str(ROOT), *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (tmp_path / "runs" / "speed" / "it" / "1.json").is_file(), done.stderr
    assert "sampling with the network python:timed:flow, 12 evaluations in batches of 64. Divide only" in done.stdout
    assert "  ours, eta 0 " in done.stdout and "  timed:Mine, noise drawn once " in done.stdout
    assert "verdict: timed:Mine: wrong limit: " in done.stdout


def test_rounds_alternate_and_a_job_that_fails_leaves_the_others():
    order = list[str]()

    def job(name: str, fails: bool = False) -> Job:
        def run(model: object) -> Tensor:
            order.append(name)
            if fails:
                raise MemoryError(name)
            return torch.zeros(1)

        return Job(run, 1, "cpu", {"nfe": 1})

    results = time_alternately({"a": lambda: job("a"), "b": lambda: job("b"), "c": lambda: job("c", fails=True)}, 3)
    assert "".join(order) == "abc" + "ba" + "ab" + "ba"
    assert isinstance(results["c"], MemoryError)
    assert [len(results[name].seconds) for name in "ab"] == [3, 3]  # type: ignore[union-attr]
