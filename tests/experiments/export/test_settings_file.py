"""settings.json of `tune`, read back."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refused

from diffusion_core.data.load import resolve
from experiments.beta import Beta
from experiments.export.settings_file import schedule_from
from experiments.run.networks import Exact
from experiments.run.setting import Schedule
from experiments.run.study import Study

STUDY = Study()
STD = STUDY.data_std
EDITED = {"budget": 8, "schedule": "linear", "n_steps": 1, "sigma_max": 9.0, "sigma_min": 1.0, "sigmas": [8.0, 1.0]}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    vp = Schedule("vp", 8, options=(("data_std", STD),))
    karras = Schedule("karras", 8, 20.0, 0.05, (("rho", 5.2),))
    entries = [
        vars(one) | {"budget": n, "schedule": one.name, "sigmas": one.sigmas(), "ending_at_0": n == 17}
        for n, one in ((8, vp), (17, karras))
    ]
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"format": 1, "network": "small", "data": "mnist5k", "settings": entries}))
    return path


def test_the_schedule_has_one_step_per_evaluation(settings: Path):
    """Heun took 17 evaluations on 8 steps and one to 0; Euler takes them on 16 and that one."""
    assert schedule_from(settings, None, STUDY) == (Schedule("karras", 16, 20.0, 0.05, (("rho", 5.2),)), True)
    assert schedule_from(settings, 8, STUDY) == (Schedule("vp", 8, 30.0, 0.03, (("data_std", STD),)), False)
    on_it = [s for s in Beta(setting=settings, budgets=(17,)).settings() if s.final_denoise]
    assert [len(s.schedule.sigmas()) for s in on_it] == [17] * 10


def test_the_network_is_named_as_tune_names_it(settings: Path, tmp_path: Path):
    """The exact one, and that of points, whose name on the command line is another one."""
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(300, 2)))
    points = f"points:{tmp_path / 'points.npy'}"
    for network, data, name in (("exact", "mnist5k", Exact("mnist5k").row()["network"]), ("small", points, "mlp")):
        study = Study(network=network, data=data)
        text = json.loads(settings.read_text())
        settings.write_text(json.dumps(text | {"network": name, "data": resolve(data)}))
        assert schedule_from(settings, 17, study)[0].rule == "karras"


@pytest.mark.parametrize(
    "change, budget, message",
    [
        ({"format": 2}, 8, "it must be a settings.json that tune wrote"),
        ({"network": "python:m:eps"}, 8, "its network is 'python:m:eps', but this run samples from"),
        ({"data": "folder:x@0123456789ab"}, 8, "its data are 'folder:x@0123456789ab', but this run"),
        ({"settings": [EDITED]}, 8, "its sigmas are not the levels of its schedule, linear; were they changed?"),
        ({}, 12, "no setting for n_steps=12; it has settings for [8, 17] evaluations"),
    ],
)
def test_other_settings_are_refused(settings: Path, change: dict[str, Any], budget: int, message: str):
    settings.write_text(json.dumps(json.loads(settings.read_text()) | change))
    with refused(re.escape(message)):
        schedule_from(settings, budget, STUDY)
