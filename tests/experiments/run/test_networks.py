"""Networks: trained as their config says, and exact denoisers."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from run_spine import data, silent, trained
from torch import Tensor, nn

from diffusion_core.training import train
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import LOSSES, RECIPES, Exact, Trained, data_of
from experiments.user.pretrained import WEIGHTS

OPTIONS: dict[str, Any] = {
    **{name: {name: value} for name, value in RECIPES["fast"].items()},
    "held_out": {"held_out": 20}, "weighting": {"weighting": "min-snr-5"}, "images_seen": {"images_seen": 256},
    "batch_size": {"batch_size": 48}, "lr": {"lr": 1e-3}, "warmup_images": {"warmup_images": 128},
    "ema_decay": {"ema_decay": 0.05}, "seed": {"seed": 2}, "machine": {"machine": Machine(precision="bf16")},
    "network": {"network": "paper", "images_seen": 16, "batch_size": 8},
}  # fmt: skip


@pytest.mark.slow
def test_a_training_is_that_of_its_config(tmp_path: Path):
    """Each field reaches the training; the same config gives the same weights, also after others were trained."""
    names = dict[bytes, list[str]]()
    for name, options in ({"first": {}} | OPTIONS | {"again": {}}).items():
        config = trained(**{"seed": 1, "images_seen": 192} | options)
        calls = list[float]()
        file = config.artifact(Cache(tmp_path / name), calls.append)
        weights = torch.cat([each.flatten() for each in file.tensors.values()]).numpy().tobytes()
        names.setdefault(weights, []).append(name)
        assert sum(calls) == config.cost
    assert [*names.values()] == [["first", "again"], *([name] for name in OPTIONS)]
    assert {field.name for field in fields(Trained) if field.init} == {*OPTIONS, "data"}


def test_networks_of_other_seeds_begin_with_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    begun = list[Tensor]()

    def begin(model: nn.Module, *_: Any, **__: Any):
        begun.append(next(model.parameters()).detach().clone())
        raise KeyError

    monkeypatch.setattr("experiments.run.networks.train", begin)
    for seed in (1, 1, 2):
        with pytest.raises(KeyError):
            trained(seed).artifact(Cache(tmp_path / str(len(begun))), silent)
    assert torch.equal(begun[0], begun[1]) and not torch.equal(begun[0], begun[2])


@pytest.mark.slow
def test_a_stored_network_is_the_one_that_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = trained(1, **RECIPES["fast"], images_seen=100)
    losses = list[float]()
    models = list[nn.Module]()

    def training(model: nn.Module, *given: Any, **how: Any) -> Iterator[Any]:
        models.append(model)
        for step in train(model, *given, **how):
            losses.append(step.loss.item())
            yield step

    monkeypatch.setattr("experiments.run.networks.train", training)
    file = config.artifact(Cache(tmp_path), silent)
    (model,) = models
    assert file.facts["train_loss"] == losses[-1]
    assert set(file.tensors) == {f"{WEIGHTS}{name}" for name in model.state_dict()} | {LOSSES}
    images_seen = [min(64 * (at + 1), config.images_seen) for at in range(len(losses))]
    assert file.tensors[LOSSES].tolist() == [[seen, loss] for seen, loss in zip(images_seen, losses, strict=True)]
    x = torch.randn(3, 1, 32, 32)
    sigma = torch.tensor([0.1, 1.0, 10.0])
    with torch.no_grad():
        assert torch.equal(config.load(file)(x, sigma), model.eval()(x, sigma))


def test_an_exact_network_needs_no_file_and_knows_its_images(tmp_path: Path):
    """At low noise it finds the image, unless that is held out."""
    clean = data_of(data()).standardised()[-2:]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((2,), 0.3)
    for held_out, is_known in ((0, True), (2, False)):
        network = Exact(data(), held_out=held_out)
        assert network.artifact(Cache(tmp_path), silent) is None and network.cost == 0
        x = clean + 0.3 * noise
        denoised = x - 0.3 * network.load(None)(x, sigma)
        assert torch.allclose(denoised, clean, atol=1e-3) == is_known
        assert network.shape == (1, 32, 32) and network.decode(x).dtype == torch.uint8
