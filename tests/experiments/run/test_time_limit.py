"""What fits into a limit of time: fewer real images, or the options that would fit; and that it is kept."""

import json
import time
from pathlib import Path

import pandas as pd
import pytest
from smoke import typed
from studies import plan

from experiments.run import answer
from experiments.run.cache import Cache
from experiments.run.plan import Run
from experiments.run.study import Study
from experiments.run.time_limit import Fit, Pace, fit
from experiments.tune import HANDFUL, Tune

STUDY = {"data": "mnist5k", "network": "exact", "budgets": (8, 16), "n_samples": 300}
SLOW = """
import time

def small(pixels):
    time.sleep(0.004 * len(pixels))
    return pixels.float().unflatten(2, (4, 8)).unflatten(4, (4, 8)).mean(dim=(1, 3, 5)).flatten(1)
"""


def fitted(folder: Path, paces: tuple[float, float], limit: str, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """With so many seconds per image for features, and per network evaluation; 2 seconds are over."""
    features, evaluation = paces
    monkeypatch.setattr(Pace, "timed", lambda runs: Pace(features, 0.0, 0.0, evaluation))
    study = Tune(**STUDY, time=limit)  # type: ignore[arg-type]
    runs = [run for run in plan(study) if not run.impossible]
    return fit(study, runs, plan_shortest, Cache(folder), time.time() - 2)


def plan_shortest(study: Study) -> list[Run]:
    planner = answer._Planner(study, answer.Machines.alike(plan(study)[0].machine), answer.Names.of(study))
    return planner.shortest(study)


@pytest.mark.parametrize(
    ("features", "limit", "most"),
    [(0.001, "2min", None), (0.01, "2min", 2_000), (0.01, "4min", None), (0.01, "1min", 1_000)],
)  # fmt: skip
def test_real_images_are_as_many_as_the_time_allows(
    features: float, limit: str, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fitted(tmp_path, (features, 0.0), limit, monkeypatch)
    assert found.most == most and (f"{most or 0:,} of 5,000 real images are used" in found.note) == bool(most)
    assert {run.reference.n for run in found.cut(plan(Tune(**STUDY)))} == {most or 5_000}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "limit", "most"), [(1_000, "2min", 1_000), (None, "1min", None), (1_000, "4min", None)]
)
def test_real_images_that_are_stored_are_used_again(
    stored: int | None, limit: str, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run, *_) = Fit(stored).cut(plan(Tune(**STUDY))[:1])  # type: ignore[arg-type]
    path = Cache(tmp_path).path("references", run.reference)
    path.parent.mkdir()
    path.touch()
    assert fitted(tmp_path, (0.01, 0.0), limit, monkeypatch).most == most


def test_a_time_that_is_too_short_is_refused_with_what_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"time='30s': it is too short: 2 s .*give --time 1min, or --budgets 8$"):
        fitted(tmp_path, (0.001, 0.0005), "30s", monkeypatch)
    with pytest.raises(ValueError, match=r"give --time 3min, or --budgets 8 --n-samples 100$"):
        fitted(tmp_path, (0.02, 0.0005), "60s", monkeypatch)
    with pytest.raises(ValueError, match=r"give --time 10min$"):
        fitted(tmp_path, (0.1, 0.0005), "40s", monkeypatch)


def test_the_shortest_tune_races_a_handful_and_confirms_one() -> None:
    shortest = [*Tune(**STUDY).shortest()]  # type: ignore[arg-type]
    groups = [one.group for one in shortest]
    for budget in (8, 16):
        assert groups.count(f"{budget} evaluations, race") == HANDFUL
        assert groups.count(f"{budget} evaluations") == 3  # the two defaults, and one more
    assert {one.n for one in shortest} == {166}


def test_the_first_of_each_group_comes_first() -> None:
    runs = [run for run in plan(Tune(**STUDY)) if not run.impossible]  # type: ignore[arg-type]
    first = [run.setting for run in answer._spread(runs)[:3]]
    assert [(one.label, one.budget) for one in first[:2]] == [("vp, eta 0", 8), ("vp, eta 0", 16)]
    assert first[2].label != "vp, eta 1", "the others are spread"


@pytest.mark.slow(60)
def test_tune_keeps_its_time_where_features_are_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 5,000 real images alone would take 20 seconds, and the race 17."""
    (tmp_path / "slow_features.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = "--network exact --features python:slow_features:small --budgets 4 --n-samples 100 --time 20s"
    places = [
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "out"),
        "--precision",
        "fp32",
        "--threads",
        "1",
    ]
    start = time.time()
    ended = typed("tune", *arguments.split(), *places)
    assert ended.status == 0, ended.stderr
    assert time.time() - start < 1.25 * 20
    assert abs(ended.summary["seconds"] - (time.time() - start)) < 1
    assert "real images are used, since the time is limited" in ended.stdout
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    assert any("of 5,000 real images" in note for note in info["notes"])
    assert any("the time is short, 4 evaluations, race" in note for note in info["notes"]), "the page says it too"
    assert len((tmp_path / "out" / "contrasts.csv").read_text().splitlines()) > 1, "something was confirmed"
    raced = pd.read_csv(tmp_path / "out" / "race.csv")["setting"].tolist()
    assert raced == [label for label in dict.fromkeys(run.setting.label for run in plan(Tune())) if label in raced]
