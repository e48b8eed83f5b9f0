"""The report on `tune`: rounds of proposals, and libraries that have no code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

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
