"""The beta experiment: its settings and comparisons. Its smoke run is that of the README (test_readme.py)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from smoke import smoke
from studies import contrasts, pairs

from diffusion_core.samplers import Euler
from experiments.beta import Beta
from experiments.run.networks import RECIPES, Trained
from experiments.run.setting import Ladder


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
        assert (a.setting.ladder, a.setting.sampler) == (Ladder("geometric", 66, 30.0, 0.03), Euler(1.0))
        assert b == replace(a, setting=replace(a.setting, label="eta 0", sampler=Euler(0.0)))
        assert isinstance(a.network, Trained)
        assert {part: getattr(a.network, part) for part in RECIPES["fast"]} == RECIPES["fast"]


def test_noise_is_compared_with_solvers_of_higher_order_at_equal_cost() -> None:
    against = contrasts(LAPTOP, "solvers")
    assert [(contrast.a.label, contrast.b.label) for contrast in against] == [("eta 1", "heun"), ("eta 1", "dpm++2m")]
    for noise, solver in (pair for contrast in against for pair in pairs(contrast)):
        assert noise.setting.sampler == Euler(1.0) and noise.nfe == solver.nfe == 66 and noise.seed == solver.seed
        assert [solver.sigmas[step] for step in (0, -1)] == pytest.approx([30.0, 0.03])
    assert {len(pairs(contrast)) for contrast in against} == {5}


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
