"""The best setting without and with fresh noise: chosen by a rule on sides that are made up, written, read."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffusion_core.samplers import DPMpp2M, DPMpp2MSDE, Euler, Heun
from experiments.best import as_choice, choose_best, make_setting, read_best, write_best
from experiments.beta import Beta
from experiments.distances.distance import Distance
from experiments.run.compare import Side
from experiments.run.setting import Schedule, Setting

SAMPLERS = {"eta 0": Euler(), "eta 1": Euler(1.0), "dpm++2m": DPMpp2M(), "sde": DPMpp2MSDE(), "churned": Heun(2.0)}
FEW = {"eta 0": (0.5, 0.0), "eta 1": (0.4, 0.0), "dpm++2m": (0.2, 0.0), "sde": (0.3, 0.0), "churned": (0.9, 0.0)}
MORE = {"eta 0": (0.6, 0.0), "eta 1": (0.1, 0.0), "churned": (0.3, 0.0)}


def results(budgets: Mapping[int, Mapping[str, tuple[float, float]]]) -> Any:
    """What is read of RunResults: for each budget MMD and grain by sampler. Images add noise of 0.1."""
    rng = np.random.default_rng(0)
    sides = dict[Any, dict[str, Side]]()
    rows = list[Any]()
    for budget, values in budgets.items():
        for sampler, (mmd, grain) in values.items():
            noise = rng.normal(size=200)
            label = f"linear, {sampler}"
            distances = {seed: {"mmd": Distance(mmd, 0.1 * (noise - noise.mean()))} for seed in (101, 102)}
            row = {"mmd": mmd, "grain": grain, "status": "ok", "data": "mnist5k", "network": "small"}
            rows_by_seed = {seed: row | {"train_seed": seed, "model_id": seed} for seed in distances}
            rows += rows_by_seed.values()
            sides.setdefault(("s", budget), {})[label] = Side(label, "s", budget, 2, rows_by_seed, distances)

    def find(side: Side) -> Any:
        schedule = Schedule("linear", side.budget or 0)
        setting = Setting(side.label, schedule, SAMPLERS[side.label.removeprefix("linear, ")])
        return SimpleNamespace(setting=setting, sigmas=schedule.sigmas())

    return SimpleNamespace(sides=sides, find=find, rows=dict(enumerate(rows)))


def test_the_best_of_either_kind_is_chosen_at_each_budget_and_at_any() -> None:
    made = results({8: FEW, 16: MORE, 32: {"eta 0": (0.0, 0.0)}})
    choice = as_choice(choose_best(made, made.sides))  # with 32 evaluations, there is nothing with noise
    assert choice.pairs == {8: ("linear, dpm++2m", "linear, sde"), 16: ("linear, eta 0", "linear, eta 1")}
    assert choice.best == (("linear, dpm++2m", 8), ("linear, eta 1", 16))


@pytest.mark.parametrize(("quiet", "grain", "label", "more"), [
    (0.201, 0.0, "linear, eta 0", False),  # as good
    (0.5, 0.0, "linear, dpm++2m", True),  # worse than the one with grain
    (0.201, 0.03, "linear, dpm++2m", False),  # the default has as much
])  # fmt: skip
def test_more_fine_noise_than_the_defaults_is_chosen_only_if_none_without_is_as_good(
    quiet: float, grain: float, label: str, more: bool
) -> None:
    made = results({8: {"eta 0": (quiet, grain), "dpm++2m": (0.2, 0.02), "eta 1": (0.9, 0.0)}})
    entry = choose_best(made, made.sides)[8]["without"]
    assert (entry["setting"], entry["more_fine_noise_than_the_default"]) == (label, more)


def test_whether_a_sampler_adds_noise_is_tried() -> None:
    sigmas = Schedule("karras", 4).sigmas()
    assert {label for label, sampler in SAMPLERS.items() if sampler.adds_noise(sigmas)} == {"eta 1", "sde", "churned"}
    assert not Heun(s_churn=2.0, s_min=50.0).adds_noise(sigmas)


def test_a_setting_is_made_from_the_name_that_tables_print() -> None:
    setting = make_setting("karras(rho=5, end=0), eta 0.5", 8, Schedule(sigma_min=0.003), 0.5)
    assert setting.schedule == Schedule("karras", 7, 30.0, 0.003, (("rho", 5.0),))
    assert (setting.sampler, setting.final_denoise, setting.budget) == (Euler(0.5), True, 8)
    assert make_setting("linear, res-2s", 9, Schedule(), 0.5).schedule == Schedule("linear", 4)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The best.json of two budgets, chosen on the networks 101 and 102 of mnist5k."""
    path = write_best(tmp_path, Beta(), results({8: {**FEW, "eta 0": (0.1, 0.02)}, 16: MORE}), (30.0, 0.003))
    assert path is not None
    return path


def test_a_choice_is_written_and_read(written: Path) -> None:
    content = json.loads(written.read_text())
    assert content["budgets"]["8"]["without"] == {
        "setting": "linear, eta 0", "mmd": 0.1, "grain": 0.02, "more_fine_noise_than_the_default": False,
    }  # fmt: skip
    assert content.keys() >= {"commit", "dirty", "recipe", "rule"} and content["seeds"] == [101, 102]
    choice, ends = read_best(written, (8, 16), Beta())
    assert choice.pairs[16] == ("linear, eta 0", "linear, eta 1") and choice.anywhere == (8, 16)
    assert (choice.seeds, ends) == ((101, 102), Schedule(sigma_min=0.003))


@pytest.mark.parametrize(("change", "message"), [
    ({"data": "mnist"}, "its data are 'mnist', but this run has 'mnist5k'"),
    ({"network": "paper"}, "its network is 'small', but this run samples from 'paper'"),
    ({"budgets": (8, 20)}, "no setting for budgets=20; it has 8, 16"),
    ({"first_seed": 98, "seeds": 5}, r"first_seed=98: networks \[101, 102\] chose the best settings; take others"),
])  # fmt: skip
def test_a_choice_that_does_not_suit_the_run_is_refused(written: Path, change: Any, message: str) -> None:
    few = {"best": written, "budgets": (8, 16), "seeds": 2}
    assert Beta(**few).choice is not None
    if data := change.pop("data", ""):  # other data would be downloaded
        written.write_text(written.read_text().replace('"mnist5k"', f'"{data}"'))
    with pytest.raises(ValueError, match=message):
        _ = Beta(**few | change).choice
    written.write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"it must be a best\.json that schedules wrote"):
        _ = Beta(**few).choice
