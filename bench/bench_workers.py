"""Speed-up by a second worker: runs of equal size, one thread each, on one worker and then on two of a local Ray.

pytest --benchmark bench/bench_workers.py -s      needs two cores that nothing else uses

Even then the ratio is below 2, because the cores share cache, memory and clock. On one Zen 4 it was 1.61 to 1.73, so
this benchmark sometimes fails there. Runs of 12 steps and of 48 steps gave the same ratio. If the engine were the
cause, the ratio would grow with the length of the runs.
"""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import Machine, TrainConfig
from experiments.config.trial import Trial
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.metrics.features import features_id
from experiments.store.store import Store

N_RUNS, N_SAMPLES, N_STEPS = 16, 256, 12
REFERENCE = ReferenceConfig("mnist5k", "digits", features_id("digits"))
ONE = Machine(threads=1)
TRAIN = TrainConfig(images_seen=128, warmup_images=64, machine=ONE)


def plan(first_seed: int, n: int) -> Plan:
    """A plan of n runs of one network that differ only in the sampling seed."""
    samples = [
        SampleConfig(TRAIN, Ladder(n_steps=N_STEPS), Euler(1.0), N_SAMPLES, first_seed + number, machine=ONE)
        for number in range(n)
    ]
    return Plan.of([Trial("bench", "any", ScoreConfig(one, REFERENCE)) for one in samples])


def seconds(folder: Path, workers: int) -> float:
    """Wall time of the runs in seconds, after a warm-up in which all workers import and load everything."""
    from experiments.engine import ray_executor

    context, quiet = RunContext(Store(folder)), Console(quiet=True)
    with ray_executor.connected(workers=workers) as ray:
        execute(plan(1000, 4 * workers), context, quiet, executor=ray.executor, slots=ray.slots)  # warm-up
        result = execute(plan(0, N_RUNS), context, quiet, executor=ray.executor, slots=ray.slots)
    assert [row["status"] for row in result.rows] == ["ok"] * N_RUNS
    assert result.evaluations == N_RUNS * N_SAMPLES * N_STEPS
    return result.seconds


@pytest.mark.filterwarnings("default")  # Ray's warnings are not ours
def bench_two_workers(benchmark: Any, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")
    alone = seconds(tmp_path / "one", 1)
    together = benchmark.pedantic(seconds, (tmp_path / "two", 2), rounds=1, iterations=1)
    ratio = alone / together
    benchmark.extra_info |= {
        "runs": N_RUNS,
        "one_worker_s": alone,
        "two_workers_s": together,
        "throughput_ratio": ratio,
    }
    print({name: round(value, 2) for name, value in benchmark.extra_info.items()})
    assert ratio >= 1.7
