"""The race of `tune`: the best settings meet on other images, and all is ready in time."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from run_spine import data, silent

from experiments.run import stages
from experiments.run.experiment import Answer, _spread, answer
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.options import Options
from experiments.run.plan import planned
from experiments.run.tables import RunResults
from experiments.run.time_limit import Pace
from experiments.tune import RACE, Tune

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn")]
GROUP = "2 evaluations"


def tune(**options: Any) -> Tune:
    """Eight settings of an exact denoiser, of which six go on, and which two are defaults."""
    few: dict[str, Any] = {
        "ladders": ("karras", "geometric"),
        "budgets": (2,),
        "etas": (0.0, 0.5, 1.0),
        "samplers": ("dpm++2m",),
    }
    return Tune(
        **{"data": data(), "network": "exact", "n_samples": 40, "race_samples": 40, "single": ()} | few | options
    )


def asked(folder: Path, study: Tune, **how: Any) -> Answer:
    places: dict[str, Any] = {"store": folder / "store", "out": folder / "out", "precision": "fp32", "threads": 1}
    return answer(study, Options(**places | how))


def last(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    out = capsys.readouterr().out
    return out, json.loads(out.splitlines()[-1])


def test_the_best_go_on_to_other_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Again, it costs nothing. A part of it is run alone."""
    done = asked(tmp_path, tune())
    rows = pd.DataFrame(done.rows)
    raced, final = (rows[rows["mode"] == mode] for mode in (GROUP + RACE, GROUP))
    best = set(raced.sort_values("mmd")["setting"][:6])
    assert len(raced) == 8 and best <= set(final["setting"]) <= best | {"karras, eta 0", "karras, eta 1"}
    assert set(raced["sample_seed"]) == {0} and set(final["sample_seed"]) == {20_000}
    race = pd.read_csv(tmp_path / "out" / "race.csv")
    assert set(race[race["left"]]["setting"]) == set(final["setting"]) and len(race) == 8
    assert (rows["mode"] == "control").sum() == 1 and set(rows["status"]) == {"ok"}
    assert last(capsys)[1]["evaluations"] == len(rows) * 2 * 40
    before = (tmp_path / "out" / "table.csv").read_bytes()
    asked(tmp_path, tune())
    assert last(capsys)[1]["evaluations"] == 0 and (tmp_path / "out" / "table.csv").read_bytes() == before
    part = asked(tmp_path, tune(), only="setting == 'karras, eta 0'")
    assert [row["mode"] for row in part.rows] == [GROUP + RACE]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A race that was run."""
    study, cache = tune(), Cache(tmp_path / "store")
    runs = planned(study, study.settings(), Machine(), Machine())
    for run in runs:
        stages.score(run, cache, silent)
    return Made.of("tune", runs, cache, {})


@pytest.mark.parametrize(
    ("room", "finalists", "images", "says"),
    [(math.inf, 6, 40, []), (6 * 80, 4, 40, ["4 of 6 finalists"]), (0, 1, 20, ["1 of 6 finalists", "20 images per"])],
)
def test_with_less_time_fewer_are_confirmed_on_fewer_images(
    room: float, finalists: int, images: int, says: list[str], made: Made
) -> None:
    said = list[str]()
    study = tune(race_samples=20)
    confirmed = list(study.then(made, room, said.append))
    best = sorted(made.rows.values(), key=lambda row: row["mmd"])[:finalists]
    wanted = {row["setting"] for row in best} | {"karras, eta 0", "karras, eta 1"}
    assert {one.label for one in confirmed[:-1]} == wanted and {one.n for one in confirmed} == {images}
    assert [text in line for text, line in zip(says, said[1:], strict=True)] == [True] * len(says)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that each sampling moves on by a second, and nothing else."""
    seconds, honest = [0.0], stages._sampled

    def sampled(*arguments: Any) -> Any:
        seconds[0] += 1
        return honest(*arguments)

    monkeypatch.setattr(steps, "_sampled", sampled)
    monkeypatch.setattr(Pace, "timed", lambda runs: Pace(0.0, 0.0, 0.0, 0.0))
    for where in ("work", "answer", "time_limit"):
        monkeypatch.setattr(f"experiments.run.{where}.time", SimpleNamespace(time=lambda: seconds[0]))


@pytest.mark.usefixtures("clock")
def test_a_short_time_leaves_out_settings_spread_evenly_and_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The confirmation gets the time that the settings left out would have taken."""
    done = asked(tmp_path, tune(time="10s"))
    order = [run.setting.label for run in _spread(planned(tune(), tune().settings(), Machine(), Machine()))]
    modes = (GROUP + RACE, GROUP, "control")
    raced, final, again = ([row["setting"] for row in done.rows if row["mode"] == mode] for mode in modes)
    assert set(raced) == set(order[:6]) and {label.split(",")[0] for label in raced} == {"karras", "geometric"}
    assert set(final) == {"karras, eta 0", "karras, eta 1"} and len(again) == 1
    out, said = last(capsys)
    assert f"the time is short, {GROUP + RACE}: 6 of 8 settings run; left out: “" in out
    assert all(f"“{label}”" in out for label in order[6:]) and said["failed"] == 0


def test_a_setting_that_fails_leaves_the_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = stages._sampled

    def fails(run: Any, *arguments: Any) -> Any:
        if run.setting.label == "karras, dpm++2m":
            raise RuntimeError("no")
        return honest(run, *arguments)

    monkeypatch.setattr(steps, "_sampled", fails)
    done = asked(tmp_path, tune())
    bad = [(row["mode"], row["status"]) for row in done.rows if row["setting"] == "karras, dpm++2m"]
    assert bad == [(GROUP + RACE, "failed")] and done.status == 1
    assert f"{GROUP + RACE}: left out, since a run failed: “karras, dpm++2m”" in capsys.readouterr().out
