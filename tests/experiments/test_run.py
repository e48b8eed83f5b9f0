"""One run by hand; networks that were not trained here; how commands end: exit statuses, the line of JSON, logs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from smoke import smoke
from studies import plan

from diffusion_core.data.load import load
from diffusion_core.exact import Empirical
from experiments.questions import OneSetting

digits = Empirical(load("mnist5k").standardised(slice(200)))  # its samples are these images
nine = Empirical(load("mnist5k").standardised(slice(9)))  # nine images, again and again
FEW = ["--n-steps", "3", "--n-samples", "40"]


def test_every_choice_is_in_the_identity():
    changes: dict[str, Any] = {
        "train_noise": "log-uniform", "weighting": "x0", "parameterisation": "eps", "network": "paper",
        "stratified": False,
        "stable_above": 1.0, "recipe": "plain", "held_out": 3, "train_images": 9, "warmup_images": 9, "first_seed": 7,
        "schedule": "karras", "n_steps": 7, "sigma_max": 20.0, "sigma_min": 0.1, "sampler": "heun",
        "final_denoise": True,
        "n_samples": 41, "batch_size": 7,
    }  # fmt: skip
    study = OneSetting(**OneSetting.presets["smoke"])
    usual = {run.score_id for run in plan(study)}
    for name, value in changes.items():
        other = {run.score_id for run in plan(replace(study, **{name: value}))}
        assert len(other) == 2 and not other & usual, name


@pytest.mark.slow(6)
def test_a_network_trained_here_then_sampled_as_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = [*FEW, "--sampler", "dpm++2m"]
    done = smoke(tmp_path, "run", *few, "--seeds", "1", "--recipe", "plain", "--train-images", "128")
    trained = done.rows().iloc[0]
    assert (trained["sampler"], trained["nfe"], trained["trained_by"]) == ("dpm++2m", 3, "sigmabench")
    assert " has FD " in done.summary["verdict"] and "128 images seen in training" in done.report

    monkeypatch.setattr("reports.figures.svg", lambda drawing: "<svg/>")  # the figures are the same
    (file,) = (tmp_path / "store" / "networks").glob("*.safetensors")
    done = smoke(tmp_path, "run", *few, "--network", f"checkpoint:{file}")
    again = done.rows().iloc[0]
    assert again["trained_by"] == "others" and pd.isna(again["images_seen"]) and pd.isna(again["train_noise"])
    assert (again["fd"], again["kd"]) == (trained["fd"], trained["kd"])  # the same weights on the same noise
    assert "checkpoint:" in done.report and "seen in training" not in done.report


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_ready_networks_are_compared_image_by_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each is what it is: no five networks are asked for."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    vary = ["--vary", "network=python:test_run:digits,python:test_run:nine", "evaluations=8"]
    done = smoke(tmp_path, "sweep", *vary)
    row = done.rows("contrasts").query("metric == 'mmd' and family == 'confirm'").iloc[0]
    assert (row["verdict"], row["n"]) == ("worse", 1) and "test_run:nine" in row["a"]


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_command_ends_with_a_line_of_json_unless_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = ["run", "--network", "exact", *FEW]
    done = smoke(tmp_path, *command)
    assert done.summary.keys() == {
        "experiment", "rows", "failed", "interrupted", "table", "verdict", "report", "seconds", "evaluations",
    }  # fmt: skip
    monkeypatch.setattr("experiments.console.Terminal.is_terminal", True)
    for more, last in (([], False), (["--json"], True)):
        text = smoke(tmp_path, *command, *more).stdout.splitlines()[-1]
        assert text.startswith("{") == last and (not last or json.loads(text)["rows"] == 1)


def test_schedules_are_on_the_scale_of_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = "from diffusion_core import adapters, load\n"
    code += "eps = adapters.flow(lambda z, t: z, load('mnist5k'), pixels=(0.0, 1.0))\n"
    (tmp_path / "a_flow.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    scale = OneSetting(network="python:a_flow:eps").data_std
    assert scale == pytest.approx(load("mnist5k").std / 255, rel=1e-5)  # half of that in [-1, 1]
    assert float(f"{scale:g}") == scale  # so that a schedule can be read from its name
