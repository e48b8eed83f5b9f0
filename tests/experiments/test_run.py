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
FEW = ["geometric(30, 0.03), euler(eta=1), 3", "--n-samples", "40"]


def test_every_choice_is_in_the_identity():
    usual = "geometric(30, 0.03), euler(eta=1), 32"
    factors = (
        "train_noise=log-uniform(0.03, 100)", "weighting=x0", "output=eps", "stratified=false", "stable_above=1",
        "lr=0.1", "batch=7", "ema_decay=0.5",
    )  # fmt: skip
    settings = (
        "karras(30, 0.03), euler(eta=1), 32", "geometric(20, 0.03), euler(eta=1), 32",
        "geometric(30, 0.1), euler(eta=1), 32", "geometric(30, 0.03, end=0), euler(eta=1), 33",
        "geometric(30, 0.03), heun, 32", "geometric(30, 0.03), euler(eta=1), 7",
        *(f"{usual}; {one}" for one in factors),
    )  # fmt: skip
    changes: list[dict[str, Any]] = [{"setting": text} for text in settings]
    changes += [{"network": "paper"}, {"recipe": "plain"}]
    changes += [{name: 9} for name in ("held_out", "train_images", "warmup_images", "first_seed", "batch_size")]
    study = OneSetting(**OneSetting.presets["smoke"])
    ids = [{run.score_id for run in plan(replace(study, **change))} for change in [{}, *changes, {"n_samples": 41}]]
    assert all(len(both) == 2 for both in ids) and len({one for both in ids for one in both}) == 2 * len(ids)


@pytest.mark.slow(6)
def test_a_network_trained_here_then_sampled_as_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = ["geometric(30, 0.03), dpm++2m, 3", "--n-samples", "40"]
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
