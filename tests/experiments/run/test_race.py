"""The race of `tune`: the best settings meet on other images, and all is ready in time."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from run_spine import data
from studies import plan

from experiments.run import stages
from experiments.run.experiment import StudyResult, _baselines_first, run_study
from experiments.run.options import Options
from experiments.tune import RACE, Tune

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn")]
GROUP = "2 evaluations"


def tune(**options: Any) -> Tune:
    """Eight settings of an exact denoiser, of which six go on, and which two are defaults."""
    few: dict[str, Any] = {
        "schedules": ("karras", "geometric"),
        "budgets": (2,),
        "etas": (0.0, 0.5, 1.0),
        "samplers": ("dpm++2m",),
    }
    return Tune(
        **{"data": data(), "network": "exact", "n_samples": 40, "race_samples": 40, "single": ()} | few | options
    )


def asked(folder: Path, study: Tune, **how: Any) -> StudyResult:
    places: dict[str, Any] = {"store": folder / "store", "out": folder / "out", "precision": "fp32", "threads": 1}
    return run_study(study, Options(**places | how))


def last(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    out = capsys.readouterr().out
    return out, json.loads(out.splitlines()[-1])


def test_the_best_go_on_to_other_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Again, it costs nothing. A part of it is run alone."""
    done = asked(tmp_path, tune())
    rows = pd.DataFrame(done.rows)
    raced, final = (rows[rows["section"] == mode] for mode in (RACE, GROUP))
    best = set(raced.sort_values("mmd")["setting"][:6])
    assert len(raced) == 8 and best <= set(final["setting"]) <= best | {"karras, eta 0", "karras, eta 1"}
    assert set(raced["sample_seed"]) == {0} and set(final["sample_seed"]) == {20_000}
    race = pd.read_csv(tmp_path / "out" / "race.csv")
    assert set(race[race["left"]]["setting"]) == set(final["setting"]) and len(race) == 8
    assert (rows["section"] == "control").sum() == 1 and set(rows["status"]) == {"ok"}
    assert last(capsys)[1]["evaluations"] == len(rows) * 2 * 40
    before = (tmp_path / "out" / "table.csv").read_bytes()
    asked(tmp_path, tune())
    assert last(capsys)[1]["evaluations"] == 0 and (tmp_path / "out" / "table.csv").read_bytes() == before
    chosen = asked(tmp_path, tune(), only=("setting=karras, eta 0",))
    assert [row["section"] for row in chosen.rows] == [RACE]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that each sampling moves on by a second, and nothing else."""
    seconds = [0.0]
    honest = stages._sample

    def sample(*arguments: Any) -> Any:
        seconds[0] += 1
        return honest(*arguments)

    monkeypatch.setattr(stages, "_sample", sample)
    now = SimpleNamespace(time=lambda: seconds[0], monotonic=lambda: seconds[0], sleep=lambda n: None)
    for where in ("runner", "experiment"):
        monkeypatch.setattr(f"experiments.run.{where}.time", now)


@pytest.mark.usefixtures("clock")
def test_after_the_time_nothing_begins_and_what_is_left_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The race has 60 % of it. The defaults come first, then settings spread evenly."""
    done = asked(tmp_path, tune(time="10s"))
    order = [run.setting.label for run in _baselines_first(plan(tune()))]
    modes = (RACE, GROUP, "control")
    raced, final, again = ([row["setting"] for row in done.rows if row["section"] == mode] for mode in modes)
    assert set(raced) == set(order[:6]) and len(final) == 4 and not again
    out, said = last(capsys)
    assert f"{GROUP}: left out, since the time was up: “" in out and said["failed"] == 0
    assert all(f"“{label}”" in out for label in order[6:])
    assert "the time was up: 3 of 7 runs of the last settings were not begun" in out


def test_a_setting_that_fails_leaves_the_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = stages._sample

    def fails(run: Any, *arguments: Any) -> Any:
        if run.setting.label == "karras, dpm++2m":
            raise RuntimeError("no")
        return honest(run, *arguments)

    monkeypatch.setattr(stages, "_sample", fails)
    done = asked(tmp_path, tune())
    bad = [(row["section"], row["status"]) for row in done.rows if row["setting"] == "karras, dpm++2m"]
    assert bad == [(RACE, "failed")] and done.status == 1
    assert f"{GROUP}: left out, since a run failed: “karras, dpm++2m”" in capsys.readouterr().out
