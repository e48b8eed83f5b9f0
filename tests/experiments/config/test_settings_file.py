"""settings.json of `tune`, read back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from experiments.config.config import Ladder
from experiments.config.settings_file import ladder_from

STD = 0.55


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    vp, karras = Ladder("vp", 8, options=(("data_std", STD),)), Ladder("karras", 8, 20.0, 0.05, (("rho", 5.2),))
    entries = [
        {"budget": 8, "ladder": vp.name, "n_steps": 8, "sigma_max": 30.0, "sigma_min": 0.03, "sigmas": vp.sigmas()},
        {"budget": 16, "ladder": karras.name, "n_steps": 8, "sigma_max": 20.0, "sigma_min": 0.05,
         "sigmas": karras.sigmas()},
    ]  # fmt: skip
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"format": 1, "settings": entries}))
    return path


def test_the_ladder_has_one_step_per_evaluation(settings: Path) -> None:
    """Heun takes 16 evaluations on 8 steps; Euler takes them on 16."""
    assert ladder_from(settings, None, STD) == Ladder("karras", 16, 20.0, 0.05, (("rho", 5.2),))
    assert ladder_from(settings, 8, STD) == Ladder("vp", 8, 30.0, 0.03, (("data_std", STD),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole.update(format=2), "its format is 2, but this version reads 1"),
        (lambda whole: whole["settings"][0].pop("sigmas"), "it is not as tune wrote it: KeyError: 'sigmas'"),
        (lambda whole: whole["settings"].clear(), "it has no setting"),
        (lambda whole: whole["settings"][0]["sigmas"].__setitem__(3, 1.0), "its sigmas are not the levels of its"),
        (lambda whole: whole["settings"][0].update(ladder="karas"), "ladder='karas': it must be one of"),
    ],
)
def test_a_file_that_tune_did_not_write_is_refused(settings: Path, change: Any, message: str) -> None:
    whole = json.loads(settings.read_text())
    change(whole)
    settings.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=re.escape(message)):
        ladder_from(settings, 8, STD)


def test_a_budget_that_it_lacks_and_a_missing_file_are_said(settings: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no setting for n_steps=12; it has settings for 8, 16 evaluations"):
        ladder_from(settings, 12, STD)
    with pytest.raises(ValueError, match=r"it must be a settings.json that tune wrote: .*No such file"):
        ladder_from(tmp_path / "none.json", None, STD)
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(ValueError, match=r"it must be a settings.json that tune wrote: Expecting value"):
        ladder_from(tmp_path / "text.json", None, STD)
