"""What is believed: a user's code is asked again as it is used; rounding is no difference."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from run_spine import data, exact, files, imported, run, score, silent
from torch import Tensor

from diffusion_core.samplers import Euler, Sampler
from experiments.own.features import features_id
from experiments.run import believe, steps
from experiments.run.cache import Cache, Differs
from experiments.run.foreign import Foreign
from experiments.run.machine import Machine
from experiments.run.networks import Exact
from experiments.run.plan import Reference, Run

CALLS = [0]
START = "import torch\nfrom diffusion_core import GaussianDenoiser\nexact = GaussianDenoiser()\n"
Step = Callable[[Tensor, int], Tensor]


def honest(x: Tensor, step: int) -> Tensor:
    return x


def remembers(x: Tensor, step: int) -> Tensor:
    CALLS[0] += 1
    return x * (1 + 0.01 * CALLS[0])


def remembers_the_first(x: Tensor, step: int) -> Tensor:
    """Only the first batch of a process is another one."""
    CALLS[0] += 1
    return x * (1.1 if CALLS[0] < 4 else 1)


def centres(x: Tensor, step: int) -> Tensor:
    return x - 0.5 * x.mean(dim=0)


def places(x: Tensor, step: int) -> Tensor:
    return x * (1 + 0.05 * torch.arange(len(x)).view(-1, 1, 1, 1) / len(x))


def of_full_batches(x: Tensor, step: int) -> Tensor:
    return x * (1.1 if len(x) > 20 else 1)


def own_noise(x: Tensor, step: int) -> Tensor:
    return x + 0.3 * torch.randn_like(x)


WAYS = {
    way.__name__: way for way in (honest, remembers, remembers_the_first, centres, places, of_full_batches, own_noise)
}


@dataclass(frozen=True)
class Own(Sampler):
    """Euler with something else at each step."""

    way: str = "honest"

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(sigmas) - 1

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            x = WAYS[self.way](x + (after - sigma) * eps(x, sigma), step)
            yield x


@dataclass(frozen=True)
class OwnNetwork(Exact):
    """An exact denoiser with something else at each call."""

    data: str = ""
    way: str = "honest"

    def load(self, artifact: Any) -> Any:
        model = super().load(artifact)
        return lambda x, sigma: WAYS[self.way](model(x, sigma), 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("whose", ["sampler", "network"])
def test_a_users_code_is_asked_again_as_it_is_used(way: str, whose: str, tmp_path: Path) -> None:
    CALLS[0], network = 0, OwnNetwork(data(), way=way) if whose == "network" else exact()
    own = run(Own(way) if whose == "sampler" else Euler(0.0), network)
    if way == "honest":
        assert steps.sample(own, Cache(tmp_path), silent).facts["nfe"] == 2
        return
    with pytest.raises(ValueError, match=f"{whose}.*: asked again .*, it gives other results"):
        steps.sample(own, Cache(tmp_path), silent)
    assert files(Cache(tmp_path)) == {"samples": 0}


FEATURES = """
import torch
calls = [0]
def features(pixels):
    calls[0] += 1
    x = pixels.float().flatten(1)[:, 300:600] / 255
    return {}
"""
FAULTY = {
    "x": False,
    "x * (1 + 0.02 * (calls[0] > 2))": True,
    "x - x.mean(0)": True,
    "x * torch.linspace(1, 2, len(x))[:, None]": True,
}


@pytest.mark.parametrize("returned", FAULTY)
def test_features_are_asked_again_as_they_are_used(returned: str, folder: Path) -> None:
    imported(folder, feat=FEATURES.format(returned))
    name, own = "python:feat_xyz:features", run()
    real = Reference(data(), name, features_id(name))
    own = Run(own.setting, own.network, own.n, Machine(), real)
    if not FAULTY[returned]:
        assert score(own, Cache(folder / "cache"))["fd"] > 0
        return
    with pytest.raises(ValueError, match="features python:feat_xyz:features: asked again"):
        score(own, Cache(folder / "cache"))


# --- a difference condemns what the same code has made ---


class Random:
    """A model with an attribute `random` that is not True: it is checked as any other."""

    def __init__(self, model: Any) -> None:
        self.model, self.random = model, object()

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return own_noise(self.model(x, sigma), 0)


@dataclass(frozen=True)
class RandomNetwork(OwnNetwork):
    def load(self, artifact: Any) -> Any:
        return Random(Exact.load(self, artifact))


def test_only_random_true_takes_a_network_out_of_the_check(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="network: asked again"):
        steps.sample(run(Euler(0.0), RandomNetwork(data())), Cache(tmp_path), silent)


def test_a_network_that_changes_its_input_at_one_level_through_data_is_refused(folder: Path) -> None:
    """behaviour.py asks at other levels, and `.data` leaves no trace in a tensor's version."""
    late = "    if 0.9 < float(sigma[0]) < 1: x.data.mul_(0.5)\n"
    imported(folder, mine=f"{START}def eps(x, sigma):\n    out = exact(x, sigma)\n{late}    return out\n")
    network = Foreign.of("python:mine_xyz:eps", data(), None, Machine())
    with pytest.raises(ValueError, match=r"network: it changed x in place at sigma 0\.949; it must leave it alone"):
        steps.sample(run(Euler(0.0), network), Cache(folder / "new"), silent)


@pytest.mark.parametrize(("size", "mixed", "differs"), [(0.001, False, ""), (0.001, True, "on average"),
                                                       (1e-6, True, ""), (0.03, False, "by up to 0.03"),
                                                       (float("nan"), False, "by up to inf")])  # fmt: skip
def test_rounding_is_no_difference(size: float, mixed: bool, differs: str) -> None:
    stored = torch.ones(12, 5)
    if not differs:
        believe.compare("x", stored * (1 + size), stored, {}, mixed=mixed)
        return
    with pytest.raises(Differs, match=differs):
        believe.compare("x", stored * (1 + size), stored, {}, mixed=mixed)


def test_one_image_that_differs_is_enough() -> None:
    stored = torch.ones(12, 5)
    other = stored.clone()
    other[7] *= 1.05
    with pytest.raises(Differs):
        believe.compare("x", other, stored, {})


@pytest.mark.parametrize(("n", "n_classes"), [(40, 10), (1000, 10), (10, 1), (3, 10)])
def test_images_are_chosen_all_over(n: int, n_classes: int) -> None:
    for _ in range(20):
        chosen = believe.choose(n, n_classes)
        assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < n
        assert len(chosen) >= min(n, 6) // 2 and (n < 20 or chosen[-1] - chosen[0] > n / 2)
