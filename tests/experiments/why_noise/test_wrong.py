"""Denoisers with known errors: exact for the changed mixture; and networks trained further on visited inputs."""

import copy
from pathlib import Path

import pytest
import torch
from small_mixture import mixture

from experiments.config.denoisers import EmpiricalConfig, ModelConfig
from experiments.config.trained import TrainConfig
from experiments.models.exact import ExactConfig
from experiments.stages.common import images_of, load_model
from experiments.stages.train import train_stage
from experiments.store.store import Store
from experiments.why_noise.further import TunedConfig
from experiments.why_noise.wrong import WrongConfig, changed, wrong_model

RIGHT = mixture(6, 12, 2)
X, SIGMA = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)), torch.full((5,), 0.7)


def test_each_change_is_what_it_says() -> None:
    weights = changed(RIGHT, WrongConfig("mnist5k", "weights", 1.0))
    assert weights.weights.sum() == pytest.approx(1) and not torch.allclose(weights.weights, RIGHT.weights)
    assert torch.equal(weights.means, RIGHT.means)
    fewer = changed(RIGHT, WrongConfig("mnist5k", "missing", 0.3))
    assert fewer.n_components == 4 and fewer.weights.sum() == pytest.approx(1)
    assert all(any(torch.equal(mean, known) for known in RIGHT.means) for mean in fewer.means)
    wider = changed(RIGHT, WrongConfig("mnist5k", "wider", 0.1))
    assert torch.allclose(wider.stds, 1.1 * RIGHT.stds) and torch.allclose(wider.variances, 1.21 * RIGHT.variances)
    scaled = wrong_model(copy.deepcopy(RIGHT), WrongConfig("mnist5k", "scaled", -0.05))
    torch.testing.assert_close(scaled(X, SIGMA), 0.95 * copy.deepcopy(RIGHT).float()(X, SIGMA))


def test_changes_differ_by_number_and_seed_and_are_repeated() -> None:
    found = [changed(RIGHT, WrongConfig("mnist5k", "weights", 1.0, change, seed)).weights
             for change, seed in ((0, 0), (0, 0), (1, 0), (0, 1))]  # fmt: skip
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]) and not torch.equal(found[0], found[3])


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("taller", 1.0, "kind='taller'"),
        ("wider", -1.0, "size=-1.0"),
        ("wider", 0.0, "size=0.0"),
        ("missing", 0.99, "no component is left"),
    ],
)
def test_what_is_no_change_is_said(kind: str, size: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(RIGHT, WrongConfig("mnist5k", kind, size))


def test_the_denoiser_of_the_training_images_leaves_out_the_held_out(tmp_path: Path) -> None:
    images = images_of("mnist5k", None).standardised()
    model = load_model(EmpiricalConfig("mnist5k", held_out=4_000), Store(tmp_path), None, "cpu")
    sigma = torch.full((2,), 0.05)
    for at, known in ((0, True), (4_500, False)):
        x = images[at : at + 2] + 0.05 * torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        error = (x - 0.05 * model(x, sigma) - images[at : at + 2]).square().mean()
        assert bool(error < 1e-4) == known


@pytest.mark.slow
def test_a_network_trained_further_comes_closer_to_the_exact_denoiser(store: Store, data: str) -> None:
    base = TrainConfig(data, images_seen=640, warmup_images=320)
    train_stage(base, store, None, lambda n: None)
    x, sigma = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.full((8,), 0.5)

    @torch.no_grad()
    def eps(config: ModelConfig) -> torch.Tensor:
        return load_model(config, store, None, "cpu")(x, sigma)

    exact, before = eps(ExactConfig(data)), eps(base)
    for inputs in ("visited", "fresh"):
        config, seen = TunedConfig(base, inputs, images_seen=640, n_steps=6), list[float]()
        assert config.networks == (base, config) and config.needs == (base,)
        train_stage(config, store, None, seen.append)
        assert sum(seen) == 640
        assert (eps(config) - exact).square().mean() < (before - exact).square().mean(), inputs
    with pytest.raises(ValueError, match="inputs='other'"):
        TunedConfig(base, "other")
