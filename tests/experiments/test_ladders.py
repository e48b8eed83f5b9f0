"""The experiment on ladders: equal budgets, its contrasts, its command line."""

from pathlib import Path
from typing import Any

import pytest
from smoke import smoke
from studies import best_sets, contrasts, pairs, plan

from experiments.ladders import Ladders


def preset(name: str, **options: Any) -> Ladders:
    return Ladders(**{**Ladders.presets[name], **options})


LAPTOP = preset("laptop")


def test_every_setting_of_a_budget_costs_the_same() -> None:
    runs = plan(LAPTOP)
    assert {run.setting.label for run in runs if run.nfe != (run.setting.budget or 32)} == set()
    std = f"data_std={LAPTOP.data_std:g}"
    names = {"geometric", "karras", f"cosine({std})", f"vp({std})", "linear"}
    assert {run.setting.ladder.name for run in runs} == names


def test_what_no_budget_fits_or_no_ladder_allows_is_listed_and_the_rest_goes_on() -> None:
    study = preset("smoke", etas=(0.0, 9.0), samplers=("heun", "restart"))
    absent = [run for run in plan(study) if run.impossible]
    assert {run.row()["sampler"].split("(")[0] for run in absent} == {"euler", "restart"}
    assert "eta=9.0" in absent[0].impossible and "above the budget of 4" in absent[1].impossible
    assert {contrast.a.label for contrast in contrasts(study)} == {
        "karras, eta 0", "karras, heun", "geometric, heun", "geometric, eta 0, other noise",
    }  # fmt: skip


def test_every_setting_of_a_budget_is_compared_with_the_first_ladder_and_sampler() -> None:
    found = contrasts(LAPTOP, "setting")
    assert len({(contrast.a.label, contrast.a.budget) for contrast in found}) == len(found) == 3 * (5 * 4 - 1)
    for contrast in found:
        assert contrast.b.label == "geometric, eta 0" != contrast.a.label and len(pairs(contrast)) == 5
        for a, b in pairs(contrast):
            assert (a.network, a.seed, a.nfe) == (b.network, b.seed, b.nfe)
            assert a.setting.budget == b.setting.budget
    assert [len(best.sides) for best in best_sets(LAPTOP)] == [20, 20, 20]
    (control,) = contrasts(LAPTOP, "control")
    for a, b in pairs(control):
        assert a.seed == b.seed + 10_000 and (a.sigmas, a.setting.sampler) == (b.sigmas, b.setting.sampler)


@pytest.mark.slow(10)
def test_smoke_ends_in_a_report(tmp_path: Path) -> None:
    done = smoke(tmp_path, "ladders", "--recipe", "plain", "--n-samples", "40")
    table = done.rows()
    assert (table["status"] == "ok").all() and (table["nfe"] == 4).all()
    assert set(table["sampler"]) == {"euler(eta=0)", "euler(eta=1)", "heun(s_churn=0)"}
    assert set(table.loc[table["sampler"] == "heun(s_churn=0)", "n_steps"]) == {2}
    report = done.report
    assert "Very far from real images: FD " in report[: report.index("## ")]  # a network that is hardly trained
