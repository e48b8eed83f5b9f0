"""Timings: measured once per machine, fairly, and never read from a file that is damaged or about something else."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diffusion_core.networks import build
from diffusion_core.training import Step
from experiments.config.denoisers import Machine
from experiments.config.trained import RECIPES, TrainConfig
from experiments.stages import calibration
from experiments.stages.calibration import SAMPLING, TRAINING, Mode, Subject, Timing

SUBJECT = Subject("small", (1, 32, 32), "cpu", 1, sampling_batch=4, training_batch=4)
EAGER = (Timing(Mode(SAMPLING, 4, 1), 0.5), Timing(Mode(TRAINING, 4, 1), 0.5))
COMPILED = (Timing(Mode(SAMPLING, 4, 1, "bf16", True), 0.25, once=3.0),)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """An empty cache folder, a process that remembers nothing, and what is measured since."""
    done: list[str] = []
    monkeypatch.setenv("SIGMABENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "_measured", {})
    monkeypatch.setattr(calibration, "can_compile", lambda device: True)
    monkeypatch.setattr(calibration, "measure", lambda *_: (done.append("eager"), EAGER)[1])
    monkeypatch.setattr(calibration, "measure_compiled", lambda *_: (done.append("compiled"), COMPILED)[1])
    return done


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_network_that_is_timed_is_the_one_that_a_recipe_trains(recipe: str) -> None:
    config = TrainConfig(**RECIPES[recipe])
    timed = Subject.of(config.speed_key, (1, 32, 32), Machine(), 64).build()
    assert type(timed) is type(build("small", parameterisation=config.parameterisation))
    assert len(timed.state_dict()) == len(build("small", parameterisation=config.parameterisation).state_dict())
    subject = Subject.of(config.speed_key, (1, 32, 32), Machine(), 4)
    assert isinstance(calibration._step(subject, Mode(TRAINING, 4, 1))(), Step)


def as_in_another_process(**how: bool) -> tuple[tuple[Timing, ...], list[str]]:
    """The timings, and what was said."""
    said: list[str] = []
    calibration._measured.clear()
    return calibration.timings(SUBJECT, said.append, **how), said


def test_timings_are_measured_once_and_said(measured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_in_another_process() == (EAGER, ["timing the network small on this machine, once"])
    assert as_in_another_process() == (EAGER, [])
    compiled = ["timing the network small, compiled: half a minute, once on this machine"]
    assert as_in_another_process(compiled=True) == (EAGER + COMPILED, compiled)
    assert as_in_another_process(compiled=True) == (EAGER + COMPILED, [])
    assert measured == ["eager", "compiled"]
    as_in_another_process(again=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    as_in_another_process()
    assert measured == ["eager", "compiled", "eager", "eager"]
    assert len(list(calibration.folder().iterdir())) == 2, "another instruction set has a file of its own"


def change(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["timings"][0].update(values)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.clear(),
        lambda content: content.update(timings=[]),
        lambda content: content.update(timings=[1]),
        lambda content: content["key"].update(processor="another"),
        lambda content: content["timings"][0]["mode"].update(precision="fp8"),
        lambda content: content["timings"][0]["mode"].update(batch=0),
        lambda content: content["timings"][0]["mode"].update(new=1),
        *(change(seconds=seconds) for seconds in (0.0, -1.0, float("nan"), "0.5")),
        change(once=float("inf")),
        lambda content: "",
        lambda content: "{",
        lambda content: "[1]",
        lambda content: '{"key": 3, "timings": 3}',
    ],
)
def test_a_damaged_or_foreign_file_is_measured_again(measured: list[str], damage: Callable[[Any], Any]) -> None:
    as_in_another_process()
    content = json.loads(SUBJECT.path.read_text())
    text = damage(content)
    SUBJECT.path.write_text(text if isinstance(text, str) else json.dumps(content))
    assert calibration.read(SUBJECT.path, SUBJECT.key) is None
    assert as_in_another_process()[0] == EAGER and measured == ["eager"] * 2
    assert calibration.read(SUBJECT.path, SUBJECT.key) == EAGER, "the file is whole again"


def test_a_cache_folder_that_cannot_be_written_is_said(
    measured: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert calibration.timings(SUBJECT, print) == calibration.timings(SUBJECT, print) == EAGER
    assert measured == ["eager"], "this process remembers"
    assert "the next run times again, and may choose another precision" in caplog.text


def test_measuring_times_every_mode_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "ROUNDS", 1)
    before = torch.get_rng_state()
    measured = calibration.measure(SUBJECT)
    assert [timing.mode for timing in measured] == SUBJECT.modes
    assert measured[0].mode == Mode(SAMPLING, 4, 1) and Mode(TRAINING, 4, 1) in SUBJECT.modes
    assert all(timing.seconds > 0 and timing.once == 0 for timing in measured)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == 1


def test_rounds_give_up_hopeless_modes_and_leave_out_modes_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hopeless is told by thread seconds per image: one thread may take longer, if others have one of their own."""
    modes = {
        "plain": Mode(SAMPLING, 1, 4),
        "slow": Mode(SAMPLING, 1, 4, "bf16"),
        "one thread": Mode(SAMPLING, 1, 1),
        "hopeless": Mode(SAMPLING, 2, 4),
        "fails": Mode(SAMPLING, 3, 4),
        "fails later": Mode(SAMPLING, 4, 4),
    }
    seconds, calls = dict(zip(modes, (1.0, 1.4, 6.0, 9.0, 0.1, 1.1), strict=True)), dict.fromkeys(modes, 0)

    class Clock:
        def __init__(self, stmt: str, globals: dict[str, Any], num_threads: int) -> None:
            self.name = globals["run"]()
            assert num_threads == modes[self.name].threads

        def timeit(self, number: int) -> Any:
            calls[self.name] += 1
            if self.name == "fails" or (self.name == "fails later" and calls[self.name] > 3):
                raise RuntimeError("out of memory")
            return SimpleNamespace(median=seconds[self.name] + 0.1 / calls[self.name])

    monkeypatch.setattr(calibration, "Timer", Clock)
    measured = calibration.interleaved({mode: (lambda name=name: name) for name, mode in modes.items()})
    times = calibration.ROUNDS
    expected = {"plain": times, "slow": times, "one thread": times, "hopeless": 1, "fails": 1, "fails later": 4}
    assert calls == expected
    kept = ("plain", "slow", "one thread", "hopeless")
    assert measured == {modes[name]: seconds[name] + 0.1 / calls[name] for name in kept}
