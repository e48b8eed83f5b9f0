"""Trainings side by side: the same networks bit for bit, failures as outcomes, and no process is left behind."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import Machine, TrainConfig
from experiments.config.trial import Trial
from experiments.engine.executor import in_process
from experiments.engine.plan import Plan
from experiments.engine.progress import Progress
from experiments.engine.side_by_side import Worker, at_a_time, side_by_side
from experiments.engine.tasks import Outcome, RunContext, Task
from experiments.store.store import Store

ONE = TrainConfig(images_seen=256, warmup_images=64, machine=Machine(threads=1))


def tasks(*networks: TrainConfig, threads: int = 2) -> list[Task]:
    """The tasks of one run from each network, sampled with so many threads."""
    reference = ReferenceConfig("mnist5k", "digits", "")
    runs = [SampleConfig(one, Ladder(n_steps=2), Euler(), 40, machine=Machine(threads=threads)) for one in networks]
    return list(Plan.of([Trial("test", "any", ScoreConfig(run, reference)) for run in runs]).tasks)


def seeds(n: int, **changes: object) -> list[TrainConfig]:
    return [replace(ONE, seed=seed, **changes) for seed in range(n)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("planned", "n"),
    [
        (tasks(*seeds(5)), 2),
        (tasks(*seeds(5), threads=4), 4),
        (tasks(*seeds(3), threads=4), 3),
        (tasks(*seeds(1)), 1),
        (tasks(*seeds(5), threads=1), 1),  # as with --threads 1
        (tasks(*seeds(2, machine=Machine(threads=2)), threads=4), 2),
        ([], 1),
    ],
)
def test_threads_that_trainings_leave_over_go_to_other_trainings(planned: list[Task], n: int) -> None:
    assert at_a_time(planned) == n


@pytest.fixture
def progress() -> Iterator[Progress]:
    with Progress(Plan.of([]).remaining(Store("unused")), Console(quiet=True)) as shown:
        yield shown


@pytest.mark.slow
def test_networks_are_those_of_trainings_alone(tmp_path: Path, progress: Progress) -> None:
    planned = [task for task in tasks(*seeds(2), replace(ONE, seed=2, lr=1e30)) if task.kind == "models"]
    other = tasks(ONE)[-2]  # a sampling, for its number of threads; its network is stored by then
    apart, together = Store(tmp_path / "apart"), Store(tmp_path / "together")
    for task in planned[:2]:
        list(in_process([task], RunContext(apart), {}, progress))
    made = progress.evaluations
    outcomes = list(side_by_side([*planned, other], RunContext(together), {}, progress))
    assert progress.evaluations - made >= 2 * 256 * 3.5
    errors = {outcome.name: outcome for outcome in outcomes}
    assert errors[planned[2].name].permanent and "loss" in str(errors[planned[2].name].error)
    assert outcomes[-1] == errors[other.name] and outcomes[-1].error is None
    for task in planned[:2]:
        assert "started with threads=1" in errors[task.name].log
        weights = [store.path("models", task.name) / "model.safetensors" for store in (apart, together)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_a_lost_process_fails_its_task_alone_and_none_is_left(
    tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Worker] = []
    begin = Worker.begin

    def watched(worker: Worker, task: Task, context: RunContext) -> None:
        started.append(worker)
        begin(worker, task, context)
        if len(started) == 1:
            worker.process.kill()

    monkeypatch.setattr(Worker, "begin", watched)
    endless = replace(ONE, seed=9, images_seen=10**8)
    planned = tasks(replace(ONE, seed=8), endless, ONE)
    with closing(side_by_side(planned, RunContext(Store(tmp_path)), {}, progress)) as outcomes:
        first, second = next(outcomes), next(outcomes)
    names = [task.name for task in planned if task.kind == "models"]
    assert first == Outcome(names[0], "its process ended with exit status -9; run the same command again")
    assert (second.name, second.error) == (names[2], None)
    assert len({id(worker) for worker in started}) == 3
    assert [worker.process.poll() for worker in started] == [-9, -9, -9], "the endless training too"


@pytest.mark.slow
def test_a_process_ends_with_its_driver(tmp_path: Path) -> None:
    from queue import SimpleQueue

    worker = Worker(answers := SimpleQueue())
    worker.begin(tasks(replace(ONE, images_seen=10**8))[1], RunContext(Store(tmp_path)))
    assert isinstance(answers.get(timeout=60)[1], float)  # in the middle of a task
    assert worker.process.stdin is not None
    worker.process.stdin.close()  # as when the driver is killed
    assert worker.process.wait(10) == 0
    worker.end()
