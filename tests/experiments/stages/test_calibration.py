"""Timings: measured once per machine, fairly, and never read from a file that is damaged or about something else."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experiments.stages import calibration
from experiments.stages.calibration import SAMPLING, TRAINING, Mode, Subject, Timing

SUBJECT = Subject("small", (1, 32, 32), "cpu", 1, sampling_batch=4, training_batch=4)
FOUND = (Timing(Mode(SAMPLING, 4, 1), 0.5), Timing(Mode(SAMPLING, 4, 1, "bf16", True), 0.25, once=3.0))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Subject]:
    """An empty cache folder, and the subjects that were measured since."""
    asked: list[Subject] = []
    monkeypatch.setenv("SIGMABENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "_measured", {})
    monkeypatch.setattr(calibration, "measure", lambda subject, network: (asked.append(subject), FOUND)[1])
    return asked


def forget() -> None:
    """As if another process began."""
    calibration._measured.clear()


def quiet(text: str) -> None:
    pass


def test_timings_are_measured_once_and_said(measured: list[Subject]) -> None:
    said: list[str] = []
    for _ in range(2):
        assert calibration.timings(SUBJECT, said.append) == FOUND
        forget()
    assert measured == [SUBJECT] and said == ["timing the network small on this machine, once"]


def test_another_instruction_set_is_timed_anew(measured: list[Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    calibration.timings(SUBJECT, quiet)
    forget()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    calibration.timings(SUBJECT, quiet)
    assert len(measured) == len(list(calibration.folder().iterdir())) == 2


def change(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["timings"][0].update(values)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.clear(),
        lambda content: content.update(timings=[]),
        lambda content: content["key"].update(processor="another"),
        lambda content: content["timings"][0]["mode"].update(precision="fp8"),
        lambda content: content["timings"][0]["mode"].update(batch=0),
        lambda content: content["timings"][0]["mode"].update(new=1),
        change(seconds=0.0),
        change(seconds=-1.0),
        change(seconds=float("nan")),
        change(seconds="0.5"),
        change(once=float("inf")),
    ],
)
def test_a_damaged_or_foreign_file_is_measured_again(measured: list[Subject], damage: Callable[[Any], Any]) -> None:
    calibration.timings(SUBJECT, quiet)
    content = json.loads(SUBJECT.path.read_text())
    damage(content)
    SUBJECT.path.write_text(json.dumps(content))
    forget()
    assert calibration.timings(SUBJECT, quiet) == FOUND and len(measured) == 2
    assert calibration.read(SUBJECT.path, SUBJECT.key) == FOUND, "the file is whole again"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"key": 3, "timings": 3}'])
def test_what_is_no_file_of_timings_is_not_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert calibration.read(tmp_path / "x.json") is None


def test_a_cache_folder_that_cannot_be_written_is_said(
    measured: list[Subject], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert calibration.timings(SUBJECT, quiet) == calibration.timings(SUBJECT, quiet) == FOUND
    assert len(measured) == 1, "this process remembers"
    assert "the next run times again, and may choose another precision" in caplog.text


def test_the_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIGMABENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibration.folder() == tmp_path / "sigmabench" / "timings"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert calibration.folder() == Path.home() / ".cache" / "sigmabench" / "timings"


def test_measuring_times_every_mode_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "ROUNDS", 1)
    before = torch.get_rng_state()
    measured = calibration.measure(SUBJECT)
    assert [timing.mode for timing in measured] == SUBJECT.modes
    assert [mode for mode in SUBJECT.modes if mode == Mode(mode.stage, 4, 1)] == [
        measured[0].mode, Mode(TRAINING, 4, 1)
    ]  # fmt: skip
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
