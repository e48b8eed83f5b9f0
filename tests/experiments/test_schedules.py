"""The experiment on schedules: equal budgets, its contrasts, its command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from smoke import smoke
from studies import contrasts, pairs, plan, sides

from experiments.run.compare import BestSet, Contrast
from experiments.schedules import Schedules


def preset(name: str, **options: Any) -> Schedules:
    return Schedules(**{**Schedules.presets[name], **options})


LAPTOP = preset("laptop")


def test_every_setting_of_a_budget_costs_the_same() -> None:
    runs = [run for run in plan(replace(LAPTOP, seeds=1)) if not run.impossible]
    assert {run.setting.label for run in runs if run.nfe != (run.setting.budget or 66)} == set()
    std = f"data_std={LAPTOP.data_std:g}"
    names = {"geometric", "karras", f"cosine({std})", f"vp({std})", "linear"}
    assert {run.setting.schedule.name for run in runs} == names


def test_a_last_step_to_0_is_one_evaluation_of_the_budget() -> None:
    runs = plan(
        preset(
            "laptop",
            schedules=Schedules.presets["gpu"]["schedules"],
            budgets=(8,),
            etas=(0.0, 1.0),
            samplers=("heun", "dpm++2m"),
            seeds=1,
        )
    )
    ending = {run.setting.label: run for run in runs if run.setting.final_denoise}
    assert {"vp(end=0), eta 1", "karras(end=0), heun"} <= ending.keys() and len(ending) == 2 * 4
    assert {run.nfe for label, run in ending.items() if "heun" not in label} == {8}
    assert ending["karras(end=0), eta 0"].sigmas[-1] == 0.03


def test_what_no_budget_fits_or_no_schedule_allows_is_listed_and_the_rest_goes_on() -> None:
    study = preset("smoke", etas=(0.0, 9.0), samplers=("heun", "restart"))
    absent = [run for run in plan(study) if run.impossible]
    assert {run.row()["sampler"].split("(")[0] for run in absent} == {"euler", "restart"}
    assert "eta=9.0" in absent[0].impossible and "above the budget of 4" in absent[1].impossible
    assert {contrast.a.label for contrast in contrasts(study)} == {
        "karras, eta 0", "karras, heun", "geometric, heun", "geometric, eta 0, other noise",
    }  # fmt: skip


def test_every_setting_of_a_budget_is_compared_with_the_first_schedule_and_sampler() -> None:
    study = replace(LAPTOP, seeds=2)
    runs = plan(study)
    comparisons = [*study.compare(sides(runs))]
    compared = [contrast for contrast in comparisons if isinstance(contrast, Contrast) and contrast.kind == "setting"]
    absent = {(run.setting.label, run.setting.budget) for run in runs if run.impossible}
    assert {label.split(", ")[1] for label, _ in absent} == {"eta 1.4"}  # too much for steps that are so long
    sizes = [5 * 11 - sum(budget == missing for _, missing in absent) for budget in (8, 16, 32, 66)]
    assert len({(contrast.a.label, contrast.a.budget) for contrast in compared}) == len(compared) == sum(sizes) - 4
    for contrast in compared:
        assert contrast.b.label == "geometric, eta 0" != contrast.a.label and len(pairs(contrast)) == 2
        for a, b in pairs(contrast):
            assert (a.network, a.seed, a.nfe) == (b.network, b.seed, b.nfe)
            assert a.setting.budget == b.setting.budget
    assert [len(best.sides) for best in comparisons if isinstance(best, BestSet)] == sizes
    (control,) = (contrast for contrast in comparisons if isinstance(contrast, Contrast) and contrast.kind == "control")
    for a, b in pairs(control):
        assert a.seed == b.seed + 10_000 and (a.sigmas, a.setting.sampler) == (b.sigmas, b.setting.sampler)


OWN = """
from dataclasses import dataclass
from experiments import Euler

@dataclass(frozen=True)
class Own(Euler):
    label = "own"
"""


@pytest.mark.slow(20)
@pytest.mark.usefixtures("drawn")
def test_smoke_ends_in_a_report_with_a_typed_sampler_that_workers_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "typed_sampler.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    few = ["--recipe", "plain", "--n-samples", "40", "--samplers", "heun", "typed_sampler:Own(eta=1)"]
    done = smoke(tmp_path, "schedules", *few, "--workers", "2")
    table = done.rows()
    assert (table["status"] == "ok").all() and (table["nfe"] == 4).all()
    assert set(table["sampler"]) == {"euler(eta=0)", "euler(eta=1)", "heun(s_churn=0)", "own(eta=1)"}
    assert set(table.loc[table["sampler"] == "heun(s_churn=0)", "n_steps"]) == {2}
    by_sampler = table.set_index(["schedule", "train_seed", "sample_seed", "sampler"]).sort_index()
    own, euler = (by_sampler.xs(f"{name}(eta=1)", level="sampler") for name in ("own", "euler"))
    assert own["fd"].equals(euler["fd"]) and not (own["samples_id"] == euler["samples_id"]).any()
    best = json.loads((done.out / "best.json").read_text())
    assert (best["data"], best["network"], best["seeds"], best["recipe"]) == ("mnist5k", "small", [0, 1], "plain")
    assert [*best["budgets"]] == ["4"] and best["any"] == {"without": 4, "with": 4}
    assert best["budgets"]["4"]["with"]["setting"] == "karras, eta 1"
    assert best.keys() >= {"commit", "dirty", "rule", "features"}
    formulas = json.loads((done.out / "run.json").read_text())["formulas"]
    assert {"geometric", "karras", "euler", "heun"} <= {*formulas} and "eta r sqrt(1 - r^2)" in formulas["euler"]
    assert not any(word in "".join(formulas.values()) for word in ("Source", "Arguments"))
    assert formulas["karras"].startswith("The Karras schedule: even steps in sigma^(1/rho).")
    report = done.report
    assert "Very far from real images: FD " in report[: report.index("## ")]  # a network that is hardly trained
