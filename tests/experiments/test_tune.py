"""The experiment `tune`: exact budgets, unseen images, and settings that can be used."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from smoke import smoke
from studies import confirmed, explored, plan

from diffusion_core.samplers import EulerTwoPart
from experiments.beta import Beta
from experiments.run.runs import Run
from experiments.run.setting import Schedule
from experiments.tune import Tune
from reports.render import read_page

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


def tune(**options: Any) -> Tune:
    return Tune(**{"explore_networks": 1, "budgets": (8,)} | options)


def knowing(study: Tune, known: tuple[float, float] = (0.0, math.inf), usual: tuple[str, ...] = ()) -> Tune:
    """A study whose network has an adapter that knows these levels, and comes with a loop on these schedules."""
    vars(study).update(adapter=SimpleNamespace(span=known, default_schedules=usual))
    return study


def by_label(runs: Iterable[Run]) -> dict[str, Run]:
    return {run.setting.label: run for run in runs}


def test_every_setting_of_a_budget_takes_exactly_the_budget():
    runs = [run for run in explored(Tune()) if not run.impossible]
    assert {run.nfe - (run.setting.budget or 0) for run in runs} == {0}
    churn = "euler-churn(s_churn=2, s_min=0.1)"  # as typed: a network that is trained here knows all levels
    assert churn in {run.setting.sampler.name for run in runs}
    races = {budget: by_label(run for run in runs if run.setting.budget == budget) for budget in (8, 16, 32)}
    restart = "karras(sigma_min=0.03), restart"  # it takes 12 evaluations, besides the schedule
    assert restart in races[16] and restart not in races[8]
    for name in ("karras", "geometric"):
        sigmas = races[8][f"{name}(sigma_min=0.03, end=0), eta 1"].sigmas
        assert (len(sigmas), sigmas[-1]) == (8, 0.03)
    odd = [run for run in explored(tune(budgets=(9,), last_levels=(0.03,))) if run.impossible]
    assert {run.setting.label.split(", ")[1].partition("(")[0] for run in odd} == {"heun", "restart", "eta 2"}
    assert "exactly 9 evaluations" in odd[0].impossible
    to_zero = explored(tune(budgets=(9,), last_levels=(0.03,), schedules=("vp",)))
    assert len(by_label(to_zero)["vp(end=0), heun"].sigmas) == 5


def test_a_typed_setting_is_a_schedule_and_a_sampler():
    typed = "karras(rho=5, sigma_max=20, sigma_min=0.05, end=0), euler-split(1, 0, 0.5)"
    run = by_label(explored(tune(single=(typed,))))[typed]
    assert run.setting.schedule == Schedule("karras", 7, 20.0, 0.05, (("rho", 5.0),)) and run.setting.final_denoise
    assert run.setting.sampler == EulerTwoPart(1.0, 0.0, 0.5) and run.nfe == 8


def test_a_setting_asks_for_no_level_that_the_network_does_not_know():
    span = (0.18, 5.3)
    low, high, right = "geometric(sigma_max=30), ddim", "karras(sigma_min=0.03), ddim", "karras(sigma_max=4), heun(1)"
    single = (*Tune().single, low, high, right, "ddpm-linspace, ddim")
    runs = explored(knowing(tune(single=single, last_levels=(0.18,)), span))
    beyond = by_label(run for run in runs if "knows" in run.impossible)
    assert beyond.keys() == {low, high, "ddpm-linspace, ddim"}
    assert beyond[high].impossible == "sigma 0.03: the network knows no level below 0.18"
    possible = by_label(run for run in runs if not run.impossible)
    for run in possible.values():
        asked = run.setting.sampler.asked(run.sigmas)
        assert span[0] * 0.9999 <= asked[0] and asked[1] <= span[1] * 1.0001
    assert possible["vp(end=0), eta 1"].sigmas[-1] == pytest.approx(span[0]), "from there to 0"
    raised = possible["karras, euler-churn(s_churn=2, s_min=0.1)"].setting.sampler
    assert raised.name == "euler-churn(s_churn=2, s_min=0.1, s_max=4.24)"
    assert possible[right].setting.sampler.name == "heun(s_churn=1)"  # 4 raised is 5: known


def test_a_setting_in_two_spellings_competes_once():
    texts = ("karras(rho=7), heun", "vp,  euler(eta=0.0)", "karras(sigma_max=20, sigma_min=0.05), heun")
    runs = explored(tune(single=texts, last_levels=(0.03,), etas=(0.0,), samplers=("heun",), schedules=("karras",)))
    assert len([run for run in runs if run.setting.label in ("karras, heun", "vp, eta 0")]) == 2
    assert {run.setting.label: run.impossible for run in runs if "same" in run.impossible} == {
        "karras(rho=7), heun": "it is the same as “karras, heun”",
        "vp, euler(eta=0.0)": "it is the same as “vp, eta 0”",
    }


def test_what_is_used_without_tuning_is_the_users_or_that_of_such_networks():
    few: dict[str, Any] = {"last_levels": (0.03,)}
    of_a_flow = knowing(tune(**few), usual=("flow", "flow(shift=3)"))
    assert [*tune(**few).points][:2] == ["vp, eta 0", "vp, eta 1"]
    assert [*of_a_flow.points][:2] == ["flow(end=0), eta 0", "flow(end=0), eta 1"]
    of_user = knowing(tune(default="flow(shift=3),  dpm++2m", **few), usual=("flow", "flow(shift=3)"))
    assert [*of_user.points][:3] == ["flow(shift=3), dpm++2m", *[*of_a_flow.points][:2]]
    more = {*of_a_flow.points} - {*tune(**few).points}
    assert {"flow(end=0), eta 0.5", "flow(shift=3, end=0), dpm++2m"} < more


def test_finalists_meet_what_is_used_today_on_other_images():
    study = tune(network="exact", search_seed=2, etas=(0.0, 0.5, 1.0))
    compared = confirmed(study)
    default, *first = [*study.points][:7]
    assert [(one.kind, one.a.label, one.b.label) for one in compared] == [
        *(("confirm", label, default) for label in first), ("control", f"{default}, other noise", default)
    ]  # fmt: skip
    draws = [{row["run"].setting.draw for row in side.rows.values()} for one in compared for side in one.sides]
    assert draws == [{22}] * 12 + [{23}, {22}] and {run.setting.draw for run in explored(study)} == {20}


@pytest.mark.slow(20)
def test_smoke_ends_in_a_report_that_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = smoke(tmp_path, "tune")
    table, choices, report = whole.rows(), whole.rows("choices"), whole.report
    ran = table[table["status"] != "infeasible"]  # Heun with a last step to 0
    assert (ran["status"] == "ok").all() and (ran["nfe"] == 4).all()
    caveat = whole.stdout.partition("caveat: ")[2]
    assert "Far from real images: FD " in caveat.splitlines()[0]  # a network that is hardly trained
    assert "Far from real images" in report and (whole.out / "settings.json").exists()
    monkeypatch.setattr("experiments.run.result_folder.write_report", read_page)  # nothing is drawn
    again = smoke(tmp_path, "tune", out="again")
    assert again.summary["evaluations"] == 0
    assert choices.equals(again.rows("choices")) and choices["chosen"].sum() >= 2


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_network_of_a_user_ends_in_settings_that_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "tuned_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    network = "python:tuned_model:eps"
    arguments = ["--network", network, "--budgets", "6", "--schedules", "vp", "karras", "--samplers", "dpm++2m"]
    arguments += ["--default", "karras, dpm++2m", "--settings", "--n-samples", "132"]
    done = smoke(tmp_path, "tune", *arguments)
    settings = json.loads((done.out / "settings.json").read_text())
    (entry,) = settings["settings"]
    assert settings["format"] == 1 and entry["budget"] == 6 and len(entry["sigmas"]) + entry["ending_at_0"] == 7
    assert entry["difference"] < 1e-3 and entry["exports"].keys() >= {"torch"}
    scales = [model / sigma for model, sigma in zip(entry["model_sigmas"], entry["sigmas"], strict=False)]
    assert scales == pytest.approx([scales[0]] * len(scales))
    rows = done.rows("contrasts").query("kind == 'confirm' and train_seed.isna() and metric == 'mmd'").set_index("a")
    better = [*rows[rows["recommended"].fillna(False).astype(bool)].index]
    assert entry["setting"] == (better or ["karras, dpm++2m"])[0] and set(rows["b"]) == {"karras, dpm++2m"}
    assert (f"{entry['setting']} is better than" in done.summary["verdict"]) == bool(better)
    assert all("def sample(net, noise):" in (done.out / f"report.{suffix}").read_text() for suffix in ("md", "html"))
    draws = done.rows().groupby("section")["sample_seed"].agg(set)
    assert draws["explore"] == {0} and len(draws["explore"] | draws["confirm"] | draws["control"]) == 3
    on_it = Beta(setting=done.out / "settings.json", network=network, n_steps=6)  # its schedule replaces the geometric
    schedules = {run.setting.section: run.setting.schedule for run in plan(on_it)}
    assert {schedules[group] for group in ("primary", "same-schedule", "control")} == {on_it.schedule}
    assert (on_it.schedule.name.partition("(")[0], on_it.schedule.n_steps) == (entry["schedule"].partition("(")[0], 6)
    assert [on_it.schedule.sigma_max, on_it.schedule.sigma_min] == [entry["sigma_max"], entry["sigma_min"]]
