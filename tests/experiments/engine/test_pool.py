"""Workers on this machine: the same rows as without, failures as outcomes, and no process is left behind."""

import os
import pickle
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import pytest
from rich.console import Console
from short_sweep import REFERENCE, TRAIN, TRIALS, known_images, trial, values

from diffusion_core import load
from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import ForeignConfig, Machine
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine import pool as pool_of_workers
from experiments.engine.executor import SweepResult, execute
from experiments.engine.plan import Plan
from experiments.engine.pool import AGAIN, Lost, Worker, at_a_time, pool, startable
from experiments.engine.progress import Progress
from experiments.engine.tasks import Outcome, RunContext, Task
from experiments.own import external
from experiments.own.behaviour import behaviour
from experiments.own.features import check_suits, features_id
from experiments.store.store import Store
from experiments.sweep import read


def tasks(*networks: TrainConfig, threads: int = 2) -> list[Task]:
    """The tasks of one run from each network, sampled with so many threads."""
    runs = [SampleConfig(model, Ladder(n_steps=2), Euler(), 40, machine=Machine(threads=threads)) for model in networks]
    return list(Plan.of([Trial("test", "any", ScoreConfig(run, REFERENCE)) for run in runs]).tasks)


def seeds(n: int, threads: int = 1) -> list[TrainConfig]:
    return [replace(TRAIN, seed=seed, machine=Machine(threads=threads)) for seed in range(n)]


@pytest.mark.parametrize(
    ("planned", "workers", "n"),
    [
        (tasks(*seeds(5)), 1, 2),
        (tasks(*seeds(5), threads=4), 1, 4),
        (tasks(*seeds(3), threads=4), 1, 3),
        (tasks(*seeds(1)), 1, 1),  # a lone training leaves no room for a sampling
        (tasks(*seeds(5), threads=1), 1, 1),  # as with --threads 1
        (tasks(*seeds(5), threads=1), 3, 3),
        (tasks(*seeds(2, threads=2), threads=4), 1, 2),
        ([], 2, 1),
    ],
)
def test_threads_that_trainings_leave_over_go_to_other_trainings(planned: list[Task], workers: int, n: int) -> None:
    assert at_a_time(planned, workers) == n


def test_a_task_starts_as_soon_as_its_needs_and_its_threads_are_there() -> None:
    plan = tasks(*seeds(3))
    first, second, third, reference, sampling = plan[:5]
    waiting, unfinished = {task.name: task for task in plan}, {task.name for task in plan}
    assert startable(waiting, unfinished, [], 2) is first
    waiting.pop(first.name)
    assert startable(waiting, unfinished, [first], 2) is second
    waiting.pop(second.name)
    assert startable(waiting, unfinished, [first, second], 2) is None
    unfinished.remove(first.name)
    assert startable(waiting, unfinished, [second], 2) is third
    waiting.pop(third.name)
    assert startable(waiting, unfinished, [second], 2) is None  # two threads beside one would be too many
    assert startable(waiting, unfinished, [second], 3) is reference
    waiting.pop(reference.name)
    assert startable(waiting, unfinished, [second], 3) is sampling
    assert startable({}, unfinished, [], 2) is None


@pytest.mark.slow(10)
def test_rows_are_those_of_one_process(tmp_path: Path) -> None:
    plan, results = Plan.of([*TRIALS, trial(2, 0.0, replace(TRAIN, lr=1e30))]), list[SweepResult]()
    for n in (1, 2):
        context = RunContext(known_images(tmp_path / f"{n}"))
        with pool(n) as executor:
            results.append(execute(plan, context, Console(quiet=True), executor=executor, logs=tmp_path))
    alone, beside = results
    assert values(alone.rows) == values(beside.rows) and [row["status"] for row in beside.rows] == ["ok"] * 4 + [
        "failed"
    ]
    assert beside.rows[4]["error"].startswith("its network was not trained: NotFiniteError: training: the loss is ")
    assert beside.evaluations == alone.evaluations
    name = beside.rows[0]["model_id"]
    folders = [Store(tmp_path / f"{n}").path("models", name) for n in (1, 2)]
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    assert (tmp_path / f"{name}.log").read_text().count("started with threads=1 on cpu") == 2
    assert not list((tmp_path / "2" / "tmp").iterdir())


