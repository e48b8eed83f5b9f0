"""The experiment `tune`: exact budgets, unseen images, and settings that can be used."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import warm

from experiments.config.comparison import BestSet, Contrast, by_setting
from experiments.config.trial import Infeasible, Trial
from experiments.tune import FRESH, PRESETS, confirmation, knobs, trials

MODEL = """
import torch
from diffusion_core import adapters, load
from diffusion_core.exact import Empirical

images = load("mnist5k")
low, high = -1.0, 1.0
exact = Empirical(images.standardised()[:200])

def net(z, t):  # DDPM's eps of 200 digits, in the words of its paper: z = sqrt(abar) y + sqrt(1 - abar) noise
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    log_sigma = torch.log((1 / abar - 1).sqrt())
    below = t.long().clamp(max=998)
    sigma = torch.lerp(log_sigma[below], log_sigma[below + 1], t.double() - below).exp().float()
    y = z * (1 + sigma.square()).sqrt().view(-1, 1, 1, 1)
    return exact((y - eps.shift) / eps.scale, sigma / eps.scale)

eps = adapters.vp(net, images)
"""


def test_every_setting_of_a_budget_takes_exactly_the_budget() -> None:
    study = PRESETS["laptop"]
    planned = list(trials(study, 0.55))
    assert len(planned) == 2 * 3 * 20 and all(isinstance(trial, Trial) for trial in planned)
    for trial in planned:
        assert isinstance(trial, Trial) and trial.samples.planned_nfe == trial.budget
    odd = [trial for trial in trials(replace(study, budgets=(9,)), 0.55) if isinstance(trial, Infeasible)]
    assert {trial.setting.split(", ")[1] for trial in odd} == {"heun"} and "exactly 9 evaluations" in odd[0].why


def test_blocks_grow_to_all_images_and_reuse_those_of_earlier_ones() -> None:
    study = PRESETS["laptop"]
    assert study.sizes == (166, 333, 500)
    last = next(iter(trials(study, 0.55, look=2)))
    assert isinstance(last, Trial) and last.samples.earlier == (166, 333) and last.samples.n_samples == 500
    assert replace(study, n_samples=100).sizes == (100,)


def test_finalists_and_defaults_meet_on_images_of_another_seed() -> None:
    study = PRESETS["laptop"]
    first = by_setting(trials(study, 0.55))
    order = tuple(first["8 evaluations, race"])[::-1]  # the last settings won
    planned, found = confirmation(study, first, {"8 evaluations, race": order})
    modes = by_setting(planned)
    assert list(modes) == ["8 evaluations", "control"]
    names = list(modes["8 evaluations"])
    assert names[:2] == ["vp, eta 0", "vp, eta 1"] and set(names[2:]) == set(order[:6])
    assert names == [name for name in first["8 evaluations, race"] if name in names]  # the simplest first
    assert {trial.samples.seed for trial in planned if trial.mode != "control"} == {FRESH, FRESH + 1}
    raced = {trial.samples.seed for runs in first["8 evaluations, race"].values() for trial in runs}
    assert not raced & {trial.samples.seed for trial in planned}
    tuned = [one for one in found if isinstance(one, Contrast) and one.kind == "tuned"]
    assert [(one.a, one.b) for one in tuned] == [(order[0], "vp, eta 0"), (order[0], "vp, eta 1")]
    assert [one.mode for one in found if isinstance(one, BestSet)] == ["8 evaluations"]
    (aa,) = (one for one in found if isinstance(one, Contrast) and one.kind == "control")
    assert all(a.samples == replace(b.samples, seed=a.samples.seed) for a, b in aa.pairs)
    assert confirmation(study, first, {}) == ([], [])


def test_knobs_change_one_thing_at_a_time() -> None:
    groups = by_setting(trials(PRESETS["laptop"], 0.55))["8 evaluations, race"]
    found = [(one.kind, one.a, one.b) for one in knobs("race", "karras, heun", groups)]
    assert ("sampler", "karras, eta 1", "karras, eta 0") in found and ("ladder", "cosine, heun", "vp, heun") in found
    assert len(found) == 4 + 3


@pytest.mark.slow
def test_smoke_ends_in_a_report_without_a_recommendation(tmp_path: Path) -> None:
    arguments = ["tune", "--preset", "smoke", "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    done = warm.run("-m", "experiments", *arguments)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert (table["status"] == "ok").all() and (table["nfe"] == 4).all()
    report = (tmp_path / "out" / "report.md").read_text()
    assert "samples are not yet images" in report and "No verdict" in report  # an untrained network
    assert not (tmp_path / "out" / "settings.json").exists()


@pytest.mark.slow
def test_a_network_of_a_user_ends_in_settings_that_can_be_pasted(tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text(MODEL)
    arguments = ["--model", "python:my_model:eps", "--budgets", "6", "--ladders", "vp", "karras", "--etas", "0", "1"]
    arguments += ["--samplers", "dpm++2m", "--n-samples", "132", "--out", "out", "--store", "store"]
    done = warm.run("-m", "experiments", "tune", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    (one,) = settings["settings"]
    assert settings["format"] == 1 and one["budget"] == 6 and len(one["sigmas"]) == 7
    assert one["difference"] < 1e-3 and one["exports"].keys() >= {"torch"}
    assert one["model_sigmas"][0] / one["sigmas"][0] == pytest.approx(one["model_sigmas"][-1] / one["sigmas"][-1])
    report = (tmp_path / "out" / "report.md").read_text()
    assert f"Use “{one['setting']}” at 6 evaluations." in report
    assert "def sample(net, noise):" in report and "data-copy" in (tmp_path / "out" / "report.html").read_text()
    best = pd.read_csv(tmp_path / "out" / "best_sets.csv")
    assert set(best["mode"]) == {"6 evaluations"} and best["simplest"].sum() == 1
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    raced = table[table["mode"].str.endswith("race")]
    assert not set(raced["sample_seed"]) & set(table.drop(raced.index)["sample_seed"])
