"""The beta experiment: its study and its trials. Its smoke run is that of the README (test_readme.py)."""

from dataclasses import replace
from pathlib import Path

import pytest
from smoke import smoke

from diffusion_core.samplers import Euler
from experiments.beta import contrasts, looks, trials
from experiments.config.comparison import Contrast
from experiments.config.config import Ladder
from experiments.config.trial import Infeasible, Trial
from experiments.studies.beta import PRESETS, BetaStudy


def planned(study: BetaStudy) -> list[Trial]:
    return [trial for trial in trials(study) if isinstance(trial, Trial)]


def compared(study: BetaStudy) -> list[Contrast]:
    """The primary contrast and its control at every look, and the exploratory contrasts."""
    found = looks(study)
    explored = [one for one in contrasts(planned(study)) if isinstance(one, Contrast)]
    return [*found.contrasts, *found.controls, *explored]


def test_laptop_grid_keeps_its_promises() -> None:
    study = PRESETS["laptop"]
    first, last = (
        sum({one.run_id: one.samples.planned_nfe for one in planned(study) if one.model.seed == seed}.values())
        for seed in (0, 4)
    )
    assert first <= 1300 and last == 3 * 66  # all settings; the primary contrast and its control
    assert study.train_seeds >= 5 and study.sizes == (500, 1000, 1500)


def test_primary_contrast_is_the_one_fixed_beforehand() -> None:
    for name in ("laptop", "gpu"):
        found = looks(PRESETS[name])
        for primary, size in zip(found.contrasts, PRESETS[name].sizes, strict=True):
            assert (primary.kind, len(primary.pairs)) == ("primary", PRESETS[name].train_seeds)
            for a, b in primary.pairs:
                assert (a.samples.ladder, a.samples.sampler) == (Ladder("geometric", 66, 30.0, 0.03), Euler(1.0))
                assert b.score == replace(a.score, samples=replace(a.samples, sampler=Euler(0.0)))
                assert a.model.noise.name == "log-normal(-0.507, 1.2)" and a.samples.n_samples == size
        assert set(found.trials(0)) <= set(planned(PRESETS[name]))


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


@pytest.mark.parametrize(
    ("n_samples", "look_every", "sizes"),
    [(1500, 500, (500, 1000, 1500)), (500, 500, (500,)), (400, 500, (400,)), (1200, 500, (500, 1000, 1200))],
)
def test_the_last_look_has_all_images(n_samples: int, look_every: int, sizes: tuple[int, ...]) -> None:
    study = replace(PRESETS["laptop"], n_samples=n_samples, look_every=look_every)
    assert study.sizes == looks(study).sizes == sizes
    assert {trial.samples.n_samples for trial in planned(study)} == {sizes[0]}


def test_impossible_eta_is_listed_not_run() -> None:
    study = replace(PRESETS["smoke"], etas=(0.0, 1.0, 9.0))
    infeasible = [trial for trial in trials(study) if isinstance(trial, Infeasible)]
    assert len(infeasible) == 2 and "between 0 and 1/sqrt(1 - r^2) = 1.016" in infeasible[0].why
    assert infeasible[0].row()["status"] == "infeasible"


def test_data_that_cannot_be_fetched_is_one_message_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    done = smoke(tmp_path, "beta", "--data", "mnist", "--data-root", str(tmp_path / "none"), status=2)
    assert "data='mnist5k' needs no download" in done.stderr
