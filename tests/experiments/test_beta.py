"""The beta experiment: its settings and comparisons. Its smoke run is that of the README (test_readme.py)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from smoke import smoke
from studies import confirmed, explored, fixed_pairs, plan, sides

from diffusion_core.samplers import Euler
from experiments.beta import Beta
from experiments.run.networks import RECIPES, Trained
from experiments.settings import Schedule
from reports.schema import PRIMARY, RIVAL, WITH, WITHOUT


def preset(name: str, **options: Any) -> Beta:
    return Beta(**{**Beta.presets[name], **options})


LAPTOP = preset("laptop", choices=Path("none"))  # not what ships for these digits


@pytest.mark.parametrize("name, n_samples", [("laptop", 500), ("gpu", 20_000)])
def test_primary_contrast_is_the_one_fixed_beforehand(name: str, n_samples: int):
    assert preset(name).n_samples == n_samples
    study = preset(name, data="mnist5k", n_samples=500)  # mnist would be downloaded
    (primary,) = fixed_pairs(study)
    runs = plan(study)
    of_setting = {key: [run for run in runs if run.setting.key == key] for side in primary.sides for key in side}
    of_networks = sides(primary, of_setting)
    assert (primary.family, primary.b_is) == (PRIMARY, RIVAL) and len({a.seed for a, _ in of_networks}) == 5
    assert {run.n for pair in of_networks for run in pair} == {500}
    for a, b in of_networks:
        assert (a.setting.schedule, a.setting.sampler) == (Schedule("geometric", 66, 30.0, 0.03), Euler(1.0))
        assert b == replace(a, setting=replace(a.setting, label="eta 0", sampler=Euler(0.0)))
        assert isinstance(a.network, Trained)
        assert {part: getattr(a.network, part) for part in RECIPES["fast"]} == RECIPES["fast"]


def test_settings_of_either_kind_compete_and_curves_are_small():
    """What the settings are and cost: test_schedules.py."""
    runs = [run for run in explored(LAPTOP) if not run.impossible]  # eta 2 needs many steps
    assert {(run.network.seed, run.n) for run in runs} == {(101, 150), (102, 150), (103, 150)}
    assert 3 * 4 * 130 < len(runs) < 3 * 4 * 144
    fewer = replace(LAPTOP, explore_train_images=9, budgets=(8,), schedules=("linear",))
    assert {run.network.images_seen for run in explored(fewer) if isinstance(run.network, Trained)} == {9}
    noisy = {LAPTOP.kind_of(run.setting): run.setting.sampler.adds_noise(run.sigmas) for run in runs}
    assert noisy == {WITHOUT: False, WITH: True}
    curves = [run for run in plan(LAPTOP) if run.setting.section in ("pareto", "same-schedule", "same-alpha")]
    assert {(run.network.seed, run.n) for run in curves} == {(1, 150)}
    budgets = [(run.setting.budget, run.nfe, run.row()["eta"]) for run in curves if run.setting.budget]
    assert budgets == [(n, n, eta) for n in (8, 16, 32, 66) for eta in (0.0, 1.0)]


def test_noise_is_confirmed_against_none_on_networks_that_did_not_choose():
    contests, runs = confirmed(LAPTOP)
    assert [(pair.within, pair.b_is) for pair in contests] == [(n, RIVAL) for n in (8, 16, 32, 66)]
    duels = [pair for contest in contests for pair in sides(contest, runs)]
    for duel in duels:
        assert [run.setting.sampler.adds_noise(run.sigmas) for run in duel] == [True, False]
        assert len({(run.network, run.seed) for run in duel}) == 1 and {run.n for run in duel} == {250}
    assert {run.network.seed for run, _ in duels} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("options, used", [
    ({}, True), ({"budgets": (8,)}, True), ({"seeds": 3, "recipe": "fast"}, True),
    ({"budgets": (8, 20)}, False), ({"recipe": "plain"}, False), ({"sigma_min": 0.003}, True),
    ({"network": "paper"}, False), ({"first_seed": 97}, False), ({"only_primary": True}, False),
    ({"choices": Path("none")}, False),
])  # fmt: skip
def test_choices_that_ship_are_used_if_they_suit(
    options: Any, used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shipped = tmp_path / "mnist5k.json"
    shipped.write_text(json.dumps({"chosen": [{"budget": n} for n in (8, 16, 32, 66)], "seeds": [101, 102, 103]}))
    monkeypatch.setattr("experiments.beta.SHIPPED", tmp_path)
    study = preset("laptop", **options)
    assert study.choices_path == (shipped if used else None)
    assert bool(study.explorers) == (not used and "only_primary" not in options)


@pytest.mark.parametrize(
    "change, differs",
    [
        ({}, []),
        ({"explore_samples": 9, "curve_etas": (0.0, 1.0)}, []),
        ({"data": "cifar10"}, ["data"]),
        ({"n_samples": 40, "seeds": 10}, ["sizes"]),
        ({"first_seed": 0, "recipe": "plain"}, ["first seed", "recipe"]),
        ({"data": "mnist", "seeds": 5, "train_images": 9}, ["sizes"]),  # of the preset gpu
        ({"sigma_min": 0.003, "features": "digits"}, ["last level"]),  # features are those of digits anyway
        ({"n_steps": 16}, None),
    ],
)
def test_the_primary_contrast_of_a_preset_was_chosen_beforehand_whatever_its_size(change: Any, differs: Any):
    said = {**preset("laptop", **change).provenance}
    assert "res-2m" in said.pop("formulas")
    assert said == {"fixed_beforehand": differs is not None, "differs_from_preset": differs or []}
    assert not preset("smoke").provenance["fixed_beforehand"]


def test_data_that_cannot_be_fetched_is_one_message_and_status_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMABENCH_DATA", "kept as it is")
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    done = smoke(tmp_path, "beta", "--data", "mnist", "--data-root", str(tmp_path / "none"), status=2)
    assert "data='mnist5k' needs no download" in done.stderr
