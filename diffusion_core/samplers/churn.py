"""Samplers that add their noise before the step: Euler and Heun with the churn of Karras et al."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.schedules.sigma import Sigmas
from diffusion_core.validation import check_range

if TYPE_CHECKING:
    from torch import Tensor

MAX_GAMMA = math.sqrt(2) - 1


@dataclass(frozen=True)
class Churn(Sampler):
    """Noise added before a step: where and how much.

    Args (ValueError if they are negative, or s_min > s_max):
        s_churn: the paper's S_churn. It multiplies sigma by 1 + min(s_churn / n_steps, sqrt(2) - 1).
        s_min, s_max: only levels from s_min to s_max, inclusive, are raised; in data standard deviations. Niche.
        s_noise: factor on the standard deviation of the added noise; 1 adds exactly the noise of the raised level.
            Niche; the paper has 1.003 or 1.007.
    """

    s_churn: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    order: ClassVar[int | None] = 1

    def __post_init__(self) -> None:
        check_range("s_churn", self.s_churn, 0)
        check_range("s_noise", self.s_noise, 0)
        check_range("s_min", self.s_min, 0, self.s_max)

    def raised(self, sigma: float, n_steps: int) -> float:
        """The level that a step starts from: the paper's sigma_hat = (1 + gamma) sigma."""
        gamma = min(self.s_churn / n_steps, MAX_GAMMA)
        return sigma * (1 + gamma) if self.s_min <= sigma <= self.s_max else sigma

    def add(self, x: Tensor, sigma: float, n_steps: int, noise: Noise) -> float:
        """Adds noise to x in place and returns the raised level. Draws no noise if the level stays sigma."""
        raised = self.raised(sigma, n_steps)
        if raised > sigma and self.s_noise > 0:
            x.add_(noise(), alpha=self.s_noise * math.sqrt(raised**2 - sigma**2))
        return raised

    def row(self, sigmas: Sigmas) -> dict[str, Any]:
        return {"s_churn": self.s_churn}


@dataclass(frozen=True)
class EulerChurn(Churn):
    """Churn, then Euler on the probability-flow ODE. Arguments as `Churn`.

    Source: Karras et al. 2022, arXiv 2206.00364, Algorithm 2 without its lines 7-9.
    Note: also called `sample_euler` (k-diffusion) and EulerDiscreteScheduler (diffusers), with s_churn. Do not confuse
        it with `Euler`, which adds its noise after the step. Both are the same chain, shifted by half a step.
    """

    label: ClassVar[str] = "euler-churn"

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        for sigma, sigma_next in pairwise(sigmas):
            raised = self.add(x, sigma, len(sigmas) - 1, noise)
            x.add_(eps(x, raised), alpha=sigma_next - raised)
            yield x


@dataclass(frozen=True)
class Heun(Churn):
    """Churn, then Heun's second-order step on the probability-flow ODE. Arguments as `Churn`.

    Source: Karras et al. 2022, arXiv 2206.00364, Algorithm 2.
    Note: a step to sigma = 0 is an Euler step, as in the paper. Ours end at sigma_min > 0, so their last step is
        a Heun step too, with two evaluations. Also called EDM's sampler, `sample_heun` (k-diffusion) and
        HeunDiscreteScheduler (diffusers); usual is Heun(), without churn. Do not confuse it with `RES2S`, which takes
        two evaluations in steps of ln sigma.
    """

    label: ClassVar[str] = "heun"
    order: ClassVar[int | None] = 2

    def planned_nfe(self, sigmas: Sigmas) -> int:
        return 2 * (len(sigmas) - 1) - (sigmas[-1] == 0)

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        for sigma, sigma_next in pairwise(sigmas):
            raised = self.add(x, sigma, len(sigmas) - 1, noise)
            heun_step(eps, x, raised, sigma_next)
            yield x


def heun_step(eps: Eps, x: Tensor, sigma: float, sigma_next: float) -> None:
    """Moves x from sigma to sigma_next in place by the mean of the slopes at both ends; by Euler if sigma_next is 0."""
    slope = eps(x, sigma)
    change = sigma_next - sigma
    if sigma_next == 0:
        x.add_(slope, alpha=change)
        return
    there = x.add(slope, alpha=change)
    x.add_(slope, alpha=change / 2)  # first, because the model may reuse the memory of `slope`
    x.add_(eps(there, sigma_next), alpha=change / 2)
