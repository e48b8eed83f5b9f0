"""settings.json of `tune`, read back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from experiments.export.settings_file import ladder_from
from experiments.run.setting import Ladder
from experiments.run.study import Study

STUDY = Study()
STD = STUDY.data_std


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    vp, karras = Ladder("vp", 8, options=(("data_std", STD),)), Ladder("karras", 8, 20.0, 0.05, (("rho", 5.2),))
    entries = [
        {"budget": budget, "ladder": own.name, "n_steps": 8, "sigma_max": own.sigma_max, "sigma_min": own.sigma_min}
        for budget, own in ((8, vp), (17, karras))
    ]
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"format": 1, "network": "small", "data": "mnist5k", "settings": entries}))
    return path


def test_the_ladder_has_one_step_per_evaluation(settings: Path) -> None:
    """Heun took 17 evaluations on 8 steps and one to 0; Euler takes them on 17."""
    assert ladder_from(settings, None, STUDY) == Ladder("karras", 17, 20.0, 0.05, (("rho", 5.2),))
    assert ladder_from(settings, 8, STUDY) == Ladder("vp", 8, 30.0, 0.03, (("data_std", STD),))


@pytest.mark.parametrize(
    ("change", "budget", "message"),
    [
        ({"format": 2}, 8, "it must be a settings.json that tune wrote"),
        ({"network": "python:m:eps"}, 8, "its network is 'python:m:eps', but this run samples from"),
        ({"data": "folder:x@0123456789ab"}, 8, "its data are 'folder:x@0123456789ab', but this run"),
        ({}, 12, "no setting for n_steps=12; it has settings for [8, 17] evaluations"),
    ],
)
def test_a_file_of_something_else_or_without_the_budget_is_refused(
    settings: Path, change: dict[str, Any], budget: int, message: str
) -> None:
    settings.write_text(json.dumps(json.loads(settings.read_text()) | change))
    with pytest.raises(ValueError, match=re.escape(message)):
        ladder_from(settings, budget, STUDY)
