"""The beta experiment: its settings and comparisons. Its smoke run is that of the README (test_readme.py)."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from smoke import smoke
from studies import contrasts, pairs, plan, sides

from diffusion_core.samplers import Euler
from experiments.beta import CHOICES, Beta
from experiments.run.networks import RECIPES, Trained
from experiments.run.runs import Run
from experiments.run.setting import Schedule


def preset(name: str, **options: Any) -> Beta:
    return Beta(**{**Beta.presets[name], **options})


LAPTOP = preset("laptop")


@pytest.mark.parametrize(("name", "n_samples"), [("laptop", 500), ("gpu", 20_000)])
def test_primary_contrast_is_the_one_fixed_beforehand(name: str, n_samples: int) -> None:
    study = preset(name, data="mnist5k", n_samples=min(n_samples, 1_000))  # mnist would be downloaded
    assert preset(name).n_samples == n_samples
    primary, control = contrasts(study)[:2]
    assert (primary.kind, control.kind, control.a.section) == ("primary", "control", "control")
    assert len(pairs(primary)) == len(pairs(control)) == 5
    assert {run.n for pair in pairs(control) for run in pair} == {study.n_samples}
    for a, b in pairs(primary):
        assert (a.setting.schedule, a.setting.sampler) == (Schedule("geometric", 66, 30.0, 0.03), Euler(1.0))
        assert b == replace(a, setting=replace(a.setting, label="eta 0", sampler=Euler(0.0)))
        assert isinstance(a.network, Trained)
        assert {part: getattr(a.network, part) for part in RECIPES["fast"]} == RECIPES["fast"]


@pytest.mark.parametrize("name", CHOICES)
def test_the_best_of_either_kind_are_compared_at_equal_cost_on_networks_that_did_not_choose(name: str) -> None:
    """Each choice, on the digits that need no download."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHOICES, "mnist5k", choice := CHOICES[name])  # type: ignore[index]
        study = preset("laptop")  # a choice is kept
        against = contrasts(study, "best")
        assert [(contrast.b.label, contrast.a.label) for contrast in against] == [
            choice.pairs[n] for n in (8, 16, 32, 66)
        ]
        for noisy, without in (pair for contrast in against for pair in pairs(contrast)):
            assert noisy.setting.sampler.adds_noise(noisy.sigmas)
            assert not without.setting.sampler.adds_noise(without.sigmas)
            assert (noisy.seed, noisy.n) == (without.seed, 250) and noisy.network.seed not in choice.seeds
            budget = noisy.setting.budget or 0
            assert {budget, noisy.nfe, without.nfe} <= {budget, budget - 1}  # of two per step, one may be left
        assert {len(pairs(contrast)) for contrast in against} == {5}
        assert (choice.anywhere == (8, 8)) is not bool(contrasts(study, "best-anywhere"))  # compared already, or apart
        with pytest.raises(ValueError, match=r"networks \[101\] chose the best settings; take others"):
            contrasts(preset("laptop", first_seed=97))


def test_the_best_settings_of_other_data_are_chosen_on_half_of_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.beta.CHOICES", {})
    study = preset("laptop", budgets=(8, 16))
    choosing = [run for run in plan(study) if run.setting.section == "choose"]
    assert {run.network.seed for run in choosing} == {1, 2} and len({run.setting.label for run in choosing}) == 4 * 6
    scores = {"linear, dpm++2m": 0.1, "karras, eta 0": 0.2, "vp, eta 1": 0.1, "geometric, er-sde": 0.2}
    lowest = {8: "linear, dpm++2m", 16: "karras, eta 0"}

    def mmd(run: Run) -> float:
        label = run.setting.label
        if (label, run.setting.budget) == ("vp, eta 1", 16):
            return 0.05
        unlike = label in lowest.values() and lowest[run.setting.budget or 8] != label
        return 0.5 if unlike else scores.get(label, 0.5)

    results = SimpleNamespace(sides=sides(choosing, mmd), find=lambda side: next(iter(side.rows.values()))["run"])
    chosen = plan(study, *study.follow_up_settings(results, print))  # type: ignore[arg-type]
    assert {run.network.seed for run in chosen} == {3, 4, 5}  # the choice never sees a network of the test
    at = {(run.setting.section, run.setting.budget, run.setting.label) for run in chosen}
    assert at == {
        ("best", 8, "linear, dpm++2m"), ("best", 8, "vp, eta 1"), ("best", 16, "karras, eta 0"),
        ("best", 16, "vp, eta 1"), ("best-anywhere", None, "linear, dpm++2m"), ("best-anywhere", None, "vp, eta 1"),
    }  # fmt: skip
    assert {run.nfe for run in chosen if run.setting.section == "best-anywhere"} == {8, 16}
    assert study.notes == ["the best settings were chosen on 2 of 5 networks, and tested on the others"]


@pytest.mark.parametrize(("options", "note"), [
    ({}, "the best settings were chosen beforehand, on other networks"),
    ({"network": "exact"}, "best against best is left out; it needs --best FILE, the best.json of schedules --data "
     "mnist5k --network exact"),
    ({"only_primary": True}, None),
])  # fmt: skip
def test_the_run_says_how_the_best_settings_were_chosen(options: Any, note: str | None) -> None:
    assert list(preset("laptop", **options).notes) == ([note] if note else [])
    assert bool(contrasts(preset("laptop", **options), "best")) == (options == {})


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, []),
        ({"explore_seeds": 0, "etas": (0.0, 1.0)}, []),
        ({"data": "cifar10"}, ["data"]),
        ({"n_samples": 40, "seeds": 10}, ["sizes"]),
        ({"first_seed": 0, "recipe": "plain"}, ["first seed", "recipe"]),
        ({"data": "mnist", "seeds": 5, "train_images": 9}, ["sizes"]),  # of the preset gpu
        ({"sigma_min": 0.003}, None),
        ({"sigma_min": 0.003, "data": "fashion-mnist"}, ["data"]),  # chosen beforehand too
        ({"n_steps": 16}, None),
    ],
)
def test_the_primary_contrast_of_a_preset_was_chosen_beforehand_whatever_its_size(change: Any, differs: Any) -> None:
    said = preset("laptop", **change).provenance
    assert said == {"fixed_beforehand": differs is not None, "differs_from_preset": differs or []}
    assert not preset("smoke").provenance["fixed_beforehand"]


def test_pairs_share_noise_within_a_network_and_not_between_networks() -> None:
    for contrast in contrasts(LAPTOP):
        for a, b in pairs(contrast):
            assert a.network == b.network and a.n == b.n
            assert (a.seed == b.seed) == (contrast.kind != "control")
        assert len({a.seed for a, _ in pairs(contrast)}) == len(pairs(contrast)) > 0


def test_data_that_cannot_be_fetched_is_one_message_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGMABENCH_DATA", "kept as it is")
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    done = smoke(tmp_path, "beta", "--data", "mnist", "--data-root", str(tmp_path / "none"), status=2)
    assert "data='mnist5k' needs no download" in done.stderr
