"""The experiment on schedules: equal budgets, its contrasts, its command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from smoke import smoke
from studies import confirmed, explored, sides

from diffusion_core.samplers import Heun
from experiments.beta import Beta
from experiments.schedules import Schedules
from experiments.user.json_io import read_json
from reports.schema import CHEAPER, IN_USE


def preset(name: str, **options: Any) -> Schedules:
    return Schedules(**{**Schedules.presets[name], **options})


LAPTOP = preset("laptop")


def test_two_commands_explore_one_list():
    settings = LAPTOP.listed(66)
    names = [setting.label for setting in settings]
    assert len(names) == len({*names}) == 4 * 4 * 9 and names[0] == "geometric(30, 0.03), euler"
    assert Beta().listed(66) == settings
    assert {(setting.schedule.sigma_min, setting.final_denoise) for setting in settings} == {
        (0.03, False), (0.03, True), (0.3, True), (1.0, True)
    }  # fmt: skip


def test_every_setting_of_a_budget_costs_the_same():
    runs = [run for run in explored(LAPTOP) if not run.impossible]
    left = {(isinstance(run.setting.sampler, Heun), (run.setting.budget or 0) - run.nfe) for run in runs}
    assert left == {(False, 0), (True, 0), (True, 1)}  # Heun takes two per step, before a step to 0
    assert {run.setting.schedule.name.partition("(")[0] for run in runs} == {"geometric", "karras", "linear", "vp"}
    assert {(run.network.seed, run.n) for run in runs} == {(seed, 150) for seed in (101, 102, 103)}


@pytest.mark.parametrize("options, names", [
    ({"last_levels": (0.1,)}, ["geometric(30, 0.03)", "karras(30, 0.03)", "karras(30, 0.1, end=0)"]),
    ({"sigma_max": 0.3}, ["geometric(0.3, 0.03)", "karras(0.3, 0.03)", "karras(0.3, 0.03, end=0)"]),  # others are above
    ({"last_levels": (0.03,), "schedules": ("karras(rho=5)",)},
     ["geometric(30, 0.03)", "karras(30, 0.03, rho=5)", "karras(30, 0.03, rho=5, end=0)"]),
    ({"schedules": ("karras(20, 0.05, end=0)",)}, ["geometric(30, 0.03)", "karras(20, 0.05, end=0)"]),
    ({"schedules": ("flow(shift=3, end=0)",)}, ["geometric(30, 0.03)", "flow(shift=3, end=0)"]),
    ({"features": "natural", "last_levels": (0.03,)},  # which see noise of 0.03
     ["geometric(30, 0.003)", "karras(30, 0.003)", "karras(30, 0.03, end=0)"]),
])  # fmt: skip
def test_a_name_says_where_a_schedule_ends(options: Any, names: list[str]):
    study = Schedules(**{"schedules": ("karras",), "etas": (0.0,), "samplers": ()} | options)
    settings = [*study.explore()]
    assert [setting.label for setting in study.listed(66)] == [f"{name}, euler" for name in names]
    assert all(setting.final_denoise == ("end=0" in setting.label) for setting in settings)
    assert [study.find((setting.label, setting.budget)) for setting in settings] == settings


def test_a_last_step_to_0_is_one_evaluation_of_the_budget():
    runs = explored(preset("laptop", budgets=(8,), etas=(0.0, 1.0), samplers=("heun", "dpm++2m")))
    ending = {run.setting.label: run for run in runs if run.setting.final_denoise}
    assert len(ending) == 4 * 3 * 4
    assert {run.nfe for label, run in ending.items() if "heun" not in label} == {8}
    assert ending["karras(30, 0.3, end=0), euler"].sigmas[-1] == pytest.approx(0.3)


def test_a_ready_network_is_asked_for_its_own_levels_and_one_last_level():
    study = Schedules(network="python:a:b", etas=(0.0,), samplers=(), schedules=("karras",))
    vars(study).update(span=(0.05, 12.0))
    vars(study).update(data_std=0.5)
    names = ["geometric(12, 0.05), euler", "karras(12, 0.05), euler", "karras(12, 0.05, end=0), euler"]
    assert [setting.label for setting in study.listed(8)] == names
    study = replace(study, last_levels=(0.01,))
    vars(study).update(span=(0.05, 12.0), data_std=0.5)
    with pytest.raises(ValueError, match=r"last_levels=0\.01: the network knows levels from 0.05 to 12"):
        study.listed(8)


def test_what_no_budget_fits_or_no_schedule_allows_is_listed_and_the_rest_goes_on():
    study = preset("smoke", etas=(0.0, 9.0), samplers=("heun", "restart"))
    absent = [run for run in explored(study) if run.impossible]
    assert {run.row()["sampler"].split("(")[0] for run in absent} == {"euler", "restart"}
    assert "eta=9.0" in absent[0].impossible and "above the budget of 4" in absent[1].impossible
    assert [pair.sides[0][0][2] for pair in confirmed(study)[0]] == ["geometric(30, 0.03), heun"]


def test_what_is_chosen_meets_the_default_and_what_was_chosen_with_the_fewest_evaluations():
    pairs, runs = confirmed(LAPTOP)
    default, first = "geometric(30, 0.03), euler", "geometric(30, 0.03), euler(eta=0.5)"
    assert [(pair.b_is, pair.within, *(side[0][1:] for side in pair.sides)) for pair in pairs] == [
        *((IN_USE, within, (within, first), (within, default)) for within in (8, 16, 32, 66)),
        (CHEAPER, 16, (16, first), (8, first)),
    ]
    for pair in pairs:
        assert [a.network.seed for a, _ in sides(pair, runs)] == [1, 2, 3, 4, 5]
        for a, b in sides(pair, runs):
            assert a.network == b.network and a.n == b.n == 500 and a.seed == b.seed


OWN = """
from dataclasses import dataclass
from experiments import Euler

