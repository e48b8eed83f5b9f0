"""One run by hand, and runs of models that were not trained here."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from diffusion_core.exact import GaussianDenoiser
from experiments import __main__ as command
from experiments.config.config import identity
from experiments.run import PRESETS, RunOptions, trials


def exact(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """A model of the contract, as `python:` sources name it."""
    return GaussianDenoiser()(x, sigma)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str, experiment: str = "run") -> int:
    usual = [experiment, "--preset", "smoke", "--out", str(folder / "out"), "--store", str(folder / "store")]
    monkeypatch.setattr(sys, "argv", ["experiments", *usual, *arguments])
    return command.main()


def test_every_choice_is_in_the_identity() -> None:
    changes = {
        "law": "log-uniform", "weighting": "x0", "parameterisation": "eps", "network": "paper", "stratified": True,
        "ladder": "karras", "n_steps": 7, "sigma_max": 20.0, "sigma_min": 0.1, "sampler": "heun", "final_denoise": True,
    }  # fmt: skip
    study = PRESETS["smoke"]
    usual = {identity(trial.score) for trial in trials(study, RunOptions())}
    for name, value in changes.items():
        other = {identity(trial.score) for trial in trials(study, RunOptions(**{name: value}))}  # type: ignore[arg-type]  # any field
        assert len(other) == 2 and not other & usual, name


@pytest.mark.slow
def test_a_network_trained_here_then_sampled_as_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["--n-steps", "3", "--sampler", "dpm++2m"]
    assert run(monkeypatch, tmp_path, *few, "--train-seeds", "1") == 0
    trained = pd.read_csv(tmp_path / "out" / "table.csv").iloc[0]
    assert (trained["sampler"], trained["nfe"], trained["trained_by"]) == ("dpm++2m", 3, "sigmabench")
    report = (tmp_path / "out" / "report.md").read_text()
    assert "**Scores:**" in report and "640 images seen in training" in report

    (folder,) = (tmp_path / "store" / "models").iterdir()
    assert run(monkeypatch, tmp_path, *few, "--model", f"checkpoint:{folder}") == 0
    again = pd.read_csv(tmp_path / "out" / "table.csv").iloc[0]
    assert again["trained_by"] == "others" and pd.isna(again["images_seen"]) and pd.isna(again["train_noise"])
    assert (again["fd"], again["kd"]) == (trained["fd"], trained["kd"])  # the same weights on the same noise
    assert "trained elsewhere" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
def test_a_model_of_ones_own_in_the_beta_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    source = "python:test_run:exact"
    assert run(monkeypatch, tmp_path, "--model", source, "--only-primary", experiment="beta") == 0
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert (table["status"] == "ok").all() and set(table["train_seed"]) == {0}
    assert set(table["network"]) == {source} and not list((tmp_path / "store").glob("models/*"))
    report = (tmp_path / "out" / "report.md").read_text()
    assert "for this network" in report
    assert r"(python:test\_run:exact, trained elsewhere, data mnist5k)" in report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n-steps", "0"], "error: n_steps=0: "),
        (["--ladder", "karras(rho=0)"], "error: rho=0"),
        (["--sampler", "euler(eta=50)"], "sigma_down^2 = sigma'^2 - sigma_up^2 would be negative"),
        (["--model", "somewhere"], "error: "),
        (["--model", "python:a:b", "--law", "vp"], "error: law: they train a network, but --model brings one"),
        (["--model", "python:a:b", "--train-images", "9"], "error: train_images=9: nothing is trained"),
        (["--model-label", "3"], "error: model_label=3: it needs --model"),
        (["--data", "folder:/nowhere"], "error: "),
        (["--features", "vgg19"], "error: features='vgg19'"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
