"""Configs: validation, and an identity that changes with every field that changes a result."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diffusion_core.data import Images
from diffusion_core.noise import LogNormal, LogUniform
from diffusion_core.samplers import Euler, Heun, Interval, Restart
from diffusion_core.training import train
from experiments.config.config import AlphaBetaLadder, Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import ForeignConfig, Machine
from experiments.config.identity import canonical, identity
from experiments.config.trained import TrainConfig

TRAIN = TrainConfig()
SAMPLE = SampleConfig(TRAIN, Ladder(), Euler(1.0), n_samples=500)
SCORE = ScoreConfig(SAMPLE, ReferenceConfig("mnist5k", "digits", "0123456789ab"))
OTHERS: dict[str, Any] = {
    "data": "mnist", "noise": LogUniform(), "weighting": "unit-eps", "images_seen": 7, "batch_size": 7, "lr": 7.0,
    "warmup_images": 7, "ema_decay": 0.5, "seed": 7, "machine": Machine(threads=7), "model": TrainConfig(seed=7),
    "ladder": AlphaBetaLadder(0.1, 0.3), "sampler": Heun(), "schedule": "karras",
    "stratified": True,
    "stable_above": 2.0, "held_out": 7, "parameterisation": "x0", "network": "paper", "source": "python:a:b",
    "fingerprint": "x", "name": "x", "label": 7, "options": (("rho", 7.0),), "weights": Path("x"),
    "features": "natural",
    "n_samples": 70, "final_denoise": True, "device": "cuda", "precision": "bf16",
    "compiled": True, "threads": 7, "torch_minor": "0.0", "n_steps": 7, "eta": 0.5, "sigma_max": 7.0, "sigma_min": 0.7,
    "alpha": 0.7, "beta": 0.17, "samples": dataclasses.replace(SAMPLE, seed=7), "features_id": "x", "width": 2.0,
    "reference": ReferenceConfig("mnist", "digits", "x"), "p_mean": 0.7, "p_std": 0.7,
}  # fmt: skip
CONFIGS = [
    TRAIN, SAMPLE, SCORE, SCORE.reference, Machine(), ForeignConfig("python:module:function"), Ladder(),
    AlphaBetaLadder(0.1, 0.3), LogNormal(), LogUniform(),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_identity_changes_with_every_field_that_changes_a_result(config: Any) -> None:
    assert len(identity(config)) == 12
    for field in dataclasses.fields(config):
        needed = {"options": {"schedule": "karras"}}
        base = dataclasses.replace(config, **needed.get(field.name, {}))
        value = 32 if field.name == "batch_size" else OTHERS[field.name]
        same = identity(dataclasses.replace(base, **{field.name: value})) == identity(base)
        assert same == (field.metadata == {"identity": False}), field.name


def test_a_batch_suits_the_machine_and_holds_no_more_than_there_are_samples() -> None:
    two_threads = dataclasses.replace(SAMPLE, n_samples=500, machine=Machine(threads=2))
    assert two_threads.batch == 128
    assert dataclasses.replace(two_threads, machine=Machine(threads=1)).batch == 64
    assert dataclasses.replace(two_threads, batch_size=200).batch == 200
    assert dataclasses.replace(two_threads, n_samples=100, batch_size=200).batch == 100


def test_identity_is_known() -> None:
    """A change of this number means that finished results would be computed again: raise SCHEMA on purpose only."""
    machine = Machine("cpu", "fp32", False, 1, "2.6")
    assert identity(Ladder(n_steps=66)) == "69e3aff723c1"
    assert canonical(machine) == {
        "class": "Machine", "device": "cpu", "precision": "fp32", "compiled": False, "threads": 1, "torch_minor": "2.6",
    }  # fmt: skip


def test_same_values_in_another_class_are_another_config() -> None:
    assert identity(LogNormal(1.0, 2.0)) != identity(LogUniform(1.0, 2.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainConfig(data="cats"), "data='cats': unknown data set; the names are mnist5k, mnist"),
        (lambda: TrainConfig(network="big"), "network='big'"),
        (lambda: TrainConfig(weighting="none"), "weighting='none'"),
        (lambda: TrainConfig(images_seen=0), "images_seen=0: it must be at least 1"),
        (lambda: TrainConfig(images_seen=True), "images_seen=True: it must be a whole number"),
        (lambda: TrainConfig(images_seen=64.5), "images_seen=64.5: it must be a whole number"),  # type: ignore[arg-type]
        (lambda: TrainConfig(lr=0), "lr=0.0: it must be above 0"),
        (lambda: TrainConfig(lr=True), "lr=True: it must be a number"),
        (lambda: TrainConfig(parameterisation="score"), "parameterisation='score'.*preconditioned, eps, x0"),
        (lambda: Ladder(n_steps=0), "n_steps=0"),
        (lambda: Ladder("spiral"), "ladder='spiral': it must be one of geometric, karras"),
        (lambda: Ladder("karras", options=(("rho", 0),)), "rho=0.0"),
        (lambda: Ladder(sigma_max=0.01), "sigma_min=0.03"),
        (lambda: AlphaBetaLadder(0.1, 0.5), "beta=0.5"),
        (lambda: dataclasses.replace(SAMPLE, sampler=Euler(2.31)), r"eta=2.31: .*= 2.30102"),
        (lambda: dataclasses.replace(SAMPLE, sampler=Restart((Interval(0.1, 40.0),))), "sigma_max=40.0: an interval"),
        (lambda: dataclasses.replace(SAMPLE, n_samples=1), "n_samples=1: it must be at least 40"),
        (lambda: Machine(precision="fp8"), "precision='fp8'"),
        (lambda: Machine.resolve(device="tpu"), "device='tpu'"),
        (lambda: ReferenceConfig("mnist5k", "vgg", ""), "features='vgg': it must be one of digits"),
    ],
)
def test_bad_values_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_planned_nfe() -> None:
    assert SAMPLE.planned_nfe == 66
    assert dataclasses.replace(SAMPLE, final_denoise=True).planned_nfe == 67
    ladder = AlphaBetaLadder(0.1, 0.4)
    assert dataclasses.replace(SAMPLE, ladder=ladder, sampler=ladder.sampler).planned_nfe == 454
    assert dataclasses.replace(SAMPLE, sampler=Heun()).planned_nfe == 132


def test_ddpm_ladders_have_their_tables_ends() -> None:
    """Whatever ends are asked for, it is one ladder with one identity."""
    ladder = Ladder("ddpm-linspace", 10, options=(("data_std", 0.5),))
    assert (ladder.sigma_max, ladder.sigma_min) == (ladder.sigmas()[0], ladder.sigmas()[-1])
    assert ladder.sigma_max > 300 and identity(ladder) == identity(dataclasses.replace(ladder, sigma_max=99.0))


def test_resolved_machine_is_concrete() -> None:
    machine = Machine.resolve()
    assert machine.device in ("cpu", "cuda") and machine.precision in ("fp32", "bf16") and machine.threads >= 1
    assert Machine.resolve(device="cpu", precision="fp32", threads=3) == Machine("cpu", "fp32", threads=3)


def test_the_default_of_a_later_field_changes_no_identity() -> None:
    assert "stable_above" not in canonical(TRAIN)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_for_images_of_another_size_is_loaded_and_trained_further(channels: int) -> None:
    pixels = torch.randint(0, 256, (30, channels, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    images = Images("mine", pixels, torch.zeros(30), mean=127.5, std=73.9)
    config = TrainConfig(network="paper", parameterisation="mixture-input", images_seen=4, batch_size=4)
    loader: Any = SimpleNamespace(device="cpu", images=lambda data: images)
    model, steps = config.training(loader)
    assert len(list(steps)) == 1
    loaded = config.with_weights(model.state_dict(), loader)
    x, sigma = images.standardised()[:3], torch.tensor([0.1, 1.0, 10.0])
    assert torch.equal(loaded(x, sigma), model(x, sigma))
    further = train(loaded, images.standardised(), config.noise, n_images=4, batch_size=4)
    assert len(list(further)) == 1 and not torch.equal(loaded(x, sigma), model(x, sigma))
