"""Overhead of the engine: 2,000 synthetic trials, whose stages sleep 0 to 5 ms, in process and in workers.

Overhead per trial is (wall time - total sleep / workers) / trials. A trial is one sampling and one scoring.
`extra_info` also has the growth of the driver's memory per trial, rows and plan included.
"""

import gc
import random
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import Machine
from experiments.config.identity import identity
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine.executor import execute, in_process
from experiments.engine.plan import Plan
from experiments.engine.pool import pool
from experiments.engine.tasks import RunContext, Task
from experiments.results.table import MEASURED, TRAINED
from experiments.stages.common import SAMPLED, Advance
from experiments.store.store import Store, write_json

N_TRIALS, N_NETWORKS = 2000, 10
LONGEST = 0.005  # longest sleep of a stage, in seconds
WORKERS = 2
META = dict.fromkeys((*TRAINED, *MEASURED, *SAMPLED, "finished_at"), 1.0)


def nap(task: Task) -> float:
    """Seconds that a task sleeps; they depend on its name only."""
    return random.Random(task.name).uniform(0, LONGEST)


def asleep(task: Task, context: RunContext, advance: Advance) -> None:
    """Stands in for every stage: sleeps, then writes the small file that a row is read from."""
    time.sleep(nap(task))
    with context.store.writing(task.kind, task.name) as folder:
        write_json(folder / "meta.json", META)


def plan(first: int, n: int) -> Plan:
    """A plan of n trials on N_NETWORKS networks. Plans with `first` 10 or more apart share no artifact."""
    reference, machine = ReferenceConfig("mnist5k", "digits", "synthetic"), Machine(threads=1)
    trials = []
    for number in range(n):
        train = TrainConfig(seed=first + number % N_NETWORKS, machine=machine)
        samples = SampleConfig(train, Ladder(n_steps=2), Euler(0.5), 40, seed=number, machine=machine)
        trials.append(Trial("synthetic", "any", ScoreConfig(samples, reference)))
    assert len({identity(trial.score) for trial in trials}) == n
    return Plan.of(trials)


def resident() -> int:
    """Resident memory of this process, in bytes."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def measure(benchmark: Any, folder: Path, workers: int, **how: Any) -> float:
    """Overhead per trial in milliseconds. Runs the trials once."""
    quiet = Console(quiet=True)
    execute(plan(500, 200), RunContext(Store(folder / "warm-up"), work=asleep), quiet, **how)
    whole, context = plan(0, N_TRIALS), RunContext(Store(folder / "store"), work=asleep)
    before = resident()
    result = benchmark.pedantic(execute, (whole, context, quiet), how, rounds=1, iterations=1)
    assert [row["status"] for row in result.rows] == ["ok"] * N_TRIALS
    sleeping = sum(map(nap, whole.tasks)) / workers
    overhead = 1e3 * (benchmark.stats.stats.median - sleeping) / N_TRIALS
    benchmark.extra_info |= {
        "trials": N_TRIALS,
        "workers": workers,
        "overhead_ms_per_trial": overhead,
        "memory_kib_per_trial": (resident() - before) / N_TRIALS / 1024,
        "row_kib": sum(sys.getsizeof(value) for value in result.rows[0].values()) / 1024,
    }
    print({name: round(value, 2) for name, value in benchmark.extra_info.items()})
    assert benchmark.extra_info["memory_kib_per_trial"] < 20
    return overhead


def bench_in_process(benchmark: Any, tmp_path: Path) -> None:
    assert measure(benchmark, tmp_path, 1, executor=in_process) < 10


def bench_in_workers(benchmark: Any, tmp_path: Path) -> None:
    with pool(WORKERS) as executor:
        assert measure(benchmark, tmp_path, WORKERS, executor=executor, slots=WORKERS) < 30
