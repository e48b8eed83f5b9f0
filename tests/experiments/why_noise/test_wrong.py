"""Denoisers with known errors: exact for the changed mixture; and networks trained further on visited inputs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffusion_core.exact import Mixture
from experiments.config.denoisers import EmpiricalConfig, TrainConfig
from experiments.config.identity import MIXTURE, identity
from experiments.stages.common import images_of, load_model
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store
from experiments.why_noise.further import TunedConfig
from experiments.why_noise.wrong import WrongConfig, changed, wrong_model

GENERATOR = torch.Generator().manual_seed(0)
K, D, R = 6, 12, 2
RIGHT = Mixture(
    torch.full((K,), 1 / K, dtype=torch.float64),
    torch.randn(K, D, dtype=torch.float64, generator=GENERATOR),
    torch.linalg.qr(torch.randn(K, D, R, dtype=torch.float64, generator=GENERATOR)).Q,
    torch.rand(K, R, dtype=torch.float64, generator=GENERATOR) + 1,
    torch.full((K,), 0.3, dtype=torch.float64),
)
X, SIGMA = torch.randn(5, D, generator=GENERATOR), torch.full((5,), 0.7)


def test_each_change_is_what_it_says() -> None:
    weights = changed(RIGHT, WrongConfig("mnist5k", "weights", 1.0))
    assert weights.weights.sum() == pytest.approx(1) and not torch.allclose(weights.weights, RIGHT.weights)
    assert torch.equal(weights.means, RIGHT.means)
    fewer = changed(RIGHT, WrongConfig("mnist5k", "missing", 0.3))
    assert fewer.n_components == 4 and fewer.weights.sum() == pytest.approx(1)
    assert all(any(torch.equal(mean, known) for known in RIGHT.means) for mean in fewer.means)
    wider = changed(RIGHT, WrongConfig("mnist5k", "wider", 0.1))
    assert torch.allclose(wider.stds, 1.1 * RIGHT.stds) and torch.allclose(wider.variances, 1.21 * RIGHT.variances)
    scaled = wrong_model(RIGHT, WrongConfig("mnist5k", "scaled", -0.05))
    torch.testing.assert_close(scaled(X, SIGMA), 0.95 * RIGHT.float()(X, SIGMA))
    RIGHT.double()


def test_changes_differ_by_number_and_seed_and_are_repeated() -> None:
    found = [changed(RIGHT, WrongConfig("mnist5k", "weights", 1.0, change, seed)).weights
             for change, seed in ((0, 0), (0, 0), (1, 0), (0, 1))]  # fmt: skip
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]) and not torch.equal(found[0], found[3])


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [("taller", 1.0, "kind='taller'"), ("wider", -1.0, "size=-1.0"), ("wider", 0.0, "size=0.0")],
)
def test_what_is_no_change_is_said(kind: str, size: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WrongConfig("mnist5k", kind, size)


def test_leaving_out_everything_is_said() -> None:
    with pytest.raises(ValueError, match="no component is left"):
        changed(RIGHT, WrongConfig("mnist5k", "missing", 0.99))


def test_the_denoiser_of_the_training_images_leaves_out_the_held_out(tmp_path: Path) -> None:
    images = images_of("mnist5k", None).standardised()
    model = load_model(EmpiricalConfig("mnist5k", held_out=4_000), Store(tmp_path), None, "cpu")
    sigma = torch.full((2,), 0.05)
    for at, known in ((0, True), (4_500, False)):
        x = images[at : at + 2] + 0.05 * torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        error = (x - 0.05 * model(x, sigma) - images[at : at + 2]).square().mean()
        assert bool(error < 1e-4) == known


@pytest.mark.slow
@pytest.mark.parametrize("inputs", ["visited", "fresh"])
def test_a_network_trained_further_comes_closer_to_the_exact_denoiser(tmp_path: Path, inputs: str) -> None:
    store = Store(tmp_path)
    fit = mixture_stage(MixtureConfig(n_components=2, rank=2, em_steps=0), store)
    base = TrainConfig(f"{MIXTURE}{store.root / 'mixtures' / fit}", images_seen=640, warmup_images=320)
    config = TunedConfig(base, inputs, images_seen=1_280, n_steps=6)
    assert config.networks == (base, config) and config.needs == (base,)
    train_stage(base, store, None, lambda n: None)
    seen: list[float] = []
    train_stage(config, store, None, seen.append)
    assert sum(seen) == 1_280
    before, after = (
        load_file(store.path("models", identity(one)) / "model.safetensors") for one in (base, config)
    )  # fmt: skip
    assert any(not torch.equal(before[name], after[name]) for name in before)
    x, sigma = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.full((8,), 0.5)
    exact = load_model(WrongConfig(base.data, "wider", 1e-9), store, None, "cpu")
    models = [load_model(one, store, None, "cpu") for one in (base, config)]
    with torch.no_grad():
        errors = [(model(x, sigma) - exact(x, sigma)).square().mean() for model in models]
    assert errors[1] < errors[0]
    with pytest.raises(ValueError, match="inputs='other'"):
        TunedConfig(base, "other")
