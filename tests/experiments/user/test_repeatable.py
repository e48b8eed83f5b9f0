"""Whatever is a user's must depend on its own input only: asked twice, in another order, and for a few alone."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from arrays import normal
from refusals import refused
from torch import Tensor, nn

from diffusion_core import GaussianDenoiser, load
from diffusion_core.noise import NoiseDistribution
from diffusion_core.registry import NOISE_DISTRIBUTIONS
from diffusion_core.samplers import Sampler
from diffusion_core.weightings import WEIGHTINGS
from experiments.names import parse_noise
from experiments.user.network_io import check_batch
from experiments.user.repeatable import check_noise, check_repeatable, check_user_sampler, check_weighting

EXACT = GaussianDenoiser()
CALLS = [0]
KEPT = dict[Any, Tensor]()


def remembers(x: Tensor) -> Tensor:
    CALLS[0] += 1
    return x * (1 + 0.01 * CALLS[0])


def keeps(x: Tensor) -> Tensor:
    return KEPT.setdefault((x.shape, float(x.square().mean()) > 1), x)


def by_place(x: Tensor) -> Tensor:
    return x * (1 + 0.05 * torch.arange(len(x)).view(-1, *[1] * (x.ndim - 1)) / len(x))


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "chance": lambda x: x + 0.3 * torch.randn_like(x),
    "earlier calls": remembers,
    "kept answers": keeps,
    "the rest of the batch": lambda x: x - 0.5 * x.mean(dim=0),
    "statistics of the batch": lambda x: x / x.std(),
    "its place": by_place,
    "the size of the batch": lambda x: x * (1.1 if len(x) > 8 else 1),
    "dropout": nn.Dropout(0.5).train(),
    "BatchNorm": nn.BatchNorm2d(1).train(),
}
SAYS = r"(the output changed|the output for an input changed by .* when the batch was (reordered|smaller))"


@dataclass(frozen=True)
class Own(Sampler):
    """Euler with a fault at each step."""

    fault: str = ""

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        for sigma, after in pairwise(sigmas):
            x = FAULTS[self.fault](x + (after - sigma) * eps(x, sigma))
            yield x


@dataclass(frozen=True)
class Law(NoiseDistribution):
    """A noise distribution with a fault in its density, or none."""

    fault: str = ""
    law_fault: str = ""
    name = "mine"  # type: ignore[assignment]

    def sample(self, n: int, generator: torch.Generator, stratified: bool = False) -> Tensor:
        levels = (torch.randn(n, generator=None if self.law_fault == "draws" else generator) / 2**0.5).exp()
        return {"column": levels.view(-1, 1), "zero": levels * 0, "double": levels.double()}.get(self.law_fault, levels)

    def log_density(self, log_sigma: Tensor) -> Tensor:
        if self.law_fault == "raises":
            math.log(-1)
        log_sigma = log_sigma - float(self.law_fault == "shift")
        density = -log_sigma.square() * (torch.nan if self.law_fault == "nan" else 1) - 0.5723649 * (
            self.law_fault != "sum"
        )
        return FAULTS[self.fault](density) if self.fault else density


def _network(fault: str):
    check_batch(lambda x, sigma: EXACT(FAULTS[fault](x), sigma), load("mnist5k"), "cpu", 16)


def _sampler(fault: str):
    check_user_sampler(Own(fault), (5.0, 1.0, 0.1), (1, 8, 8))


def _features(fault: str):
    images = normal(16, 1, 8, 8, seed=1)
    check_repeatable("features", lambda which: FAULTS[fault](images[which]), len(images), tolerance=0.01)


def _noise(fault: str):
    check_noise(Law(fault), False, 16)


def _weighting(fault: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WEIGHTINGS, "mine", FAULTS[fault])
        check_weighting("mine", 16)


CHECKS = {"model": _network, "sampler": _sampler, "features": _features, "noise": _noise, "weighting": _weighting}
NUMBERS = FAULTS.keys() - {"BatchNorm", "kept answers"}  # faults that take numbers, not only images
CASES = [(what, fault) for what in CHECKS for fault in FAULTS if what not in ("noise", "weighting") or fault in NUMBERS]


@pytest.mark.parametrize("what, fault", CASES)
def test_what_depends_on_more_than_its_input_is_refused(what: str, fault: str):
    CALLS[0] = 0
    KEPT.clear()
    with refused(f"{what}.*{SAYS}"), torch.no_grad():
        CHECKS[what](fault)


@pytest.mark.parametrize("what", CHECKS)
def test_what_depends_on_its_input_only_passes(what: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(FAULTS, "none", lambda x: x.abs() + 1)
    CHECKS[what]("" if what == "noise" else "none")  # whose density must integrate to 1


@pytest.mark.parametrize(
    "fault, says",
    [("draws", "all random numbers from the generator"), ("column", r"sample gave \(16, 1\) .*; it must give a tensor"),
     ("zero", "its levels must be finite and above 0"), ("double", "torch.float64"), ("nan", "integrates to nan"),
     ("sum", "its density of ln sigma integrates to 1.77; it must be 1"),
     ("shift", "78% of its levels lie below 1.68, but 25% by log_density; it must be"),
     ("raises", "ValueError: math domain error"),
     ("stratified", "stratified=True must give one level from each")],
)  # fmt: skip
def test_a_noise_distribution_gives_levels_and_a_density(fault: str, says: str):
    with refused(f"noise mine.*{says}"):
        check_noise(Law(law_fault=fault), fault == "stratified", 16)


@pytest.mark.parametrize("name", [*NOISE_DISTRIBUTIONS, "ddpm(n_table=30)"])
def test_our_noise_distributions_pass(name: str):
    check_noise(parse_noise(name, 0.5), False, 16)


@pytest.mark.parametrize(
    "weights, says",
    [(lambda s: s.view(-1, 1), r"gave \(16, 1\)"), (lambda s: 1.0, "gave float"), (torch.neg, "finite, at least 0"),
     (torch.zeros_like, "not all 0")],
)  # fmt: skip
def test_weights_are_weights(weights: Any, says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(WEIGHTINGS, "mine", weights)
    with refused(f"weighting mine.*{says}"):
        check_weighting("mine", 16)
