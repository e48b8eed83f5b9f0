"""What fails in a sweep: it is a row with its reason, the other runs go on, and nothing finished is lost."""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from short_sweep import TRAIN, TRIALS, known_images, run, trial
from torch import Tensor

from diffusion_core.samplers import Model
from experiments.config.config import SampleConfig, ScoreConfig
from experiments.config.identity import identity
from experiments.config.trained import TrainConfig
from experiments.engine import tasks
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import Outcome, RunContext
from experiments.stages import sample, score
from experiments.stages.score import score_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store


@pytest.fixture(autouse=True)
def real_images(tmp_path: Path) -> None:
    known_images(tmp_path)


class Own(BaseException):
    """What no `except Exception` catches."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("out of\n  <memory>"), "model: RuntimeError: out of <memory>"),
        (SystemExit(0), "model: SystemExit: 0"),
        (GeneratorExit("a"), "model: GeneratorExit: a"),
        (Own("b"), "model: Own: b"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_run_is_a_row_and_the_others_go_on(
    error: BaseException, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = sample.load_model

    def breaks_at_sigma_3(*arguments: Any) -> Model:
        network = honest(*arguments)

        def eps(x: Tensor, sigma: Tensor) -> Tensor:
            if 2 < sigma[0] < 4:
                raise error
            return network(x, sigma)

        return eps

    monkeypatch.setattr(sample, "load_model", breaks_at_sigma_3)
    rows = run([trial(3, 0.5), *TRIALS[:1]], Store(tmp_path))
    assert [row["status"] for row in rows] == ["failed", "ok"]
    assert rows[0]["error"] == told and "fd" not in rows[0]
    assert rows[0]["eta"] == pytest.approx(0.5) and rows[0]["run_id"]


def test_a_failure_is_tried_once_per_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, honest, trained = Store(tmp_path), train_stage, []

    def counted(config: TrainConfig, *rest: Any) -> str:
        trained.append(config)
        return honest(config, *rest)

    monkeypatch.setattr(tasks, "train_stage", counted)
    diverging = [trial(2, eta, replace(TRAIN, lr=1e30)) for eta in (0.0, 0.5)]
    first = run(diverging, store)
    assert all("its network was not trained" in row["error"] and "lr=" in row["error"] for row in first)
    assert len(trained) == 1
    failed: dict[str, Outcome] = {}  # of a command that runs one plan after another, as a race does
    for part in (diverging[:1], diverging):
        rows = execute(Plan.of(part), RunContext(store), Console(quiet=True), failed=failed).rows
        assert rows == first[: len(part)] and len(trained) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [OSError("disk full"), MemoryError(), json.JSONDecodeError("damaged", "", 0), ValueError("x: no such folder")],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_tried_again(error: Exception, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    unlucky = [trial(2, 0.0, replace(TRAIN, images_seen=70 + len(str(error))))]

    def fails(*arguments: object, **more: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "train_stage", fails)
        assert run(unlucky, store)[0]["status"] == "failed"
    assert run(unlucky, store)[0]["status"] == "ok"


def test_logs_tell_when_how_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **more: object) -> None:
        warnings.warn("getting tight", stacklevel=1)
        raise OSError("disk full")

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("default")
        patch.setattr(tasks, "score_stage", fails)
        result = execute(Plan.of(TRIALS[:1]), RunContext(Store(tmp_path)), Console(quiet=True), logs=tmp_path)
    (row,) = result.rows
    text = (tmp_path / f"{row['run_id']}.log").read_text()
    lines = [f"sampling {row['samples_id']}: started with threads=", f"sampling {row['samples_id']}: done after "]
    lines += [f"scoring {row['run_id']}: started", "UserWarning: getting tight", "Traceback", "OSError: disk full"]
    places = [text.index(line) for line in [*lines[:3], *lines[4:], lines[3]]]
    assert places == sorted(places) and result.warnings == 1
    assert f"training {row['model_id']}: done after " in (tmp_path / f"{row['model_id']}.log").read_text()


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, honest = Store(tmp_path), sample.sample_stage

    def interrupted(config: SampleConfig, *rest: Any, **more: Any) -> str:
        if config == TRIALS[1].samples:
            with store.writing("samples", "half"):
                raise KeyboardInterrupt
        return honest(config, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(sample, "sample_stage", interrupted)
        result = execute(Plan.of(TRIALS), RunContext(store), Console(quiet=True))
    assert result.interrupted and [row["run_id"] for row in result.rows] == [identity(TRIALS[0].score)]
    assert list((tmp_path / "tmp").iterdir()) == [] and not (tmp_path / "samples" / "half").exists()
    assert len(run(TRIALS, store)) == len(TRIALS)


def test_what_is_damaged_while_rows_are_read_is_failed_rows_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs share a network whose file is cut after it was used: the first row finds it damaged, the second gone."""
    store = Store(tmp_path)
    shared = [trial(2, eta) for eta in (0.0, 0.9)]
    honest = score_stage

    def score_and_damage(config: ScoreConfig, *more: Any) -> str:
        name = honest(config, *more)
        if config == shared[-1].score:
            (store.path("models", identity(TRAIN)) / "meta.json").write_text("{")
        return name

    monkeypatch.setattr(tasks, "score_stage", score_and_damage)
    rows = run(shared, store)
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert all("run the same command again" in str(row["error"]) for row in rows)
    monkeypatch.undo()
    assert [row["status"] for row in run(shared, store)] == ["ok", "ok"]


def test_real_images_without_a_scale_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "extract", lambda name, pixels, **how: (torch.ones(len(pixels), 8), None))
    (row,) = run(TRIALS[:1], Store(tmp_path / "new"))
    assert row["status"] == "failed"
    assert "data='mnist5k': more than half of the pairs of images have equal features" in row["error"]


def test_a_distance_that_is_not_finite_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(score.METRICS, "fd", lambda features, reference: (math.nan, np.zeros(20)))
    (row,) = run(TRIALS[:1], Store(tmp_path))
    assert row["status"] == "failed" and "features='digits': fd=nan; a distance must be finite" in row["error"]
