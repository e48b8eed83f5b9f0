"""The experiment on ladders: equal budgets, its contrasts, its command line."""

from dataclasses import replace
from pathlib import Path

import pytest
from smoke import smoke

from diffusion_core.samplers import Heun, Restart
from experiments.config.comparison import BestSet, Contrast
from experiments.config.config import Ladder
from experiments.config.trial import Infeasible, Trial
from experiments.ladders import contrasts, trials
from experiments.studies.ladders import PRESETS


def test_every_setting_of_a_budget_costs_the_same() -> None:
    study = PRESETS["laptop"]
    for trial in trials(study, 0.55):
        assert isinstance(trial, Trial)
        assert trial.mode == "control" or trial.samples.planned_nfe == trial.budget, trial.setting
    names = {trial.samples.ladder.name for trial in trials(study, 0.55) if isinstance(trial, Trial)}
    assert names == {"geometric", "karras", "cosine(data_std=0.55)", "vp(data_std=0.55)", "linear"}


def test_a_sampler_of_two_evaluations_a_step_gets_half_as_many_steps() -> None:
    assert Ladder(n_steps=9).within(9, Heun()) == Ladder(n_steps=4)
    assert Restart().planned_nfe(Ladder(n_steps=30).within(30, Restart()).sigmas()) <= 30
    for budget, sampler in ((1, Heun()), (8, Restart())):
        with pytest.raises(ValueError, match="evaluations here, and no shorter ladder meets the budget"):
            Ladder(n_steps=budget).within(budget, sampler)


def test_a_sampler_that_no_budget_fits_is_listed_and_not_run() -> None:
    planned = list(trials(replace(PRESETS["smoke"], samplers=("restart", "kadkhodaie-simoncelli")), 0.55))
    left_out = [trial for trial in planned if isinstance(trial, Infeasible)]
    assert {trial.row()["sampler"].split("(")[0] for trial in left_out} == {"restart", "kadkhodaie-simoncelli"}
    assert "evaluations here, and no shorter ladder meets the budget" in left_out[-1].why


def test_contrasts_pair_one_difference_at_a_time() -> None:
    study = PRESETS["laptop"]
    found = list(contrasts(study, list(trials(study, 0.55))))
    ladders = [c for c in found if isinstance(c, Contrast) and c.kind == "ladder"]
    samplers = [c for c in found if isinstance(c, Contrast) and c.kind == "sampler"]
    assert len(ladders) == 3 * 4 * 4 and len(samplers) == 3 * 5 * 3
    for contrast in ladders + samplers:
        for a, b in contrast.pairs:
            assert a.model == b.model and a.samples.seed == b.samples.seed
            assert a.samples.planned_nfe == b.samples.planned_nfe
            same_sampler = a.samples.sampler == b.samples.sampler
            assert same_sampler == (contrast.kind == "ladder")
            assert (a.samples.ladder.name == b.samples.ladder.name) == (contrast.kind == "sampler")
    sets = [c for c in found if isinstance(c, BestSet)]
    assert [len(c.settings) for c in sets] == [20, 20, 20]
    (control,) = (c for c in found if isinstance(c, Contrast) and c.kind == "control")
    for a, b in control.pairs:
        assert a.samples == replace(b.samples, seed=b.samples.seed + 10_000)


def test_an_impossible_eta_is_listed_and_the_rest_goes_on() -> None:
    study = replace(PRESETS["smoke"], etas=(0.0, 9.0))
    planned = list(trials(study, 0.55))
    impossible = [trial for trial in planned if isinstance(trial, Infeasible)]
    assert len(impossible) == 4 and "eta=9.0" in impossible[0].why
    assert impossible[0].row()["sampler"] == "euler(eta=9)"
    assert {c.a for c in contrasts(study, planned) if isinstance(c, Contrast)} == {
        "karras, eta 0", "karras, heun", "geometric, heun", "geometric, eta 0, other noise",
    }  # fmt: skip


@pytest.mark.slow(10)
def test_smoke_ends_in_a_report(tmp_path: Path) -> None:
    done = smoke(tmp_path, "ladders", "--recipe", "plain", "--n-samples", "40")
    table = done.rows()
    assert (table["status"] == "ok").all() and (table["nfe"] == 4).all()
    assert set(table["sampler"]) == {"euler(eta=0)", "euler(eta=1)", "heun(s_churn=0)"}
    assert set(table.loc[table["sampler"] == "heun(s_churn=0)", "n_steps"]) == {2}
    report = done.report
    assert "Very far from real images: FD " in report[: report.index("## ")]  # a network that is hardly trained
    page = (done.out / "report.html").read_text()
    assert '-film"' in page and '-denoised"' in page
