"""Networks: trained as their config says, exact denoisers, and what training asks of a user's code."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from run_spine import data, silent, trained
from torch import Tensor

from diffusion_core.noise import NoiseDistribution
from diffusion_core.weightings import WEIGHTINGS
from experiments.own.external import WEIGHTS
from experiments.run.artifact import Artifact
from experiments.run.cache import Cache, Differs
from experiments.run.identity import identity
from experiments.run.machine import Machine
from experiments.run.networks import RECIPES, Exact, Trained, data_of, last_loss

OPTIONS: dict[str, Any] = {
    **{name: {name: value} for name, value in RECIPES["fast"].items()},
    "held_out": {"held_out": 20}, "weighting": {"weighting": "min-snr-5"}, "images_seen": {"images_seen": 256},
    "batch_size": {"batch_size": 48}, "lr": {"lr": 1e-3}, "warmup_images": {"warmup_images": 128},
    "ema_decay": {"ema_decay": 0.05}, "seed": {"seed": 2}, "machine": {"machine": Machine(precision="bf16")},
    "network": {"network": "paper", "images_seen": 16, "batch_size": 8},
}  # fmt: skip


@pytest.mark.slow
def test_a_training_is_that_of_its_config(tmp_path: Path) -> None:
    """Each field reaches the training; the same config gives the same weights, also after others were trained."""
    calls, sums = list[float](), dict[str, str]()
    for name, options in ({"again": {}} | OPTIONS | {"": {}}).items():
        config = trained(**{"seed": 1, "images_seen": 192} | options)
        calls.clear()
        file = config.made(Cache(tmp_path / name), calls.append)
        sums[name] = file.sum
        assert sum(calls) == config.cost
    assert sums[""] == sums["again"]
    known = sums.pop("")
    assert [name for name, each in sums.items() if each == known] == ["again"] and len({*sums.values()}) == len(sums)
    assert {part.name for part in fields(Trained)} == {*OPTIONS, "data"}


@pytest.mark.slow
def test_a_stored_network_is_the_one_that_was_trained(tmp_path: Path) -> None:
    config = trained(1, **RECIPES["fast"])
    model, steps = config.training()
    losses = [step.loss.item() for step in steps]
    file = config.made(Cache(tmp_path), silent)
    assert file.facts["train_loss"] == losses[-1]
    assert set(file.tensors) == {f"{WEIGHTS}{name}" for name in model.state_dict()}
    x, sigma = torch.randn(3, 1, 32, 32), torch.tensor([0.1, 1.0, 10.0])
    with torch.no_grad():
        assert torch.equal(config.load(file)(x, sigma), model.eval()(x, sigma))


@pytest.mark.parametrize(("n", "last"), [(1, 1), (200, 1), (201, 1), (400, 2), (401, 2), (403, 1), (601, 1), (999, 4)])
def test_the_loss_of_a_training_is_the_mean_of_its_last_stretch(n: int, last: int) -> None:
    """Of at most 200 stretches, all but the last equally long."""
    losses = [0.1 * step**2 for step in range(n)]
    assert last_loss(losses) == sum(losses[-last:]) / last


def test_an_exact_network_needs_no_file_and_knows_its_images(tmp_path: Path) -> None:
    """At low noise it finds the image, unless that is held out."""
    clean = data_of(data()).standardised()[-2:]
    noise, sigma = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)), torch.full((2,), 0.3)
    for held_out, found in ((0, True), (2, False)):
        network = Exact(data(), held_out=held_out)
        assert network.made(Cache(tmp_path), silent) is None and network.cost == 0
        x = clean + 0.3 * noise
        denoised = x - 0.3 * network.load(None)(x, sigma)
        assert torch.allclose(denoised, clean, atol=1e-3) == found
        assert network.shape == (1, 32, 32) and network.decode(x).dtype == torch.uint8


# --- a user's noise distributions and weightings ---

CALLS = [0]


@dataclass(frozen=True)
class Noise(NoiseDistribution):
    fault: str = ""
    name = "mine"  # type: ignore[assignment]

    def sample(self, n: int, generator: torch.Generator, stratified: bool = False) -> Tensor:
        levels = torch.rand(n, generator=generator).exp()
        CALLS[0] += 1
        match self.fault:
            case "column":
                return levels.view(-1, 1)
            case "small":
                return levels[:2]
            case "own draws":
                return torch.rand(n).exp()
            case "double":
                return levels.double()
            case "zero":
                return levels * 0
            case "counts":
                return levels * (1 + CALLS[0] // 20)
        return levels

    def log_density(self, log_sigma: Tensor) -> Tensor:
        density = -log_sigma.square()
        match self.fault:
            case "density column":
                return density.view(-1, 1)
            case "density of the batch":
                return density - density.mean()
            case "nan":
                return density * torch.nan
        return density


FAULTS = {
    "column": r"sample gave \(64, 1\) torch.float32; it must give a tensor \(64,\)", "small": r"sample gave \(2,\)",
    "own draws": "all random numbers from the generator", "double": r"\(64,\) torch.float64", "zero": "above 1e-18",
    "density column": r"log_density gave \(64, 1\)", "density of the batch": "depends on the others of its batch",
    "nan": "no NaN",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_noise_distribution_is_asked_as_training_asks(fault: str, tmp_path: Path) -> None:
    network = trained(noise=Noise(fault))
    with pytest.raises(ValueError, match=FAULTS[fault]):
        network.made(Cache(tmp_path), silent)


WEIGHTS_OF: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "column": (lambda s: s.view(-1, 1), r"weighting mine gave \(64, 1\) torch.float32; it must give a tensor \(64,\)"),
    "number": (lambda s: 1.0, "gave float"),
    "mean": (lambda s: s / s.mean(), "depends on the others of its batch"),
    "place": (lambda s: s * torch.arange(len(s)), "depends on the others of its batch"),
    "fails": (lambda s: {}["a"], "weighting mine: KeyError"),
    "zero": (torch.zeros_like, "its weights must be finite, at least 0, and not all 0"),
    "negative": (torch.neg, "its weights must be finite, at least 0"),
}


@pytest.mark.parametrize("fault", WEIGHTS_OF)
def test_a_weighting_is_asked_as_training_asks(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    function, says = WEIGHTS_OF[fault]
    monkeypatch.setitem(WEIGHTINGS, "mine", function)
    with pytest.raises(ValueError, match=says):
        trained(weighting="mine").made(Cache(tmp_path), silent)


def remembers(sigma: Tensor) -> Tensor:
    CALLS[0] += 1
    return sigma * (1 if CALLS[0] < 6 else 2)


@pytest.mark.slow
def test_what_changes_during_training_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHTINGS, "mine", remembers)
    CALLS[0] = 0
    with pytest.raises(ValueError, match="weighting: it gives other values after this training"):
        trained(weighting="mine", images_seen=256).made(Cache(tmp_path), silent)
    CALLS[0] = 10
    with pytest.raises(ValueError, match="noise: it gives other values after this training"):
        trained(noise=Noise("counts"), images_seen=512).made(Cache(tmp_path), silent)


@pytest.mark.slow
@pytest.mark.parametrize("change", [None, "losses", "gradients", "moves", "missing"])
def test_the_first_steps_of_a_stored_training_are_taken_again(change: str | None, tmp_path: Path) -> None:
    network, checked = trained(), Cache(tmp_path)
    file = network.made(checked, silent)
    first = dict(file.facts["first"])
    if change == "missing":
        del first["moves"]
    elif change:
        first[change] = [1.02 * first[change][0], *first[change][1:]]
    stored = Artifact(file.path, {"first": first}, (), file.sum, ())
    if change is None:
        network._check(stored)
        return
    with pytest.raises(Differs, match="moves" if change == "missing" else change) as found:
        network._check(stored)
    assert identity(network) in next(iter(found.value.makers))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("diffusion_core.training.ADAM_BETAS", (0.9, 0.9)),
        ("diffusion_core.training.lr_factor", lambda step, n_steps, warmup: 0.5),
        ("experiments.run.networks.block_seed", lambda seed, block: 1234),  # of the first weights
    ],
    ids=["optimiser", "learning rate", "first weights"],
)
def test_a_change_of_training_that_the_first_losses_hardly_show_is_met(
    where: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trained(images_seen=96, batch_size=32, warmup_images=10_000)
    file = config.made(Cache(tmp_path), silent)
    config._check(file)
    monkeypatch.setattr(where, value)
    with pytest.raises(Differs, match=r"the training of .*, begun again, has other (gradients|moves)"):
        config._check(file)
