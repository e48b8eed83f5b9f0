"""One run by hand, and runs of models that were not trained here."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from smoke import smoke

from diffusion_core.data import load
from diffusion_core.exact import Empirical
from experiments.config.identity import identity
from experiments.engine.options import Options
from experiments.single import trials
from experiments.studies.run import PRESETS

digits = Empirical(load("mnist5k").standardised(slice(200)))  # its samples are these images


def test_every_choice_is_in_the_identity() -> None:
    changes = {
        "law": "log-uniform", "weighting": "x0", "parameterisation": "eps", "network": "paper", "stratified": False,
        "stable_above": 1.0,
        "ladder": "karras", "n_steps": 7, "sigma_max": 20.0, "sigma_min": 0.1, "sampler": "heun", "final_denoise": True,
    }  # fmt: skip
    study = PRESETS["smoke"]
    usual = {identity(trial.score) for trial in trials(study, 0.55)}
    for name, value in changes.items():
        other = {identity(trial.score) for trial in trials(replace(study, **{name: value}), 0.55)}  # type: ignore[arg-type]  # any field
        assert len(other) == 2 and not other & usual, name


@pytest.mark.slow(6)
def test_a_network_trained_here_then_sampled_as_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["--n-steps", "3", "--sampler", "dpm++2m", "--n-samples", "40"]
    done = smoke(tmp_path, "run", *few, "--train-seeds", "1", "--recipe", "plain", "--train-images", "128")
    trained = done.rows().iloc[0]
    assert (trained["sampler"], trained["nfe"], trained["trained_by"]) == ("dpm++2m", 3, "sigmabench")
    assert "This setting scores FD" in done.report and "128 images seen" in done.report

    monkeypatch.setattr("reports.render.svg", lambda drawing: "<svg/>")  # the figures are the same
    (folder,) = (tmp_path / "store" / "models").iterdir()
    done = smoke(tmp_path, "run", *few, "--model", f"checkpoint:{folder}")
    again = done.rows().iloc[0]
    assert again["trained_by"] == "others" and pd.isna(again["images_seen"]) and pd.isna(again["train_noise"])
    assert (again["fd"], again["kd"]) == (trained["fd"], trained["kd"])  # the same weights on the same noise
    assert "trained elsewhere" in done.report


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_model_of_ones_own_in_the_beta_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    source = "python:test_run:digits"
    done = smoke(tmp_path, "beta", "--model", source, "--only-primary")
    table, report = done.rows(), done.report
    assert (table["status"] == "ok").all() and set(table["train_seed"]) == {0}
    assert set(table["network"]) == {source} and not list((tmp_path / "store").glob("models/*"))
    assert "for this network" in report
    assert r"(python:test\_run:digits, trained elsewhere, data mnist5k)" in report


def test_ladders_are_on_the_scale_of_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from diffusion_core import adapters, load\n"
    code += "eps = adapters.flow(lambda z, t: z, load('mnist5k'), pixels=(0.0, 1.0))\n"
    (tmp_path / "a_flow.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    options = Options(model="python:a_flow:eps")
    scale = options.data_std(options.apply(PRESETS["smoke"]))
    assert scale == pytest.approx(load("mnist5k").std / 255, rel=1e-5)  # half of that in [-1, 1]
    assert float(f"{scale:g}") == scale  # so that a ladder can be read from its name
