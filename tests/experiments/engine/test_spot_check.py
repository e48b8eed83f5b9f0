"""What is stored is believed only if a part of it, made again, comes out the same; fresh results are the truth."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from own_sweep import FILE, RUN, written
from rich.console import Console
from short_sweep import REFERENCE, known_images
from user_images import few_digits

from diffusion_core.samplers import Euler, Sampler, euler
from diffusion_core.schedules import SCHEDULES
from diffusion_core.weightings import WEIGHTINGS
from experiments.config.config import Ladder, SampleConfig, ScoreConfig
from experiments.config.denoisers import EmpiricalConfig, ForeignConfig, Machine, ModelConfig
from experiments.config.identity import has_own_code, identity
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine.doubts import doubts
from experiments.engine.executor import SweepResult, execute
from experiments.engine.plan import Plan
from experiments.engine.spot_checks import due
from experiments.engine.tasks import RunContext, Task, run_stage
from experiments.own.source import OWN
from experiments.stages.common import Advance, load_meta
from experiments.stages.sample import sample_stage
from experiments.stages.spot_check import Differs, choose, spot_check
from experiments.stages.train import train_stage
from experiments.store import Store
from experiments.sweep import read

MACHINE = Machine(threads=1)
FOREIGN = ForeignConfig("python:mine_xyz:eps", "0", machine=MACHINE)  # as if nothing showed that it was edited
EULER, OURS = Euler(0.5), EmpiricalConfig("mnist5k", held_out=4000)


def trial(model: ModelConfig = FOREIGN, sampler: Sampler = EULER, n_steps: int = 3) -> Trial:
    samples = SampleConfig(model, Ladder(n_steps=n_steps), sampler, 40, machine=MACHINE)
    return Trial("test", "any", ScoreConfig(samples, REFERENCE))


def run(trials: list[Trial], store: Store) -> tuple[SweepResult, str]:
    console = Console(file=io.StringIO(), width=500)
    result = execute(Plan.of(trials), RunContext(store), console)
    return result, console.file.getvalue()  # type: ignore[attr-defined]


def fd(trials: list[Trial], store: Store) -> list[float]:
    rows = run(trials, store)[0].rows
    assert [row["error"] for row in rows] == [None] * len(trials)
    return [row["fd"] for row in rows]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with two stores that know the real images."""
    for name in ("old", "new"):
        known_images(tmp_path / name)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # which Python takes for new within a second
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget()


def forget() -> None:
    """As if a new process began."""
    for name in [name for name in sys.modules if "_xyz" in name or name == OWN]:
        del sys.modules[name]


START = "import torch\nfrom diffusion_core import GaussianDenoiser\nexact = GaussianDenoiser()\n"
PLAIN = START + "def eps(x, sigma): return GAIN * exact(x, sigma)\n"
LABELLED = START + (
    "class Labelled:\n    takes_index = True\n    def __call__(self, x, sigma, *, index):\n"
    "        return exact(x, sigma) * {gain}.view(-1, 1, 1, 1)\neps = Labelled()\n"
)
BAND = (
    START + "def eps(x, sigma): return exact(x, sigma) * (1 + GAIN * ((sigma > 1) & (sigma < 10))).view(-1, 1, 1, 1)\n"
)
GAIN = "from gain_xyz import GAIN\n"
EDITED = {  # a model that reads gain_xyz.py, and the values there before and after an edit
    "a table from index 8 on": (GAIN + LABELLED.format(gain="torch.where(index < 8, 1.0, GAIN)"), 1, 0.8),
    "one class": (GAIN + LABELLED.format(gain="torch.where(index % 10 == 7, GAIN, 1.0)"), 1, 0.5),
    "a band of sigma": (GAIN + BAND, 0, 0.3),
    "exec": ("with open('gain_xyz.py') as file: exec(file.read())\n" + PLAIN, 1, 0.9),
}
STATES = [*((name, "samples and scores") for name in EDITED), ("exec", "scores"), ("exec", "samples")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "left"), STATES)
def test_what_a_model_reads_is_met_when_it_changes(folder: Path, name: str, left: str) -> None:
    model, before, after = EDITED[name]
    (folder / "mine_xyz.py").write_text(model)
    trials, values = [trial(), trial(sampler=Euler(0.0))], []
    for store, gain in (("old", before), ("old", after), ("new", after)):
        (folder / "gain_xyz.py").write_text(f"GAIN = {gain}\n")
        forget()
        values.append(fd(trials, Store(folder / store)))
        for planned in trials:
            for kind, config in (("samples", planned.samples), ("scores", planned.score)):
                if kind not in left and store == "old" and gain == before:
                    Store(folder / store).discard(kind, identity(config))
    assert values[0] != values[2] and values[1] == pytest.approx(values[2], rel=1e-6)
    forget()
    result, said = run(trials, Store(folder / "old"))
    assert result.evaluations == 0 and "warning" not in said  # it has healed, and a check is not counted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "differs"), [(".bfloat16().float()", False), (" * 1.0002", False), (" * 1.03", True)]
)
def test_rounding_is_no_difference(folder: Path, change: str, differs: bool) -> None:
    """Another machine rounds differently, but less than numbers of 8 bits do."""
    values = []
    for text in ("", change):
        (folder / "mine_xyz.py").write_text(f"{START}def eps(x, sigma): return exact(x, sigma){text}\n")
        forget()
        result, said = run([trial(n_steps=20)], Store(folder / "old"))
        values.append(result.rows[0]["fd"])
    assert ("drawn again" in said) == differs == (values[0] != values[1])


