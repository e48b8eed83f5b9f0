"""The report on `tune`: rounds of proposals, and libraries that have no code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

Report = Callable[[], str]


@pytest.fixture
def tuned(copied: Callable[[str], Path]) -> Path:
    return copied("run-tune")


@pytest.fixture
def report(tuned: Path, text_of: Callable[[Path], str]) -> Report:
    return lambda: text_of(tuned)


def append(path: Path, rows: pd.DataFrame) -> None:
    pd.concat([pd.read_csv(path), rows]).to_csv(path, index=False)


def change(path: Path, **columns: object) -> None:
    """Writes columns of a CSV anew, in every row."""
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def change_first_setting(directory: Path, how: Callable[[dict[str, Any]], object]) -> None:
    settings = json.loads((directory / "settings.json").read_text())
    how(settings["settings"][0])
    (directory / "settings.json").write_text(json.dumps(settings))


def test_rounds_of_proposals_follow_the_named_settings(tuned: Path, report: Report) -> None:
    race = pd.read_csv(tuned / "race.csv")
    append(tuned / "race.csv", race[race["look"] == 3].assign(round=1, look=1))
    text = report()
    for race_of in ("named settings | 3", "proposals, round 1 | 1"):
        assert f"| {race_of} | 500 | 98.8 % | 3 of 3 | 3 of 4 |" in text
    assert "proposals near the best meet the best so far" in text


def test_code_is_coloured_by_its_kind_and_missing_code_has_a_reason(tuned: Path, report: Report) -> None:
    (tuned / "export" / "8-evaluations-comfyui.txt").write_text("ManualSigmas\n")

    def other(setting: dict[str, Any]) -> None:
        setting["no_exports"] = {"diffusers": "it has no such scheduler"}
        setting["exports"]["comfyui"] = "export/8-evaluations-comfyui.txt"

    change_first_setting(tuned, other)
    text = report()
    assert "No code for diffusers, “vp, eta 1”: it has no such scheduler." in text
    assert "```text\nManualSigmas" in text and "```python\n# vp, eta 1" in text


def test_a_setting_without_images_is_not_called_recommended(tuned: Path, report: Report) -> None:
    (tuned / "images").mkdir()
    for name in ("real", *pd.read_csv(tuned / "table.csv")["samples_id"]):
        Image.new("L", (4, 4)).save(tuned / "images" / f"{name}.png")
    assert "vp, eta 1, 8 evaluations (recommended)" in report()
    settings = pd.read_csv(tuned / "best_sets.csv")
    first = settings["mode"] == "8 evaluations"
    change(tuned / "best_sets.csv", in_set=settings["in_set"] & ~first, simplest=settings["simplest"] & ~first)
    text = report()
    assert "vp, eta 1, 8 evaluations (lowest KD, not recommended)" in text and "(recommended)" not in text
    change(tuned / "best_sets.csv", value=np.where(settings["setting"] == "vp, eta 0", 0.0, settings["value"]))
    assert "vp, eta 0, 8 evaluations (default, lowest KD, not recommended)" in report()


def test_more_samples_that_are_no_images_would_settle_nothing(tuned: Path, report: Report) -> None:
    assert "images would separate them" in report()
    change(tuned / "contrasts.csv", verdict="too undertrained to tell")
    assert "would separate them" not in report()


def test_settings_that_could_not_take_part_are_said(tuned: Path, report: Report) -> None:
    assert "Not run" not in report()
    why = "heun: no ladder takes exactly 5 evaluations"
    new = {"experiment": "tune", "mode": "5 evaluations, race", "status": "infeasible", "error": why}
    names = ("vp, heun", "karras, heun", "vp, heun")  # of two networks
    append(tuned / "table.csv", pd.DataFrame([new | {"setting": name} for name in names]))
    assert f"**Not run:** “vp, heun” and “karras, heun”, 5 evaluations: {why}." in report()