def test_a_task_whose_process_ends_gets_another_one_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = tasks(*seeds(2))
    twice, once = (task.name for task in planned if task.kind == "models")
    script = {twice: [[7.0], [5.0]], once: [[3.0], [4.0, Outcome(once)]]}  # what each process says before it ends

    class Scripted(Worker):
        def __init__(self, card: str | None = None) -> None:
            self.pipe, self.theirs = Pipe()

        def begin(self, task: Task, context: bytes) -> None:
            self.task, self.made = task, 0.0
            words = script[task.name].pop(0) if task.name in script else [Outcome(task.name)]
            for word in words:
                self.theirs.send(word)
            if not isinstance(words[-1], Outcome):
                self.theirs.close()

        def end(self) -> int:
            return -9

    monkeypatch.setattr(pool_of_workers, "Worker", Scripted)
    progress, advances = Progress(Plan.of([]).remaining(Store("unused")), Console(quiet=True)), list[float]()
    monkeypatch.setattr(progress, "advance", advances.append)
    with pool() as executor, closing(executor(planned, RunContext(Store(tmp_path)), {}, progress)) as ended:
        errors = {outcome.name: outcome.error for outcome in ended}
    said = f"its process ended with exit status -9, as that of its first attempt; {AGAIN}"
    assert errors[twice] == said and errors.keys() == {task.name for task in planned}
    assert [task.kind for task in planned if errors[task.name] is None] == ["models", "references", "samples", "scores"]
    assert sorted(made for made in advances if made < 0) == [-7, -5, -3] and sum(advances) == 4


@pytest.mark.slow(3)
def test_a_worker_ends_with_its_driver(tmp_path: Path) -> None:
    worker, killed = Worker(), Worker()
    worker.begin(tasks(replace(TRAIN, images_seen=10**8))[0], pickle.dumps(RunContext(Store(tmp_path))))
    killed.process.kill()
    assert killed.answer() == Lost("its process ended with exit status -9")
    assert isinstance(worker.answer(), float)  # in the middle of a task
    worker.pipe.close()  # as when the driver is killed
    assert worker.process.wait(10) == 0


OWN = """
    from dataclasses import dataclass
    from os import getpid
    from pathlib import Path

    from diffusion_core.samplers import Euler
    from experiments.config.config import Ladder
    from experiments.sweep import Setting

    QUESTION = "?"
    print("imported")

    @dataclass(frozen=True)
    class Mine(Euler):
        def run(self, eps, x, sigmas, noise):
            print("from a worker's task")
            (Path(__file__).parent / f"{getpid()}").touch()
            yield from super().run(eps, x, sigmas, noise)

    def runs():
        yield Setting("mine", Ladder(n_steps=2), Mine())
"""


@pytest.mark.slow(5)
def test_a_sampler_of_a_sweep_file_runs_in_workers_unless_they_would_import_another(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The worker starts after the file was edited, and what it imports is what the driver reads the second time."""
    file, context = tmp_path / "sweep.py", RunContext(known_images(tmp_path / "store"))
    file.write_text(textwrap.dedent(OWN))
    with pool(2) as executor:
        for edited in (True, False):
            capfd.readouterr()
            (setting,) = read(file).runs()
            samples = replace(trial(2, 0.0).samples, sampler=setting.sampler)
            plan = Plan.of([Trial("test", "any", ScoreConfig(samples, REFERENCE))])
            assert plan.tasks  # its identity is taken
            file.write_text(textwrap.dedent(OWN) + "# edited\n")
            (row,) = execute(plan, context, Console(quiet=True), executor=executor).rows  # one task at a time
            assert row["status"] == "ok"
            (process,) = tmp_path.glob("[0-9]*")
            assert (process.name == str(os.getpid())) == edited
            process.unlink()
    out, error = capfd.readouterr()
    assert out == "imported\n" and "from a worker's task" in error, "stdout is the driver's"


MODEL = "def eps(x, sigma):\n    return 1.0 * x * (sigma / (1 + sigma**2)).view(-1, 1, 1, 1)\n"
FEATURES = "def rows(pixels):\n    return 1.0 * pixels.float().flatten(1)[:, 400:408]\n"


@pytest.mark.parametrize("edited", ["model_xyz", "features_xyz"])
def test_a_model_or_features_that_are_edited_after_the_plan_are_those_of_the_plan(
    edited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker would import the edited file, and store what it gives under the old identity."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, text in (("model_xyz", MODEL), ("features_xyz", FEATURES)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    source, features, images = "python:model_xyz:eps", "python:features_xyz:rows", load("mnist5k")
    shown = behaviour(external.load_foreign(source, images, None, "cpu"), images, "cpu")
    model = ForeignConfig(source, external.known_by(external.fingerprint(source), shown), machine=Machine(threads=1))
    samples = SampleConfig(model, Ladder(n_steps=2), Euler(0.0), 40, machine=Machine(threads=1))
    reference = ReferenceConfig("mnist5k", features, features_id(features))
    check_suits(features, images.pixels)  # as before any run: it is imported
    plan = Plan.of([Trial("test", "any", ScoreConfig(samples, reference))])
    (right,) = execute(plan, RunContext(Store(tmp_path / "right")), Console(quiet=True)).rows
    file = tmp_path / f"{edited}.py"
    file.write_text(file.read_text().replace("1.0", "0.5"))
    with pool(2) as executor:
        (row,) = execute(plan, RunContext(Store(tmp_path / "store")), Console(quiet=True), executor=executor).rows
    assert (row["error"], row["fd"]) == (None, pytest.approx(right["fd"], rel=1e-6))
