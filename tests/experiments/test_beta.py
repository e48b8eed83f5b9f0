"""The beta experiment: its study and its trials. Its smoke run is that of the README (test_readme.py)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from smoke import smoke

from diffusion_core.samplers import Euler
from experiments.beta import contrasts, is_fixed, trials
from experiments.config.comparison import Contrast
from experiments.config.config import Ladder
from experiments.config.trained import RECIPES
from experiments.config.trial import Infeasible, Trial
from experiments.engine.runner import infeasible_in_words
from experiments.studies.beta import PRESETS, BetaStudy


def planned(study: BetaStudy) -> list[Trial]:
    return [trial for trial in trials(study) if isinstance(trial, Trial)]


def compared(study: BetaStudy) -> list[Contrast]:
    return [contrast for contrast in contrasts(planned(study)) if isinstance(contrast, Contrast)]


def test_laptop_grid_keeps_its_promises() -> None:
    study = PRESETS["laptop"]
    explored, primary = (
        sum({trial.run_id: trial.samples.planned_nfe for trial in mine}.values())
        for mine in (
            [trial for trial in planned(study) if trial.model.seed == 1 and trial.samples.n_samples == 250],
            [trial for trial in planned(study) if trial.model.seed == 5],
        )
    )
    assert explored <= 1300 and primary == 5 * 66  # all settings; the primary contrast, its control, two solvers
    assert study.train_seeds >= 5 and 0 not in study.seeds  # recipes are tuned on seed 0


@pytest.mark.parametrize(("name", "n_samples"), [("laptop", 500), ("gpu", 20_000)])
def test_primary_contrast_is_the_one_fixed_beforehand(name: str, n_samples: int) -> None:
    primary, control = compared(PRESETS[name])[:2]
    assert (primary.kind, control.kind, len(primary.pairs)) == ("primary", "control", PRESETS[name].train_seeds)
    assert {trial.samples.n_samples for pair in control.pairs for trial in pair} == {n_samples}
    for a, b in primary.pairs:
        assert (a.samples.ladder, a.samples.sampler) == (Ladder("geometric", 66, 30.0, 0.03), Euler(1.0))
        assert b.score == replace(a.score, samples=replace(a.samples, sampler=Euler(0.0)))
        assert {name: getattr(a.model, name) for name in RECIPES["fast"]} == RECIPES["fast"]
        assert a.samples.n_samples == n_samples


def test_noise_is_compared_with_solvers_of_higher_order_at_equal_cost() -> None:
    against = [contrast for contrast in compared(PRESETS["laptop"]) if contrast.kind == "solvers"]
    assert [(contrast.a, contrast.b, len(contrast.pairs)) for contrast in against] == [
        ("eta 1", "heun", 5),
        ("eta 1", "dpm++2m", 5),
    ]
    for noise, solver in (pair for contrast in against for pair in contrast.pairs):
        assert noise.samples.sampler == Euler(1.0) and noise.samples.planned_nfe == solver.samples.planned_nfe == 66
        assert (noise.samples.ladder.sigmas()[0], noise.samples.ladder.sigmas()[-1]) == pytest.approx((30.0, 0.03))
        ends = [solver.samples.ladder.sigmas()[step] for step in (0, -1)]
        assert ends == pytest.approx([30.0, 0.03])


@pytest.mark.parametrize(
    ("change", "fixed"),
    [
        ({}, True),
        ({"explore_seeds": 0, "etas": (0.0, 1.0)}, True),
        ({"data": "cifar10"}, False),
        ({"n_samples": 40}, False),
        ({"train_seeds": 10}, False),
        ({"first_seed": 0}, False),
        ({"recipe": "plain"}, False),
        ({"sigma_min": 0.003}, False),
    ],
)
def test_only_the_primary_contrast_of_a_preset_was_fixed_beforehand(change: dict[str, Any], fixed: bool) -> None:
    assert is_fixed(replace(PRESETS["laptop"], **change)) == fixed and is_fixed(PRESETS["gpu"])
    assert not is_fixed(PRESETS["smoke"])


def test_a_tuned_ladder_takes_the_place_of_the_geometric_one() -> None:
    study = replace(PRESETS["laptop"], schedule=Ladder("karras", 16, 20.0, 0.05), n_steps=16)
    ladders = {trial.mode: trial.samples.ladder for trial in planned(study)}
    assert {ladders[mode] for mode in ("primary", "same-ladder", "final-denoise", "control")} == {study.ladder()}
    assert study.ladder() == Ladder("karras", 16, 20.0, 0.05) and ladders["pareto"] == study.ladder(66)


def test_pairs_share_noise_within_a_network_and_not_between_networks() -> None:
    for contrast in compared(PRESETS["laptop"]):
        for a, b in contrast.pairs:
            assert a.model == b.model and a.samples.n_samples == b.samples.n_samples
            assert (a.samples.seed == b.samples.seed) == (contrast.kind != "control")
        assert len({a.samples.seed for a, _ in contrast.pairs}) == len(contrast.pairs)


@pytest.mark.parametrize(("n_samples", "explored"), [(1500, 250), (200, 200)])
def test_all_settings_but_the_primary_contrast_get_fewer_images(n_samples: int, explored: int) -> None:
    study = replace(PRESETS["laptop"], n_samples=n_samples)
    sizes = {trial.mode: trial.samples.n_samples for trial in planned(study)}
    assert {sizes.pop(mode) for mode in ("primary", "control", "solvers")} == {n_samples}
    assert set(sizes.values()) == {explored}
    assert study.size.endswith("250 to 1,500 samples per run" if n_samples > 250 else " 200 samples per run")


def test_impossible_eta_is_listed_not_run() -> None:
    study = replace(PRESETS["smoke"], etas=(0.0, 1.0, 9.0))
    infeasible = [trial for trial in trials(study) if isinstance(trial, Infeasible)]
    assert len(infeasible) == 2 and "between 0 and 1/sqrt(1 - r^2) = 1.016" in infeasible[0].why
    assert infeasible[0].row()["status"] == "infeasible"
    told = infeasible_in_words(list(trials(study)))  # one setting, on two networks
    assert told.startswith("1 setting is infeasible and not run: eta 9 (eta=9.0: at sigma'/sigma = ")
    assert infeasible_in_words(planned(study)) == ""


def test_data_that_cannot_be_fetched_is_one_message_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    done = smoke(tmp_path, "beta", "--data", "mnist", "--data-root", str(tmp_path / "none"), status=2)
    assert "data='mnist5k' needs no download" in done.stderr
