"""RES, the refined exponential solvers: exponential integrators of order 2 for dx/dlambda = denoised - x.

lambda = -ln sigma. With h = ln(sigma / sigma'), x decays by exp(-h) = sigma' / sigma, and the denoised image, linear in
lambda between two evaluations, is integrated exactly: h phi_1 = 1 - exp(-h), h phi_2 = (exp(-h) - 1 + h) / h.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.schedules.sigma import Sigmas


@dataclass(frozen=True)
class RES2M(Sampler):
    """RES with two steps: second order in ln sigma with one evaluation per step. The first step is DDIM.

    x <- exp(-h) x + h phi_1 denoised + h phi_2 (h / h_previous) (denoised - denoised_previous).

    Source: Zhang et al. 2023, arXiv 2308.02157, multistep RES of order 2 for the data prediction in logSNR.
    Note: also called res_multistep (ComfyUI) and res_2m (RES4LYF). Do not confuse it with `DPMpp2M`, which has
        h phi_1 / 2 in place of h phi_2. A step to sigma = 0 returns denoised.
    """

    label: ClassVar[str] = "res-2m"
    order: ClassVar[int | None] = 2

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        denoised = torch.empty_like(x)
        previous = torch.empty_like(x)
        h_previous = 0.0
        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            keep = sigma_next / sigma
            torch.add(x, eps(x, sigma), alpha=-sigma, out=denoised)
            x.lerp_(denoised, 1 - keep)
            if sigma_next > 0:
                h = -math.log(keep)
                if step > 0:
                    ahead = (keep - 1 + h) / h_previous
                    x.add_(denoised, alpha=ahead).sub_(previous, alpha=ahead)
                denoised, previous = previous, denoised
                h_previous = h
            yield x


@dataclass(frozen=True)
class RES2S(Sampler):
    """RES in single steps with c_2 = 1/2: second order in ln sigma with two evaluations per step.

    The second evaluation is at sqrt(sigma sigma'), after a step of DDIM:
    x <- exp(-h) x + h phi_1 denoised + 2 h phi_2 (denoised_middle - denoised).

    Source: Zhang et al. 2023, arXiv 2308.02157, single-step RES of order 2: b_1 = phi_1 - b_2, b_2 = phi_2 / c_2.
    Note: a step to sigma = 0 returns denoised, with one evaluation. Also called res_2s (RES4LYF). Do not confuse it
        with DPM++ 2S, which weights the same two evaluations otherwise.
    """

    label: ClassVar[str] = "res-2s"
    order: ClassVar[int | None] = 2

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        for sigma, sigma_next in pairwise(sigmas):
            keep = sigma_next / sigma
            denoised = torch.add(x, eps(x, sigma), alpha=-sigma)
            if sigma_next > 0:
                middle = math.sqrt(sigma * sigma_next)
                h = -math.log(keep)
                there = torch.lerp(x, denoised, 1 - middle / sigma)
                change = there.add_(eps(there, middle), alpha=-middle).sub_(denoised)
            x.lerp_(denoised, 1 - keep)
            if sigma_next > 0:
                x.add_(change, alpha=2 * (keep - 1 + h) / h)
            yield x
