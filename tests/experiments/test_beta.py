"""The beta experiment: its study, its command line, and a run."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from diffusion_core.samplers import Euler
from experiments import __main__ as command
from experiments.beta import PRESETS, BetaStudy, contrasts, trials
from experiments.command_line import Beta
from experiments.config.config import Ladder
from experiments.config.identity import identity
from experiments.config.trial import Infeasible, Trial
from experiments.engine.options import Options
from experiments.results.contrasts import BestOf

ROOT = Path(__file__).parents[2]


def planned(study: BetaStudy) -> list[Trial]:
    return [trial for trial in trials(study) if isinstance(trial, Trial)]


def test_laptop_grid_keeps_its_promises() -> None:
    study = PRESETS["laptop"]
    trials = planned(study)
    one_network = {identity(trial.score): trial for trial in trials if trial.model.seed == 0}
    assert sum(trial.samples.planned_nfe for trial in one_network.values()) <= 1500
    assert study.train_seeds >= 2 and study.n_samples >= 500


def test_primary_contrast_is_the_one_fixed_beforehand() -> None:
    for name in ("laptop", "gpu"):
        primary = next(contrasts(planned(PRESETS[name])))
        assert not isinstance(primary, BestOf)
        assert (primary.kind, len(primary.pairs)) == ("primary", PRESETS[name].train_seeds)
        for a, b in primary.pairs:
            assert (a.samples.ladder, a.samples.sampler) == (Ladder("geometric", 66, 30.0, 0.03), Euler(1.0))
            assert b.score == replace(a.score, samples=replace(a.samples, sampler=Euler(0.0)))
            assert a.model.noise.name == "log-normal(-0.507, 1.2)"


def test_pairs_share_noise_within_a_network_and_not_between_networks() -> None:
    for contrast in contrasts(planned(PRESETS["laptop"])):
        pairs = contrast.pairs if not isinstance(contrast, BestOf) else ()
        for a, b in pairs:
            assert a.model == b.model and a.samples.n_samples == b.samples.n_samples
            assert (a.samples.seed == b.samples.seed) == (contrast.kind != "control")
        assert len({a.samples.seed for a, _ in pairs}) == len(pairs)


def test_impossible_eta_is_listed_not_run() -> None:
    study = replace(PRESETS["smoke"], etas=(0.0, 1.0, 9.0))
    infeasible = [trial for trial in trials(study) if isinstance(trial, Infeasible)]
    assert len(infeasible) == 2 and "between 0 and 1/sqrt(1 - r^2) = 1.016" in infeasible[0].why
    assert infeasible[0].row()["status"] == "infeasible"


def test_options_override_the_preset() -> None:
    options = Options(preset="smoke", train_images=99, n_samples=70, threads=1)
    study = options.apply(PRESETS["smoke"], Beta(etas=(0.0, 0.5)))
    assert (study.train.images_seen, study.etas, study.n_samples, study.train.machine.threads) == (
        99,
        (0.0, 0.5),
        70,
        1,
    )
    assert study.betas == PRESETS["smoke"].betas


def experiment(out: Path, store: Path, *more: str) -> list[str]:
    where = ["--out", str(out), "--store", str(store)]
    return [sys.executable, "-W", "error", "-m", "experiments", "beta", "--preset", "smoke", *where, *more]


@pytest.mark.slow
def test_smoke_runs_and_reports(tmp_path: Path) -> None:
    start = time.monotonic()
    done = subprocess.run(experiment(tmp_path / "a", tmp_path / "sa"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "a" / "report.html") in done.stdout.replace("\n", "")
    assert "Is beta &gt; 0 better" in (tmp_path / "a" / "report.html").read_text()
    whole = pd.read_csv(tmp_path / "a" / "table.csv")
    assert set(whole["mode"]) == {"primary", "control", "same-alpha", "same-ladder", "pareto"}
    assert (whole["status"] == "ok").all()
    print(f"smoke took {time.monotonic() - start:.1f} s")


def test_data_that_cannot_be_fetched_is_one_message_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    arguments = [*experiment(tmp_path, tmp_path)[5:], "--data", "mnist", "--data-root", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", ["experiments", *arguments])
    assert command.main() == 2
    assert "data='mnist5k' needs no download" in capsys.readouterr().err
