"""The cost of a sampler that does not say it, and samplers that do not end."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import Euler, Sampler, checked, sample
from diffusion_core.schedules import geometric

LADDER = geometric(4, 10.0, 0.1)


@dataclass(frozen=True)
class Twice(Sampler):
    """Two evaluations per step, the second in a batch of two. It does not say its cost."""

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        for sigma, sigma_next in pairwise(sigmas):
            guess = torch.cat([x, x + (sigma_next - sigma) * eps(x, sigma)])
            levels = torch.tensor([sigma, sigma_next]).repeat_interleave(len(x))
            first, second = eps(guess, levels).chunk(2)
            x = x + (sigma_next - sigma) * (first + second) / 2
            yield x


class Broken(Twice):
    def run(self, *arguments: Any) -> Iterator[Tensor]:
        raise KeyError("x")


@dataclass(frozen=True)
class Endless(Sampler):
    """It yields x for ever, with or without an evaluation."""

    evaluates: bool = False
    follows_ladder: ClassVar[bool] = False

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        while True:
            if self.evaluates:
                eps(x, sigmas[0])
            yield x


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [(Twice(), 12), (Euler(0.5), 4), (Broken(), 4), (Endless(), 4), (Endless(True), 4)],
    ids=["counted", "said", "broken", "endless", "endless evaluations"],
)
def test_cost_is_said_or_counted(sampler: Any, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusion_core.samplers.base.MAX_STEPS", 200)
    assert sampler.planned_nfe(LADDER) == expected


def test_a_sampler_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "MAX_STEPS", 50)
    with pytest.raises(ValueError, match=r"^sampler Endless.*: it took more than 50 steps, or does not end"):
        sample(GaussianDenoiser(), LADDER, Endless(), n_samples=1, shape=(1, 4, 4))
