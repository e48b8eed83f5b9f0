"""On Ray a sweep gives what it gives in process, and workers that are lost cost time and nothing else."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from own_sweep import FILE, run, written
from rich.console import Console
from short_sweep import REFERENCE, known_images, values

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, SampleConfig, ScoreConfig
from experiments.config.denoisers import Machine
from experiments.config.trained import TrainConfig
from experiments.config.trial import Row, Trial
from experiments.engine import ray_executor as on_ray
from experiments.engine.executor import SweepResult, execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext, Task, Work, run_stage
from experiments.stages.common import Advance
from experiments.store.store import Store

pytestmark = [pytest.mark.slow(8), pytest.mark.filterwarnings("default")]  # the warnings of Ray are not ours

ONE = Machine(threads=1)
TRAIN = TrainConfig(images_seen=128, batch_size=64, warmup_images=64, machine=ONE)


def trial(eta: float, train: TrainConfig = TRAIN, n_steps: int = 2) -> Trial:
    samples = SampleConfig(train, Ladder(n_steps=n_steps), Euler(eta), 40, train.seed, machine=ONE)
    return Trial("test", "any", ScoreConfig(samples, REFERENCE))


TRIALS = [trial(eta, replace(TRAIN, seed=seed)) for seed in (0, 1) for eta in (0.0, 0.9)]


@pytest.fixture(autouse=True, scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two cores, joined by this process. Its daemons keep the usual patience, since cores are shared."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")
    from ray.cluster_utils import Cluster

    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    os.environ |= quiet | {"RAY_worker_niceness": "0"}  # its workers would starve beside the other processes of tests
    this, joined = sys.modules[__name__], ExitStack()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100 * 2**20})
        joined.callback(here.shutdown)
        joined.enter_context(on_ray.connected(here.address))
    ray.cloudpickle.register_pickle_by_value(this)  # workers cannot import a test, so it is sent as it is
    yield
    ray.cloudpickle.unregister_pickle_by_value(this)
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        joined.close()


def sweep(trials: list[Trial], context: RunContext, **more: Any) -> SweepResult:
    with on_ray.connected(threads=1) as (executor, slots):
        return execute(Plan.of(trials), context, Console(quiet=True), executor=executor, slots=slots, **more)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The rows of one process."""
    store = known_images(tmp_path_factory.mktemp("alone"))
    return execute(Plan.of(TRIALS), RunContext(store), Console(quiet=True)).rows


def test_values_are_those_of_one_process_and_a_training_that_diverges_is_a_row(
    tmp_path: Path, alone: list[Row]
) -> None:
    context, diverging = RunContext(known_images(tmp_path), shared=True), trial(0.0, replace(TRAIN, lr=1e30))
    *together, failed = sweep([*TRIALS, diverging], context, logs=tmp_path).rows
    assert values(together) == values(alone)
    assert all(row["shared_device"] is True for row in together)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert failed["error"].startswith("its network was not trained: NotFiniteError: training: the loss is ")
    log = (tmp_path / f"{failed['model_id']}.log").read_text()
    assert "Traceback" in log and "lower lr" in log


@pytest.mark.usefixtures("drawn")
def test_the_command_runs_a_sampler_of_ones_own_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "_connect", lambda *_: None)  # this process has joined, and stays
    monkeypatch.setattr("ray.shutdown", lambda: None)
    known_images(tmp_path / "store")
    written(tmp_path, FILE)
    said = run(tmp_path, "--ray-address", "auto").summary
    table = pd.read_csv(said["table"])
    assert (said["rows"], said["failed"]) == (3, 0) and table["shared_device"].all()
    assert table["sampler"].tolist() == ["euler(eta=0)", "euler(eta=0)", "mine"]


def no_memory(task: Task, context: RunContext, advance: Advance) -> None:
    if task.kind == "samples":
        raise MemoryError
    run_stage(task, context, advance)


def test_a_worker_without_memory_is_a_row_and_not_remembered(tmp_path: Path) -> None:
    store = known_images(tmp_path)
    (row,) = sweep(TRIALS[:1], RunContext(store, work=no_memory)).rows
    assert row["status"] == "failed" and row["error"].startswith("MemoryError in test_ray_executor.py, line ")
    assert sweep(TRIALS[:1], RunContext(store)).rows[0]["status"] == "ok"


def dies_once(task: Task, context: RunContext, advance: Advance) -> None:
    """Sampling whose worker is lost on the first try."""
    tries = context.store.root / "tries"
    if task.kind == "samples" and not list(tries.iterdir()):
        (tries / str(os.getpid())).touch()
        with context.store.writing("samples", task.name):  # half an artifact, left behind
            os.kill(os.getpid(), signal.SIGKILL)
    run_stage(task, context, advance)


def test_a_lost_worker_is_replaced_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tries").mkdir()
    (row,) = sweep(TRIALS[:1], RunContext(known_images(tmp_path), work=dies_once)).rows
    assert row["status"] == "ok" and len(list((tmp_path / "tries").iterdir())) == 1
    assert list((tmp_path / "tmp").iterdir()) == []


def always_dies(task: Task, context: RunContext, advance: Advance) -> None:
    if task.kind == "models":
        os.kill(os.getpid(), signal.SIGKILL)
    run_stage(task, context, advance)


def test_a_worker_lost_every_time_is_a_row_that_the_next_run_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "RETRIES", 1)
    store = known_images(tmp_path)
    (row,) = sweep(TRIALS[:1], RunContext(store, work=always_dies)).rows
    assert row["status"] == "failed" and "tried 2 times" in row["error"]
    assert row["error"].startswith("its network was not trained: ")
    assert not (tmp_path / "failures").exists()
    assert sweep(TRIALS[:1], RunContext(store)).rows[0]["status"] == "ok"


def waits(task: Task, context: RunContext, advance: Advance) -> None:
    with context.store.writing(task.kind, task.name):
        for _ in range(600):
            time.sleep(0.1)


def waits_deaf(task: Task, context: RunContext, advance: Advance) -> None:
    with context.store.writing(task.kind, task.name):
        time.sleep(60)


@pytest.mark.parametrize("work", [waits, waits_deaf])
def test_an_interrupt_cancels_what_runs(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    honest, calls = ray.wait, []

    def interrupted(references: list[Any], **more: Any) -> Any:
        calls.append(len(references))
        if len(calls) > 1:
            return honest(references, **more)
        while not list((tmp_path / "tmp").glob("*")):
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "wait", interrupted)
    monkeypatch.setattr(on_ray, "PATIENCE", 1.0)
    result = sweep(TRIALS[:1], RunContext(Store(tmp_path), work=work))
    assert result.interrupted and result.rows == []
    gone = time.monotonic() + 10  # a worker that had to be killed, or is slow, takes a moment to be gone
    while list((tmp_path / "tmp").iterdir()) and time.monotonic() < gone:
        time.sleep(0.1)
        Store(tmp_path).sweep_temporaries()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_task_that_waits_for_another_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would abort this process if it looked at what the task needs at that moment."""
    running = {task.name: task for task in Plan.of(TRIALS).tasks}
    cancelled, kinds = set[str](), [task.kind for task in running.values()]

    def cancel(name: str, force: bool) -> None:
        assert set(running).isdisjoint(running[name].needs)
        cancelled.add(name)

    monkeypatch.setattr(on_ray, "PATIENCE", 1.0)
    ray = SimpleNamespace(cancel=cancel, wait=lambda names, **more: ([*cancelled.intersection(names)], []))
    on_ray._cancel(ray, running)
    assert not running and len(cancelled) == len(kinds) and {"models", "samples", "scores"} < set(kinds)
