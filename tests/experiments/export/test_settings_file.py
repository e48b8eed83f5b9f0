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
        {"budget": 8, "ladder": vp.name, "n_steps": 8, "sigma_max": 30.0, "sigma_min": 0.03, "sigmas": vp.sigmas()},
        {"budget": 17, "ladder": karras.name, "n_steps": 8, "sigma_max": 20.0, "sigma_min": 0.05,
         "sigmas": karras.sigmas()},
    ]  # fmt: skip
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
        (lambda whole: whole.update(format=2), 8, "its format is 2, but this version reads 1"),
        (lambda whole: whole["settings"][0].pop("sigmas"), 8, "settings.json that tune wrote: KeyError: 'sigmas'"),
        (lambda whole: whole["settings"].clear(), 8, "it has no setting"),
        (lambda whole: whole.update(network="python:m:eps"), 8, "network is 'python:m:eps', but this run samples from"),
        (lambda whole: whole.update(data="folder:x@0123456789ab"), 8, "data are 'folder:x@0123456789ab', but this run"),
        (lambda whole: whole.update(data=7), 8, "that tune wrote: AttributeError: 'int' object has no attribute"),
        (lambda whole: whole["settings"][0]["sigmas"].__setitem__(3, 1.0), 8, "its sigmas are not the levels of its"),
        (lambda whole: whole["settings"][0].update(ladder="karas"), 8, "ladder='karas': it must be one of"),
        (lambda whole: None, 12, "no setting for n_steps=12; it has settings for [8, 17] evaluations"),
    ],
)
def test_a_file_that_tune_did_not_write_or_that_lacks_a_budget_is_refused(
    settings: Path, change: Any, budget: int, message: str
) -> None:
    whole = json.loads(settings.read_text())
    change(whole)
    settings.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=re.escape(message)):
        ladder_from(settings, budget, STUDY)


@pytest.mark.parametrize(
    ("text", "message"), [(None, ".*No such file"), ("hello", ".*Expecting value"), ("[" * 10**5, ".*")]
)
def test_a_missing_file_or_another_one_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    if text:
        (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=f"it must be a settings.json that tune wrote: {message}"):
        ladder_from(tmp_path / "settings.json", None, STUDY)
