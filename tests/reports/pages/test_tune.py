"""The report on `tune`: rounds of proposals, and libraries that have no code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

TextOf = Callable[[Path], str]


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """A copy of the committed run."""
    return Path(shutil.copytree(Path(__file__).parents[1] / "run-tune", tmp_path / "run"))


def test_rounds_of_proposals_follow_the_named_settings(tuned: Path, text_of: TextOf) -> None:
    race = pd.read_csv(tuned / "race.csv")
    last = race[race["look"] == 3].assign(round=1, look=1)
    pd.concat([race, last]).to_csv(tuned / "race.csv", index=False)
    text = text_of(tuned)
    assert "| named settings | 3 | 500 | 98.8 % | 3 of 3 | 3 of 4 |" in text
    assert "| proposals, round 1 | 1 | 500 | 98.8 % | 3 of 3 | 3 of 4 |" in text
    assert "proposals near the best meet the best so far" in text


def test_why_a_library_has_no_code_is_said(tuned: Path, text_of: TextOf) -> None:
    path = tuned / "settings.json"
    settings = json.loads(path.read_text())
    settings["settings"][0]["no_exports"] = {"diffusers": "it has no such scheduler"}
    path.write_text(json.dumps(settings))
    assert "No code for diffusers, “vp, eta 1”: it has no such scheduler." in text_of(tuned)


def change(path: Path, **columns: object) -> None:
    """Writes columns of a CSV anew, in every row."""
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def test_a_setting_without_images_is_not_called_recommended(tuned: Path, text_of: TextOf) -> None:
    (tuned / "images").mkdir()
    for name in ("real", *pd.read_csv(tuned / "table.csv")["samples_id"]):
        Image.new("L", (4, 4)).save(tuned / "images" / f"{name}.png")
    assert "vp, eta 1, 8 evaluations (recommended)" in text_of(tuned)
    settings = pd.read_csv(tuned / "best_sets.csv")
    first = settings["mode"] == "8 evaluations"
    change(tuned / "best_sets.csv", in_set=settings["in_set"] & ~first, simplest=settings["simplest"] & ~first)
    text = text_of(tuned)
    assert "vp, eta 1, 8 evaluations (lowest KD, not recommended)" in text and "(recommended)" not in text
    value = np.where(settings["setting"] == "vp, eta 0", 0.0, settings["value"])
    change(tuned / "best_sets.csv", value=value)
    assert "vp, eta 0, 8 evaluations (default, lowest KD, not recommended)" in text_of(tuned)


def test_more_samples_that_are_no_images_would_settle_nothing(tuned: Path, text_of: TextOf) -> None:
    assert "images would separate them" in text_of(tuned)
    change(tuned / "contrasts.csv", verdict="too undertrained to tell")
    assert "would separate them" not in text_of(tuned)


def test_settings_that_could_not_take_part_are_said(tuned: Path, text_of: TextOf) -> None:
    assert "Not run" not in text_of(tuned)
    table = pd.read_csv(tuned / "table.csv")
    why = "heun: no ladder takes exactly 5 evaluations"
    new = [
        {"experiment": "tune", "mode": "5 evaluations, race", "setting": name, "status": "infeasible", "error": why}
        for name in ("vp, heun", "karras, heun", "vp, heun")  # of two networks
    ]
    pd.concat([table, pd.DataFrame(new)]).to_csv(tuned / "table.csv", index=False)
    assert f"**Not run:** “vp, heun” and “karras, heun”, 5 evaluations: {why}." in text_of(tuned)


def test_only_python_is_coloured_as_python(tuned: Path, text_of: TextOf) -> None:
    path = tuned / "settings.json"
    settings = json.loads(path.read_text())
    settings["settings"][0]["exports"]["comfyui"] = "export/8-evaluations-comfyui.txt"
    path.write_text(json.dumps(settings))
    (tuned / "export" / "8-evaluations-comfyui.txt").write_text("ManualSigmas\n")
    text = text_of(tuned)
    assert "```text\nManualSigmas" in text and "```python\n# vp, eta 1" in text
