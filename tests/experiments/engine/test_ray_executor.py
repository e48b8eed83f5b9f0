"""On Ray a sweep gives what it gives in process, and workers that are lost cost time and nothing else."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from short_sweep import TRAIN, TRIALS, trial, values

from experiments.config.trial import Trial
from experiments.engine import ray_executor as on_ray
from experiments.engine.executor import SweepResult, execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext, Task, Work, run_stage
from experiments.stages.common import Advance
from experiments.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # the warnings of Ray are not ours


@pytest.fixture(autouse=True, scope="module")
def this_module_travels(two_nodes: Any) -> Iterator[None]:
    """Workers cannot import a test, so what it defines is sent as it is."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def sweep(trials: list[Trial], context: RunContext, **more: Any) -> SweepResult:
    with on_ray.connected(threads=1) as (executor, slots):
        return execute(Plan.of(trials), context, Console(quiet=True), executor=executor, slots=slots, **more)


def test_values_are_those_of_one_process_and_runs_are_marked_as_shared(tmp_path: Path) -> None:
    alone = execute(Plan.of(TRIALS), RunContext(Store(tmp_path / "a")), Console(quiet=True)).rows
    together = sweep(TRIALS, RunContext(Store(tmp_path / "b"), shared=True)).rows
    assert values(together) == values(alone)
    assert all(row["shared_device"] is True for row in together)
    assert list((tmp_path / "b" / "tmp").iterdir()) == []


def test_a_training_that_diverges_is_a_row_and_its_runs_say_so(tmp_path: Path) -> None:
    result = sweep([trial(2, 0.0, replace(TRAIN, lr=1e30)), *TRIALS[:1]], RunContext(Store(tmp_path)), logs=tmp_path)
    assert [row["status"] for row in result.rows] == ["failed", "ok"]
    assert result.rows[0]["error"].startswith("its network was not trained: NotFiniteError: training: the loss is ")
    log = (tmp_path / f"{result.rows[0]['model_id']}.log").read_text()
    assert "Traceback" in log and "lower lr" in log


def dies_twice(task: Task, context: RunContext, advance: Advance) -> None:
    """Sampling whose worker is lost on the first two tries."""
    tries = context.store.root / "tries"
    if task.kind == "samples" and len(list(tries.iterdir())) < 2:
        (tries / str(os.getpid())).touch()
        with context.store.writing("samples", task.name):  # half an artifact, left behind
            os.kill(os.getpid(), signal.SIGKILL)
    run_stage(task, context, advance)


def test_a_lost_worker_is_replaced_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tries").mkdir()
    (row,) = sweep(TRIALS[:1], RunContext(Store(tmp_path), work=dies_twice)).rows
    assert row["status"] == "ok" and len(list((tmp_path / "tries").iterdir())) == 2
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_lost_node_is_made_up_for(tmp_path: Path, two_nodes: Any) -> None:
    alone = execute(Plan.of(TRIALS), RunContext(Store(tmp_path / "alone")), Console(quiet=True)).rows
    store = Store(tmp_path / "store")
    with ThreadPoolExecutor(1) as thread:  # nodes can be started by the main thread only
        running = thread.submit(sweep, TRIALS, RunContext(store))
        while not store.artifacts():
            assert not running.done()
            time.sleep(0.05)
        two_nodes.lose_the_second()
        running.result()
    rows = sweep(TRIALS, RunContext(store)).rows  # with nothing left to do, unless Ray's retries were used up
    assert values(rows) == values(alone) and [row["status"] for row in rows] == ["ok"] * 4
    assert list((store.root / "tmp").iterdir()) == []


def always_dies(task: Task, context: RunContext, advance: Advance) -> None:
    if task.kind == "models":
        os.kill(os.getpid(), signal.SIGKILL)
    run_stage(task, context, advance)


def test_a_worker_lost_every_time_is_a_row_that_the_next_run_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "RETRIES", 1)
    store = Store(tmp_path)
    (row,) = sweep(TRIALS[:1], RunContext(store, work=always_dies)).rows
    assert row["status"] == "failed" and "tried 2 times" in row["error"]
    assert row["error"].startswith("its network was not trained: ")
    assert not (tmp_path / "failures").exists()
    assert sweep(TRIALS[:1], RunContext(store)).rows[0]["status"] == "ok"


def no_memory(task: Task, context: RunContext, advance: Advance) -> None:
    if task.kind == "samples":
        raise MemoryError
    run_stage(task, context, advance)


def test_a_worker_without_memory_is_a_row_and_not_remembered(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (row,) = sweep(TRIALS[:1], RunContext(store, work=no_memory)).rows
    assert row["status"] == "failed" and row["error"].startswith("MemoryError in test_ray_executor.py, line ")
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