def ours(name: str) -> tuple[Any, str, Callable[..., Any]]:
    """What a sweep file may replace: an object, its attribute, and another value of that."""
    if name == "ours":
        return euler, "alpha_beta", lambda sigma, sigma_next, eta: (0.3, 0.0)
    original = torch.Tensor.add_
    return torch.Tensor, "add_", lambda self, other, alpha=1: original(self, other, alpha=0.8 * alpha)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ours", "torch"])
def test_a_store_that_a_replaced_function_poisoned_heals(folder: Path, name: str) -> None:
    """All runs of the network are ours, so one of them is checked, and then the others too."""
    runs = [trial(OURS, Euler(eta)) for eta in (0.0, 0.5, 0.8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*ours(name))
        poisoned = fd(runs, Store(folder / "old"))
    again, said = run(runs, Store(folder / "old"))
    fresh = fd(runs, Store(folder / "new"))
    assert not set(poisoned) & set(fresh) and [row["fd"] for row in again.rows] == pytest.approx(fresh, rel=1e-6)
    assert said.count("drawn again, differ from what was stored, by up to") == 3 and runs[0].run_id in said


def test_runs_of_ours_are_checked_once_per_network_and_others_always(folder: Path) -> None:
    (folder / "mine_xyz.py").write_text("GAIN = 1\n" + PLAIN)
    runs = [trial(model, Euler(eta)) for model in (OURS, FOREIGN) for eta in (0.0, 0.5, 0.8)]
    store, plan = Store(folder / "new"), Plan.of(runs)
    fd(runs, store)
    assert not due(plan, store)  # made in this process
    assert len(due(plan, Store(store.root), thorough=True)) == 1 + 6
    other = Store(store.root)
    kinds = [has_own_code(task.config) for task in due(plan, other)]
    assert sorted(kinds) == [False] * 2 + [True] * 3  # one of which is the reference's
    fd(runs, other)
    assert not due(plan, other)


def test_a_model_that_fails_now_fails_its_row_and_keeps_what_is_stored(folder: Path) -> None:
    (folder / "mine_xyz.py").write_text("GAIN = 1\n" + PLAIN)
    fd([trial()], Store(folder / "new"))
    (folder / "mine_xyz.py").write_text("def eps(x, sigma): raise OSError('gone')\n")
    forget()
    store = Store(folder / "new")
    (row,) = run([trial()], store)[0].rows
    assert row["status"] == "failed" and "OSError: gone" in row["error"] and store.has("scores", trial().run_id)


@pytest.mark.slow
def test_a_poisoned_reference_heals(folder: Path) -> None:
    data = few_digits(folder)
    planned = trial(EmpiricalConfig(data))
    planned = replace(planned, score=replace(planned.score, reference=replace(REFERENCE, data=data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.distances.features.DigitsNetwork.PIXEL_MEAN", 60.0)
        poisoned = fd([planned], Store(folder / "old"))
    again, said = run([planned], Store(folder / "old"))
    fresh = fd([planned], Store(folder / "new"))
    assert poisoned != fresh and again.rows[0]["fd"] == pytest.approx(fresh[0], rel=1e-6) and "real images" in said


REGISTERED = FILE + (
    "from diffusion_core.schedules import SCHEDULES, geometric\nfrom diffusion_core.weightings import WEIGHTINGS\n"
    "def mine(n, high, low): return geometric(n, high, low * GAIN)\nSCHEDULES['{schedule}'] = mine\n"
    "from gain_xyz import FACTOR\nWEIGHTINGS['{weighting}'] = lambda sigma: GAIN * FACTOR * sigma\nGAIN = {gain}\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "weighting"), [("mine", "mine"), ("linear", "karras")], ids=["new", "replaced"])
def test_what_is_registered_and_edited_has_another_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, schedule: str, weighting: str
) -> None:
    """And if a file that it reads is edited, a stored network is met by the first losses of its training."""
    monkeypatch.setitem(SCHEDULES, schedule, SCHEDULES["geometric"])
    monkeypatch.setitem(WEIGHTINGS, weighting, WEIGHTINGS["karras"])
    known = [(identity(Ladder(schedule)), identity(TrainConfig(weighting=weighting)))]
    (folder / "gain_xyz.py").write_text("FACTOR = 1\n")
    for gain in ("1.0", "1.1", "1.0"):
        read(written(folder, REGISTERED.format(schedule=schedule, weighting=weighting, gain=gain)))
        known.append((identity(Ladder(schedule)), identity(TrainConfig(weighting=weighting))))
    assert known[1] == known[3] and len({name for names in known for name in names}) == 6
    assert has_own_code(Ladder(schedule)) and not has_own_code(Ladder())
    store, config = Store(folder / "new"), TrainConfig(weighting=weighting, images_seen=64, batch_size=32)
    train_stage(config, store, None, [].append)
    spot_check(config, store, None)
    (folder / "gain_xyz.py").write_text("FACTOR = 1.1\n")
    forget()
    read(folder / "mine.py")
    with pytest.raises(Differs, match=r"its training, begun again, has other losses: .* instead of"):
        spot_check(config, store, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("diffusion_core.training.ADAM_BETAS", (0.9, 0.9)),
        ("diffusion_core.training.lr_factor", lambda step, n_steps, warmup: 0.5),
        ("experiments.config.trained.block_seed", lambda seed, block: 1234),  # of the first weights
    ],
    ids=["optimiser", "learning rate", "first weights"],
)
def test_a_change_of_training_that_the_first_losses_hardly_show_is_met(
    where: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, config = Store(tmp_path), TrainConfig(images_seen=96, batch_size=32, machine=MACHINE)
    train_stage(config, store, None, [].append)
    spot_check(config, store, None)
    monkeypatch.setattr(where, value)
    with pytest.raises(Differs, match=r"its training, begun again, has other (gradients|moves)"):
        spot_check(config, store, None)


@pytest.mark.slow
def test_a_network_that_differs_takes_its_runs_with_it(folder: Path) -> None:
    model = TrainConfig(images_seen=64, batch_size=32, machine=MACHINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusion_core.training.lr_factor", lambda step, n_steps, warmup: 0.5)
        poisoned = fd([trial(model)], Store(folder / "old"))
    again, said = run([trial(model)], Store(folder / "old"))
    fresh = fd([trial(model)], Store(folder / "new"))
    assert poisoned != fresh and again.rows[0]["fd"] == pytest.approx(fresh[0], rel=1e-6) and "its training" in said


@pytest.mark.slow
def test_what_another_command_makes_meanwhile_is_checked_too(folder: Path) -> None:
    """It trains the network, in another way, after this command has planned to train it."""
    model, others = TrainConfig(images_seen=64, batch_size=32, machine=MACHINE), [Store(folder / "old")]

    def late(task: Task, context: RunContext, advance: Advance) -> None:
        if task.kind == "models" and others:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("diffusion_core.training.lr_factor", lambda step, n_steps, warmup: 0.5)
                run_stage(task, RunContext(others.pop()), advance)
        run_stage(task, context, advance)

    console = Console(record=True, width=200)
    rows = execute(Plan.of([trial(model)]), RunContext(Store(folder / "old"), work=late), console).rows
    assert rows[0]["fd"] == pytest.approx(fd([trial(model)], Store(folder / "new"))[0], rel=1e-6)
    assert "its training, begun again, has other" in console.export_text()


@pytest.mark.slow
def test_runs_that_another_command_left_when_it_replaced_their_network_are_met(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TrainConfig(images_seen=512, batch_size=32, machine=MACHINE)
    both = [trial(model), trial(model, n_steps=4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WEIGHTINGS, "karras", WEIGHTINGS["unit-eps"])
        fd(both, Store(folder / "old"))
    run(both[:1], Store(folder / "old"))
    monkeypatch.setattr("random.SystemRandom.sample", lambda self, tasks, n: tasks)  # checks the first, which is new
    assert fd(both, Store(folder / "old")) == pytest.approx(fd(both, Store(folder / "new")), rel=1e-6)


@pytest.mark.slow
def test_a_network_stored_without_its_first_steps_differs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, store = TrainConfig(images_seen=64, batch_size=32, machine=MACHINE), Store(folder / "store")
    train_stage(model, store, None, lambda n: None)
    spot_check(model, store, None)
    stored = load_meta("models", model, store)
    del stored["first_gradients"]
    monkeypatch.setattr("experiments.stages.spot_check.load_meta", lambda *_: stored)
    with pytest.raises(Differs, match="are not stored with it"):
        spot_check(model, store, None)


CLOCK = """import time
calls = []
def eps(x, sigma):
    calls.append(time.monotonic())
    time.sleep(0.001)
    return exact(x, sigma) * (1 + (calls[-1] > calls[0] + 0.05))"""
UNSTEADY = {
    "20 calls": (
        "calls = []\ndef eps(x, sigma):\n    calls.append(1)\n    return exact(x, sigma) * (1 + (len(calls) > 20))",
        "answers differently after more calls",
    ),
    "clock": (CLOCK, "after more calls|asked the same twice|depends on the other images"),  # whichever is asked then
    "cache": (
        "kept = {}\ndef eps(x, sigma): return kept.setdefault((x.shape, float(sigma[0])), exact(x, sigma))",
        "depends on the other images .* keep answers to earlier questions",
    ),
    "batches": ("def eps(x, sigma): return exact(x, sigma) * (1 + (len(x) > 8))", "depends on the other images"),
    "numpy": (
        "def eps(x, sigma):\n    if len(x) > 8: x.numpy()[:] *= 0.9\n    return exact(x, sigma)",
        "changed x in place",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "message"), UNSTEADY.values(), ids=UNSTEADY)
def test_a_model_that_does_not_answer_alike_is_refused_before_it_is_sampled(
    folder: Path, model: str, message: str
) -> None:
    (folder / "mine_xyz.py").write_text(START + model + "\n")
    with pytest.raises(ValueError, match=message):
        doubts([trial()], None)


STEP = """
    def run(self, eps, x, sigmas, noise):
        for sigma, sigma_next in zip(sigmas, sigmas[1:]):
            x.add_(eps(x, sigma), alpha=sigma_next - sigma)
            {step}
            yield x
        {end}
"""
TWICE = "a = noise(){}; b = noise(); x.add_(a - 0.5 * b)"
SAMPLERS = {
    "noise twice": (TWICE.format(""), "pass", TWICE.format(".clone()")),
    "after the last yield": ("pass", "x.zero_()", "pass"),
}


@pytest.mark.parametrize(("step", "end", "meant"), SAMPLERS.values(), ids=SAMPLERS)
def test_a_sampler_gives_what_it_says(folder: Path, step: str, end: str, meant: str) -> None:
    (folder / "mine_xyz.py").write_text("GAIN = 1\n" + PLAIN)
    values = []
    for text in (STEP.format(step=step, end=end), STEP.format(step=meant, end="pass")):
        *_, setting = read(written(folder, FILE.replace(RUN, text))).runs()
        values += fd([trial(sampler=setting.sampler)], Store(folder / "new"))
    assert values[0] == values[1]


@pytest.mark.parametrize(("n", "n_classes"), [(40, 10), (500, 10), (500, 1), (5000, 16), (41, 7), (40, 41)])
def test_the_check_meets_every_class_and_every_part_of_a_run(n: int, n_classes: int) -> None:
    seen = set()
    for _ in range(30):
        chosen = choose(n, n_classes)
        assert len(chosen) > 6 and max(chosen) < n
        assert n_classes > n or {index % n_classes for index in chosen} == set(range(n_classes))
        assert all(
            any(abs(index - part * n / 8) <= n / 8 + min(n_classes, n) for index in chosen) for part in range(1, 8)
        )
        seen.update(chosen)
    assert len(seen) > min(n, 200) * 0.8


def test_a_model_that_changes_after_some_runs_ends_them(folder: Path) -> None:
    text = "calls = []\ndef eps(x, sigma):\n    calls.append(1)\n    return exact(x, sigma) * (1 + (len(calls) > 40))"
    (folder / "mine_xyz.py").write_text(START + text + "\n")
    store, samples = Store(folder / "new"), trial().samples
    with pytest.raises(ValueError, match=r"answers otherwise after this run|asked the same twice"):
        for seed in range(12):
            sample_stage(replace(samples, seed=seed), store, None, [].append)
    (folder / "mine_xyz.py").write_text(START + "eps = exact\n")
    forget()
    assert seed > 1
    for before in range(seed):  # what was stored before is right
        spot_check(replace(trial().score, samples=replace(samples, seed=before)), Store(folder / "new"), None)
