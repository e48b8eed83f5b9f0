"""The report on `tune`: rounds of proposals, and libraries that have no code."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports import best_sets
from reports.document import Code, Prose
from reports.pages import tune
from reports.results import read_run


@pytest.fixture
def tuned(copied: Callable[[str], Path]) -> Path:
    return copied("run-tune")


def change(path: Path, **columns: object) -> None:
    """Writes columns of a CSV anew, in every row."""
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def append(path: Path, rows: pd.DataFrame) -> None:
    pd.concat([pd.read_csv(path), rows]).to_csv(path, index=False)


def test_code_is_shown_and_missing_code_has_a_reason(tuned: Path) -> None:
    settings = json.loads((tuned / "settings.json").read_text())
    settings["settings"][0]["no_exports"] = {"diffusers": "it has no such scheduler"}
    (tuned / "settings.json").write_text(json.dumps(settings))
    section = tune.code(read_run(tuned))
    assert section is not None
    assert Prose("No code for diffusers, “vp, eta 1”: it has no such scheduler.") in section.blocks
    codes = [block for block in section.blocks if isinstance(block, Code)]
    assert codes[0].text.startswith("# vp, eta 1")


def test_a_setting_without_images_is_not_called_recommended(tuned: Path) -> None:
    (tuned / "images").mkdir()
    for name in ("real", *pd.read_csv(tuned / "table.csv")["samples_id"]):
        Image.new("L", (4, 4)).save(tuned / "images" / f"{name}.png")

    def labels() -> list[str]:
        run = read_run(tuned)
        return [label for _, label in tune.pictures(run, best_sets.read(run)[0])]

    assert labels()[-1] == "vp, eta 1, 8 evaluations (recommended)"
    grainy = read_run(tuned)
    grainy.rows["grain"] = 0.05
    assert tune.opening(grainy).verdict.endswith(
        ": no setting is detectably better. But the samples of “cosine, heun” are grainy."
    )
    sets = pd.read_csv(tuned / "best_sets.csv")
    first = sets["mode"] == "8 evaluations"
    change(tuned / "best_sets.csv", in_set=sets["in_set"] & ~first, simplest=sets["simplest"] & ~first)
    assert labels()[-1] == "vp, eta 1, 8 evaluations (lowest score, not recommended)"
    change(tuned / "best_sets.csv", value=np.where(sets["setting"] == "vp, eta 0", 0.0, sets["value"]))
    assert "vp, eta 0, 8 evaluations (default, lowest score, not recommended)" in labels()


@pytest.mark.slow
def test_best_and_simplest_are_compared_with_what_is_used_without_tuning(tuned: Path) -> None:
    rows = pd.read_csv(tuned / "contrasts.csv")
    mine = (rows["kind"] == "tuned") & (rows["mode"] == "16 evaluations")
    simplest = mine & (rows["b"] == "vp, eta 1")
    append(tuned / "contrasts.csv", rows[simplest].assign(a="vp, eta 1", b="vp, eta 0"))

    def line() -> str:
        run = read_run(tuned)
        return tune.line(run, best_sets.read(run)[1])

    assert "recommended against “vp, eta 0”: better, " in line()
    assert "simplest against “vp, eta 0”: not detectable, " in line()
    assert "images would separate them" in line()
    numbers = tune.number_of(read_run(tuned), best_sets.read(read_run(tuned))[1])
    assert numbers.notes[:3] == [
        "cosine, heun", "simplest that cannot be told from it: vp, eta 1, 7.66", "without tuning: vp, eta 0, 9.60"
    ]  # fmt: skip
    change(tuned / "contrasts.csv", verdict="no verdict")  # then more samples would settle nothing
    assert "would separate them" not in line()


def test_of_a_flow_it_is_said_whether_its_sde_is_better(tuned: Path) -> None:
    for name in ("contrasts", "table", "best_sets"):
        text = (tuned / f"{name}.csv").read_text().replace("vp, eta", "flow, eta")
        (tuned / f"{name}.csv").write_text(text)
    rows = pd.read_csv(tuned / "contrasts.csv")
    one = rows[(rows["kind"] == "tuned") & (rows["b"] == "flow, eta 0")].assign(a="flow, eta 1")
    for verdict, answer in (("better", "SDE"), ("worse", "ODE"), ("not detectable", "not known")):
        append(tuned / "contrasts.csv", one.assign(verdict=verdict, adjusted="Holm, 4 comparisons"))
        run = read_run(tuned)
        ((key, text),) = tune.ode_or_sde(run, best_sets.read(run)[-1:])
        assert key == "ODE or SDE?" and f": {answer}. “flow, eta 1” against “flow, eta 0”: " in text
    assert "after correction (Holm, 4 comparisons; the interval is not corrected), −" in text
    assert not tune.is_flow(replace(best_sets.read(run)[0], baseline="flow, eta 0.5"))


def test_a_search_in_which_all_runs_failed_says_so(tuned: Path) -> None:
    run = read_run(tuned)
    failed = replace(run, rows=run.rows.assign(status="failed"), tables={**run.tables, "best_sets": run.best_sets[:0]})
    assert tune.opening(failed).status[-1].endswith(" failed runs")


def test_a_budget_without_a_recommendation_says_why(tuned: Path) -> None:
    none = replace(best_sets.read(read_run(tuned))[0], simplest="", why_not="no setting gives images")
    assert tune.line(read_run(tuned), none) == "no verdict: no setting gives images"


def test_settings_that_could_not_take_part_are_said(tuned: Path) -> None:
    assert tune.not_run(read_run(tuned)) == []
    why = "heun: no ladder takes exactly 5 evaluations"
    new = {"experiment": "tune", "mode": "5 evaluations, race", "status": "infeasible", "error": why}
    names = ("vp, heun", "karras, heun", "vp, heun")  # of two networks
    append(tuned / "table.csv", pd.DataFrame([new | {"setting": name} for name in names]))
    said = f"“vp, heun” and “karras, heun”, 5 evaluations: {why}."
    assert tune.not_run(read_run(tuned)) == [Prose(said, "Not run")]
