"""Networks: the same weights as before, exact denoisers, and what training asks of a user's code."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_spine import data, exact, silent, trained
from torch import Tensor

from diffusion_core.noise import LogUniform, NoiseDistribution
from diffusion_core.weightings import WEIGHTINGS
from experiments.config.denoisers import EmpiricalConfig
from experiments.config.trained import RECIPES as OLD_RECIPES
from experiments.config.trained import TrainConfig
from experiments.run.artifact import Artifact
from experiments.run.cache import Cache, Differs
from experiments.run.identity import identity
from experiments.run.machine import Machine
from experiments.run.networks import RECIPES, WEIGHTS, Trained, images_of

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"held_out": 20},
    "fast": {**RECIPES["fast"], "batch_size": 48},
    "other": {"noise": LogUniform(), "weighting": "min-snr-5", "parameterisation": "eps", "ema_decay": 0.5, "lr": 1e-3},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_training_gives_the_weights_of_the_old_engine(name: str, tmp_path: Any) -> None:
    config, torch_threads = trained(1, **OPTIONS[name]), torch.get_num_threads()
    torch.set_num_threads(1)
    loader = SimpleNamespace(images=lambda name: images_of(name), device="cpu")
    old = TrainConfig(data(), images_seen=128, warmup_images=64, seed=1, **OPTIONS[name])
    model, steps = old.training(loader)  # type: ignore[arg-type]
    losses = [step.loss.item() for step in steps]
    torch.set_num_threads(torch_threads)
    advanced = list[float]()
    file = config.made(Cache(tmp_path), advanced.append)
    weights = file.tensors
    assert sum(advanced) == config.cost and weights.pop("losses")[:, 1].tolist() == losses
    assert weights.keys() == {f"{WEIGHTS}{name}" for name in model.state_dict()}
    assert all(torch.equal(weights[f"{WEIGHTS}{name}"], value) for name, value in model.state_dict().items())
    x, sigma = torch.randn(3, 1, 32, 32), torch.tensor([0.1, 1.0, 10.0])
    with torch.no_grad():
        assert torch.equal(config.load(file)(x, sigma), model.eval()(x, sigma))


def test_recipes_and_rows_are_those_of_the_old_engine() -> None:
    assert RECIPES == OLD_RECIPES
    for recipe in RECIPES.values():
        assert Trained(**recipe).row() == TrainConfig(**recipe).row()
    assert exact().row() == EmpiricalConfig(data()).row()


def test_an_exact_network_needs_no_file(tmp_path: Any) -> None:
    network = exact()
    assert network.made(Cache(tmp_path), silent) is None and network.cost == 0
    x, sigma = torch.randn(2, 1, 32, 32), torch.tensor([1.0, 10.0])
    loader = SimpleNamespace(images=images_of, device="cpu")
    assert torch.equal(network.load(None)(x, sigma), EmpiricalConfig(data()).load(loader)(x, sigma))  # type: ignore[arg-type]
    assert network.shape == (1, 32, 32) and network.decode(x).dtype == torch.uint8


@pytest.mark.parametrize(
    ("options", "says"),
    [({"network": "smal"}, "did you mean small"), ({"weighting": "x"}, "weighting"), ({"lr": 0.0}, "lr=0.0"),
     ({"parameterisation": "v"}, "parameterisation"), ({"noise": 1}, "NoiseDistribution"), ({"ema_decay": 1.0}, "ema"),
     ({"held_out": -1}, "held_out"), ({"images_seen": 0}, "images_seen"), ({"stable_above": 0.0}, "stable_above"),
     ({"batch_size": 2.5}, "batch_size"), ({"machine": Machine(compiled=True)}, "compiled"), ({"data": "x"}, "data")],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_bad_option_is_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Trained(**options)


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
def test_a_noise_distribution_is_asked_as_training_asks(fault: str, tmp_path: Any) -> None:
    network = trained(noise=Noise(fault))
    with pytest.raises(ValueError, match=FAULTS[fault]):
        network.made(Cache(tmp_path), silent)


WEIGHTS_OF: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "column": (lambda s: s.view(-1, 1), r"weighting mine gave \(64, 1\) torch.float32; it must give a tensor \(64,\)"),
    "number": (lambda s: 1.0, "gave float"),
    "mean": (lambda s: s / s.mean(), "depends on the others of its batch"),
    "place": (lambda s: s * torch.arange(len(s)), "depends on the others of its batch"),
    "fails": (lambda s: {}["a"], "weighting mine: KeyError"),
}


@pytest.mark.parametrize("fault", WEIGHTS_OF)
def test_a_weighting_is_asked_as_training_asks(fault: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    function, says = WEIGHTS_OF[fault]
    monkeypatch.setitem(WEIGHTINGS, "mine", function)
    with pytest.raises(ValueError, match=says):
        trained(weighting="mine").made(Cache(tmp_path), silent)


def remembers(sigma: Tensor) -> Tensor:
    CALLS[0] += 1
    return sigma * (1 if CALLS[0] < 6 else 2)


@pytest.mark.slow
def test_what_changes_during_training_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHTINGS, "mine", remembers)
    CALLS[0] = 0
    with pytest.raises(ValueError, match="weighting: it gives other values after this training"):
        trained(weighting="mine", images_seen=256).made(Cache(tmp_path), silent)
    CALLS[0] = 10
    with pytest.raises(ValueError, match="noise: it gives other values after this training"):
        trained(noise=Noise("counts"), images_seen=512).made(Cache(tmp_path), silent)


@pytest.mark.slow
@pytest.mark.parametrize("change", [None, "losses", "gradients", "moves", "missing"])
def test_the_first_steps_of_a_stored_training_are_taken_again(change: str | None, tmp_path: Any) -> None:
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
