"""The sampler of Kadkhodaie & Simoncelli, which measures its noise level instead of following a schedule."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.schedules.sigma import Sigmas
from diffusion_core.tensors import broadcast_like
from diffusion_core.validation import check_range

LOOK_EVERY = 8  # steps on a GPU, which waits for each look at whether all samples have stopped


@dataclass(frozen=True)
class KadkhodaieSimoncelli(Sampler):
    """The coarse-to-fine sampler: each step estimates sigma again, per sample, from the size of the estimated noise.

    With alpha_t = alpha_0 t / (1 + alpha_0 (t - 1)), t = 1, 2, ..., and measured = level |eps| / sqrt(pixels):
    x <- x - alpha_t level eps + gamma_t measured z, with gamma_t^2 = (1 - beta_ks alpha_t)^2 - (1 - alpha_t)^2.
    A sample stops changing after the step with measured <= sigma_min. The run ends once all samples have stopped, at
    the latest after max_steps.

    Args:
        beta_ks: share of the removed noise that is not put back, 0 < beta_ks <= 1; 1 draws no noise.
        alpha_0: the paper's h_0, in (0, 1]; alpha rises from alpha_0 towards 1.
        max_steps: largest number of steps. After it, samples may still be above sigma_min. Niche.

    Source: Kadkhodaie & Simoncelli 2020, arXiv 2007.13640, Algorithm 1 (its beta is beta_ks, its h_t is alpha_t).
    Note: only the ends of the schedule matter. The paper's denoiser takes no noise level; ours gets the level that the
        last step aimed at, (1 - beta_ks alpha_t) measured. On data that fill the space (a Gaussian) the estimated noise
        is smaller than the true noise, so the sampler stops too early. A GPU looks every 8 steps, so it evaluates the
        network up to 7 times more, which changes no sample. Also called stochastic coarse-to-fine gradient ascent. Do
        not confuse beta_ks with our beta: the smaller beta_ks, the more noise.
    """

    beta_ks: float = 0.5
    alpha_0: float = 0.01
    max_steps: int = 1000
    label: ClassVar[str] = "kadkhodaie-simoncelli"
    follows_schedule: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field, value in (("beta_ks", self.beta_ks), ("alpha_0", self.alpha_0)):
            if not 0 < value <= 1:
                raise ValueError(f"{field}={value}: it must be above 0 and at most 1")
        check_range("max_steps", self.max_steps, 1)

    def alpha(self, step: int) -> float:
        """The share of the estimated noise that is removed at step `step`, counted from 0."""
        return self.alpha_0 * (step + 1) / (1 + self.alpha_0 * step)

    def planned_nfe(self, sigmas: Sigmas) -> int:
        """Evaluations per image if every estimate of sigma is exact. In a run they depend on the estimates."""
        level = sigmas[0]
        for step in range(self.max_steps):
            if level <= sigmas[-1]:
                return step + 1
            level *= 1 - self.beta_ks * self.alpha(step)
        return self.max_steps

    def doubts(self, sigmas: Sigmas) -> list[str]:
        if self.planned_nfe(sigmas) < self.max_steps:
            return []
        return [f"{self.name} takes all its {self.max_steps} steps and may stop above sigma_min; raise alpha_0"]

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        level = x.new_full((len(x),), sigmas[0])
        active = torch.ones_like(level, dtype=torch.bool)
        for step in range(self.max_steps):
            estimate = eps(x, level)
            alpha = self.alpha(step)
            keep = 1 - self.beta_ks * alpha
            measured = level * estimate.flatten(1).square().mean(dim=1).sqrt()
            x.addcmul_(estimate, broadcast_like(x, torch.where(active, -alpha * level, 0)))
            if self.beta_ks < 1:
                size = torch.where(active, math.sqrt(keep**2 - (1 - alpha) ** 2) * measured, 0)
                x.addcmul_(noise(), broadcast_like(x, size))
            active &= measured > sigmas[-1]
            level = torch.where(active, keep * measured, level)
            yield x
            look = x.device.type == "cpu" or step % LOOK_EVERY == LOOK_EVERY - 1
            if look and not active.any():
                return