@dataclass(frozen=True)
class Own(Euler):
    eta: float = 0.5
"""


@pytest.mark.slow(20)
@pytest.mark.usefixtures("drawn")
def test_smoke_ends_in_a_report_with_a_typed_sampler_that_workers_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "typed_sampler.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("experiments.choose.VISIBLE", 1.0)  # a network that is hardly trained leaves noise
    few = "--recipe plain --n-samples 40 --samplers heun typed_sampler:Own(eta=1)".split()
    done = smoke(tmp_path, "schedules", *few, "--workers", "2")
    table = done.rows()
    assert (table["status"] == "ok").all() and set(table["nfe"]) == {3, 4}  # of Heun with a last step to 0
    assert set(table["sampler"]) == {"euler", "euler(eta=1)", "heun", "typed_sampler:Own(eta=1)"}
    assert set(table.query("sampler == 'heun'")["n_steps"]) == {1, 2}
    tried = table[table["section"] == "explore"].sort_values(["schedule", "final_denoise"])
    own, euler = (tried[tried["sampler"] == f"{name}(eta=1)"] for name in ("typed_sampler:Own", "euler"))
    assert [*own["fd"]] == [*euler["fd"]] and not {*own["samples_id"]} & {*euler["samples_id"]}
    choices = read_json(done.out / "choices.json")
    assert [choices[name] for name in ("data", "network", "seeds", "recipe")] == ["mnist5k", "small", [101], "plain"]
    chosen = {one["candidate"] for one in choices["chosen"]}
    assert "geometric(30, 0.03), euler" in chosen and set(table.query("section == 'confirm'")["setting"]) == chosen
    assert set(tried["train_seed"]) == {101}
    formulas = read_json(done.out / "run.json")["formulas"]
    assert {"geometric", "karras", "euler", "heun"} <= {*formulas} and "eta r sqrt(1 - r^2)" in formulas["euler"]
    assert not any(word in "".join(formulas.values()) for word in ("Source", "Arguments"))
    assert formulas["karras"].startswith("The Karras schedule: even steps in sigma^(1/rho).")
    report = done.report
    assert "Very far from real images: FD " in report[: report.index("## ")]  # a network that is hardly trained
