"""The experiment `tune`: exact budgets, unseen images, and settings that can be used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from smoke import smoke

from experiments.config.comparison import BestSet, Contrast, by_setting
from experiments.config.trial import Infeasible, Trial
from experiments.studies.tune import PRESETS, TuneStudy
from experiments.tune.experiment import AGAIN, FRESH, confirmation, defaults, knobs, named, trials
from experiments.tune.settings import not_run

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
    planned = [trial for trial in trials(study, 0.55) if isinstance(trial, Trial)]
    for trial in planned:
        assert trial.samples.planned_nfe == trial.budget
    known = "euler-churn(s_churn=2, s_min=0.1)"  # as typed: a network that is trained here knows all levels
    assert known in {trial.samples.sampler.name for trial in planned}
    modes = by_setting(planned)
    assert [*map(len, modes.values())] == [26, 27, 27]  # restarts take 12 evaluations, besides the ladder
    assert "karras, restart" in modes["16 evaluations, race"] and "karras, restart" not in modes["8 evaluations, race"]
    (ending, *_) = modes["8 evaluations, race"]["vp, eta 0, ending at 0"]
    assert ending.samples.final_denoise and len(ending.samples.ladder.sigmas()) == 8
    odd = [trial for trial in trials(replace(study, budgets=(9,)), 0.55) if isinstance(trial, Infeasible)]
    assert {trial.setting.split(", ")[1].partition("(")[0] for trial in odd} == {"heun", "restart"}
    assert "exactly 9 evaluations" in odd[0].why
    ending_at_0 = replace(study, budgets=(9,), ladders=("vp",), settings=("vp, heun, ending at 0",))
    (heun,) = by_setting(trials(ending_at_0, 0.55)).values()
    assert {len(trial.samples.ladder.sigmas()) for trial in heun["vp, heun, ending at 0"]} == {5}


def test_a_setting_asks_for_no_level_that_the_network_does_not_know() -> None:
    known = (0.18, 5.3)
    typed = (
        "geometric from 30 to 0.03, eta 0",
        "karras from 5.3 to 0.03, eta 0",
        "karras from 4 to 0.2, heun(s_churn=1)",
    )
    study = replace(
        PRESETS["laptop"], budgets=(8,), known=known, sigma_min=known[0], sigma_max=known[1],
        settings=(*PRESETS["laptop"].settings, *typed, "ddpm-linspace, eta 0"),
    )  # fmt: skip
    planned = list(trials(study, 0.55))
    refused = {trial.setting: trial.why for trial in planned if isinstance(trial, Infeasible) and "knows" in trial.why}
    assert refused.keys() == {*typed[:2], "ddpm-linspace, eta 0"}
    assert refused[typed[1]] == "sigma 0.03: the network knows no level below 0.18"
    runs = {trial.setting: trial.samples for trial in planned if isinstance(trial, Trial)}
    for samples in runs.values():
        low, high = samples.sampler.asked(samples.ladder.sigmas())
        assert known[0] * 0.9999 <= low and high <= known[1] * 1.0001
    raised = runs["karras, euler-churn(s_churn=2, s_min=0.1)"].sampler
    assert raised.name == "euler-churn(s_churn=2, s_min=0.1, s_max=4.24)"
    assert runs[typed[2]].sampler.name == "heun(s_churn=1)"  # 4 raised is 5: known


def test_settings_that_do_not_take_part_are_said() -> None:
    typed = ("vp from 200 to 0.001, eta 0", "vp, heun, ending at 0")
    study = replace(PRESETS["laptop"], budgets=(5,), ladders=("vp",), settings=typed, known=(0.02, 300.0),
                    sigma_min=0.02, train_seeds=2)  # fmt: skip
    assert not_run(trials(study, 0.55)) == [
        "not run: “vp, heun”, 5 evaluations: heun: no ladder takes exactly 5 evaluations",
        "not run: “vp from 200 to 0.001, eta 0”, 5 evaluations: sigma 0.001: the network knows no level below 0.02",
    ]


def test_the_defaults_come_first_and_the_race_takes_few_images() -> None:
    study = PRESETS["laptop"]
    assert [setting.name for setting in named(study)][:3] == ["vp, eta 0", "vp, eta 1", "vp, eta 0.5"]
    for n_samples, raced in ((500, 166), (100, 100)):
        first = next(iter(trials(replace(study, n_samples=n_samples), 0.55)))
        assert isinstance(first, Trial) and first.samples.n_samples == raced


def test_finalists_and_defaults_meet_on_images_of_another_seed() -> None:
    study = PRESETS["laptop"]
    first = by_setting(trials(study, 0.55))
    order = tuple(first["8 evaluations, race"])[::-1]  # the last settings won
    left = {"8 evaluations, race": order[:6]}
    planned, found = confirmation(study, left, first)
    modes = by_setting(planned)
    assert list(modes) == ["8 evaluations", "control"]
    names = list(modes["8 evaluations"])
    assert names[:2] == ["vp, eta 0", "vp, eta 1"] and set(names[2:]) == set(order[:6])
    assert names == [name for name in first["8 evaluations, race"] if name in names]  # the simplest first
    assert {trial.samples.seed for trial in planned if trial.mode != "control"} == {FRESH + 1, FRESH + 2}
    raced = {trial.samples.seed for runs in first["8 evaluations, race"].values() for trial in runs}
    assert not raced & {trial.samples.seed for trial in planned}
    tuned = [one for one in found if isinstance(one, Contrast) and one.kind == "tuned"]
    assert [(one.a, one.b) for one in tuned] == [(name, "vp, eta 0") for name in names[1:]]
    assert [one.mode for one in found if isinstance(one, BestSet)] == ["8 evaluations"]
    (aa,) = (one for one in found if isinstance(one, Contrast) and one.kind == "control")
    assert all(a.samples == replace(b.samples, seed=a.samples.seed) for a, b in aa.pairs)
    assert confirmation(study, {}, first) == ([], [])
    fewer, _ = confirmation(study, left, first, 0.6)
    assert {trial.samples.n_samples for trial in fewer} == {int(0.6 * study.n_samples)}


def test_knobs_change_one_thing_at_a_time() -> None:
    groups = by_setting(trials(PRESETS["laptop"], 0.55))["8 evaluations, race"]
    found = [(one.kind, one.a, one.b) for one in knobs("race", "karras, heun", groups)]
    assert ("sampler", "karras, eta 1", "karras, eta 0") in found and ("ladder", "cosine, heun", "vp, heun") in found
    assert len(found) == 8 + 3


def test_another_search_uses_other_images() -> None:
    study = PRESETS["laptop"]
    one, other = (next(iter(trials(replace(study, search_seed=seed), 0.55))) for seed in (0, 1))
    assert isinstance(one, Trial) and isinstance(other, Trial)
    assert other.samples == replace(one.samples, seed=AGAIN + 1)
    first = by_setting(trials(replace(study, search_seed=1), 0.55))
    left = {mode: tuple(groups) for mode, groups in first.items()}
    planned, _ = confirmation(replace(study, search_seed=1), left, first)
    assert min(trial.samples.seed for trial in planned) == AGAIN + FRESH + 1


def test_durations_have_a_unit() -> None:
    assert [TuneStudy(time=text).seconds for text in ("90s", "10min", "1.5 h")] == [90, 600, 5400]
    with pytest.raises(ValueError, match="time='10': it must read like 90s, 10min or 2h"):
        TuneStudy(time="10").seconds  # noqa: B018


def test_what_is_used_without_tuning_is_the_users_or_that_of_the_kind_of_network() -> None:
    study = TuneStudy(budgets=(8,))
    assert defaults(study) == ("vp, eta 0", "vp, eta 1")
    of_a_flow = replace(study, usual=("flow", "flow(shift=3)"))
    assert defaults(of_a_flow) == ("flow, eta 0, ending at 0", "flow, eta 1, ending at 0")
    own = replace(of_a_flow, default="flow(shift=3),  dpm++2m")
    assert defaults(own) == ("flow(shift=3), dpm++2m", *defaults(of_a_flow))
    assert [setting.name for setting in named(own)][:3] == list(defaults(own))
    names = {setting.name for setting in named(of_a_flow)} - {setting.name for setting in named(study)}
    assert {"flow, eta 0.5, ending at 0", "flow(shift=3), dpm++2m, ending at 0"} < names
    half = replace(study, usual=("ddpm-leading",))
    assert defaults(half) == ("ddpm-leading, eta 0, ending at 0", "ddpm-leading, eta 1, ending at 0")


def test_a_setting_in_two_spellings_races_once() -> None:
    study = replace(
        PRESETS["laptop"],
        budgets=(8,),
        settings=("karras(rho=7), heun", "vp,  eta 0.0", "karras from 20 to 0.05, heun"),
    )
    planned = list(trials(replace(study, train_seeds=1), 0.55))
    assert sum(trial.setting in ("karras, heun", "vp, eta 0") for trial in planned if isinstance(trial, Trial)) == 2
    assert {trial.setting: trial.why for trial in planned if isinstance(trial, Infeasible)} == {
        "karras(rho=7), heun": "it is the same as “karras, heun”",
        "vp, eta 0.0": "it is the same as “vp, eta 0”",
    }


@pytest.mark.slow(20)
def test_smoke_ends_in_a_report_that_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = smoke(tmp_path, "tune")
    table, raced, report = whole.rows(), whole.rows("race"), whole.report
    assert (table["status"] == "ok").all() and (table["nfe"] == 4).all()
    assert "warning: Far from real images: FD " in whole.stdout  # a network that is hardly trained
    assert "Far from real images" in report and (whole.out / "settings.json").exists()
    monkeypatch.setattr("experiments.engine.runner.write_report", lambda folder: whole.out / "report.html")
    again = smoke(tmp_path, "tune", out="again")
    assert again.summary["evaluations"] == 0
    assert raced.equals(again.rows("race"))


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_network_of_a_user_ends_in_settings_that_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tuned_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["--model", "python:tuned_model:eps", "--budgets", "6", "--ladders", "vp", "karras"]
    arguments += ["--samplers", "dpm++2m", "--settings", "--n-samples", "132"]
    done = smoke(tmp_path, "tune", *arguments)
    settings = json.loads((done.out / "settings.json").read_text())
    (entry,) = settings["settings"]
    assert settings["format"] == 1 and entry["budget"] == 6 and len(entry["sigmas"]) == 7
    assert entry["difference"] < 1e-3 and entry["exports"].keys() >= {"torch"}
    assert entry["model_sigmas"][0] / entry["sigmas"][0] == pytest.approx(
        entry["model_sigmas"][-1] / entry["sigmas"][-1]
    )
    tuned = done.rows("contrasts").query("kind == 'tuned' and train_seed.isna() and metric == 'mmd'").set_index("a")
    better = "better" in set(tuned["verdict"].reindex([entry["setting"]]))
    assert (f"Use “{entry['setting']}” at 6 evaluations." in done.report) == better
    assert ("Keep your default at 6 evaluations: no setting is detectably better." in done.report) != better
    assert "def sample(net, noise):" in done.report and "data-copy" in (done.out / "report.html").read_text()
    best, table = done.rows("best_sets"), done.rows()
    assert set(best["mode"]) == {"6 evaluations"} and best["simplest"].sum() == 1
    raced = table[table["mode"].str.endswith("race")]
    assert not set(raced["sample_seed"]) & set(table.drop(raced.index)["sample_seed"])
