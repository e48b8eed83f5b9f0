"""The best setting without and with fresh noise: chosen by a rule, on sides that are made up, and written."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffusion_core.samplers import DPMpp2M, DPMpp2MSDE, Euler, Heun
from experiments.best import choose_best
from experiments.distances.distance import Distance
from experiments.run.compare import Side
from experiments.run.setting import Ladder, Setting

SAMPLERS = {"eta 0": Euler(), "eta 1": Euler(1.0), "dpm++2m": DPMpp2M(), "sde": DPMpp2MSDE(), "churned": Heun(2.0)}


def results(budgets: dict[int, dict[str, tuple[float, float]]], end: bool = False) -> Any:
    """What `choose_best` reads of RunResults: for each budget MMD and grain by sampler. Images add noise of 0.1."""
    rng, sides = np.random.default_rng(0), dict[Any, dict[str, Side]]()
    for budget, values in budgets.items():
        for label, (mmd, grain) in values.items():
            noise = rng.normal(size=200)
            distances = {seed: {"mmd": Distance(mmd, 0.1 * (noise - noise.mean()))} for seed in range(2)}
            rows = {seed: {"mmd": mmd, "grain": grain, "nfe": budget, "model_id": seed} for seed in range(2)}
            side = Side(label, "s", budget, 2, rows, distances)
            sides.setdefault(("s", budget), {})[label] = side

    def find(side: Side) -> Any:
        ladder = Ladder("karras", side.budget or 0, options=(("rho", 5.0),))
        setting = Setting(side.label, ladder, SAMPLERS[side.label], final_denoise=end)
        return SimpleNamespace(setting=setting, sigmas=ladder.sigmas())

    return SimpleNamespace(sides=sides, find=find)


def chosen(found: Any, budget: str) -> list[str]:
    return [found[0][budget][kind]["sampler"] for kind in ("without", "with")]


def test_the_best_of_either_kind_is_chosen_at_each_budget_and_at_any() -> None:
    few = {"eta 0": (0.5, 0.0), "eta 1": (0.4, 0.0), "dpm++2m": (0.2, 0.0), "sde": (0.3, 0.0), "churned": (0.9, 0.0)}
    more = {"eta 0": (0.6, 0.0), "eta 1": (0.1, 0.0), "churned": (0.3, 0.0)}
    found = choose_best(results({8: few, 16: more, 32: {"eta 0": (0.0, 0.0)}}), {DPMpp2MSDE(): "mine:SDE()"})
    assert [*found[0]] == ["8", "16"]  # with 32 evaluations, there is nothing with noise
    assert chosen(found, "8") == ["dpm++2m", "mine:SDE()"] and chosen(found, "16") == ["euler(eta=0)", "euler(eta=1)"]
    assert {kind: entry["budget"] for kind, entry in found[1].items()} == {"without": 8, "with": 16}
    assert found[0]["8"]["with"]["schedule"] == "karras(rho=5)" and found[1]["with"]["evaluations"] == 16


@pytest.mark.parametrize(("quiet", "grain", "sampler", "grainy"), [
    (0.201, 0.0, "euler(eta=0)", False),  # as good
    (0.5, 0.0, "dpm++2m", True),  # worse than the one with grain
    (0.5, 0.03, "dpm++2m", False),  # the default has as much
])  # fmt: skip
def test_more_fine_noise_than_the_defaults_is_chosen_only_if_none_without_is_as_good(
    quiet: float, grain: float, sampler: str, grainy: bool
) -> None:
    values = {"eta 0": (quiet, grain), "dpm++2m": (0.2, 0.02), "eta 1": (0.9, 0.0)}
    budgets, anywhere = choose_best(results({8: values}, end=True), {})
    entry = budgets["8"]["without"]
    assert (entry["sampler"], entry["more_fine_noise_than_the_default"]) == (sampler, grainy)
    assert entry == anywhere["without"] and entry["schedule"] == "karras(rho=5, end=0)"


def test_whether_a_sampler_adds_noise_is_tried() -> None:
    sigmas = Ladder("karras", 4).sigmas()
    assert {label: sampler.adds_noise(sigmas) for label, sampler in SAMPLERS.items()} == {
        "eta 0": False, "eta 1": True, "dpm++2m": False, "sde": True, "churned": True,
    }  # fmt: skip
    assert not Heun(s_churn=2.0, s_min=50.0).adds_noise(sigmas)
