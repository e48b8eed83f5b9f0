"""Samplers that reuse the last evaluation: DPM-Solver++(2M), its SDE form, and smalldiffusion's accelerated step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.schedules.sigma import Sigmas
from diffusion_core.validation import check_positive, check_range, check_share


@dataclass(frozen=True)
class DPMpp2M(Sampler):
    """DPM-Solver++(2M): second order in ln sigma with one evaluation per step. The first step is DDIM.

    With h = ln(sigma / sigma'), k = h_previous / h and D = (1 + 1/2k) denoised - 1/2k denoised_previous:
    x <- (sigma' / sigma) x + (1 - sigma' / sigma) D.

    Source: Lu et al. 2022, arXiv 2211.01095, Algorithm 2, in sigma coordinates.
    Note: a step to sigma = 0 returns denoised. Also called `sample_dpmpp_2m` (k-diffusion) and
        DPMSolverMultistepScheduler (diffusers). Do not confuse it with DPM-Solver, which extrapolates eps, or with
        DPM++ 2S, which takes two evaluations.
    """

    eta = 0.0  # a field of `DPMpp2MSDE`
    label: ClassVar[str] = "dpm++2m"
    order: ClassVar[int | None] = 2

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        denoised = torch.empty_like(x)
        previous = torch.empty_like(x)
        log_previous = 0.0
        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            ratio = sigma_next / sigma
            keep = ratio ** (1 + self.eta)
            torch.add(x, eps(x, sigma), alpha=-sigma, out=denoised)
            x.lerp_(denoised, 1 - keep)
            if step > 0 and sigma_next > 0:
                extrapolated = (1 - keep) * math.log(ratio) / (2 * log_previous)
                x.add_(denoised, alpha=extrapolated).sub_(previous, alpha=extrapolated)
            if self.eta > 0 and sigma_next > 0:
                x.add_(noise(), alpha=sigma_next * math.sqrt(1 - ratio ** (2 * self.eta)))
            if sigma_next > 0:
                denoised, previous = previous, denoised
                log_previous = math.log(ratio)
            yield x


@dataclass(frozen=True)
class DPMpp2MSDE(DPMpp2M):
    """SDE-DPM-Solver++(2M), midpoint form, on the diffusion SDE with `eta` times the noise of DDPM.

    With c = (sigma' / sigma)^(1 + eta) and D as in `DPMpp2M`:
    x <- c x + (1 - c) D + sigma' sqrt(1 - (sigma' / sigma)^(2 eta)) z. eta = 0 is `DPMpp2M` and draws no noise.

    Source: Lu et al. 2022, arXiv 2211.01095, SDE-DPM-Solver++(2M) (eta = 1); the free eta is Crowson's (k-diffusion
        2022, `sample_dpmpp_2m_sde`).
    Note: this eta equals the eta of `Euler` only at 0 and 1. Usual is 1, diffusers' algorithm_type="sde-dpmsolver++".
        Do not confuse it with k-diffusion's `sample_dpmpp_sde`, which takes two evaluations per step.
    """

    eta: float = 1.0
    label: ClassVar[str] = "dpm++2m-sde"

    def __post_init__(self) -> None:
        check_range("eta", self.eta, 0)


@dataclass(frozen=True)
class Accelerated(Sampler):
    """Euler along gam eps + (1 - gam) eps_previous, down to sigma_down <= sigma'; then noise raises x to sigma'.

    sigma_down = (sigma' / sigma^mu)^(1 / (1 - mu)). gam = 1 is `Euler` with the noise of mu; mu = 0 draws none.

    Args:
        gam: the paper's gamma, above 0; above 1 it extrapolates. The first step uses eps alone. Usual are 1 and 2.
        mu: share of the step in ln sigma that the noise undoes, 0 <= mu < 1. With gam = 1, mu = 1/2 is DDPM. Usual are
            0 and 1/2.

    Source: Permenter & Yuan 2024, arXiv 2306.04848, in the form of smalldiffusion's `samples`.
    Note: do not confuse gam with the gamma of churn, by which a level is raised.
    """

    gam: float = 2.0
    mu: float = 0.0
    label: ClassVar[str] = "accelerated"
    order: ClassVar[int | None] = 1

    def __post_init__(self) -> None:
        check_positive("gam", self.gam)
        check_share("mu", self.mu)

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        share = torch.empty_like(x)  # (1 - gam) eps of the last step
        next_share = torch.empty_like(x)  # (1 - gam) eps of this step
        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            sigma_down = sigma * (sigma_next / sigma) ** (1 / (1 - self.mu))
            slope = eps(x, sigma)
            torch.mul(slope, 1 - self.gam, out=next_share)
            x.add_(slope, alpha=(sigma_down - sigma) * (1 if step == 0 else self.gam))
            if step > 0:
                x.add_(share, alpha=sigma_down - sigma)
            share, next_share = next_share, share
            if self.mu > 0 and sigma_next > 0:
                x.add_(noise(), alpha=math.sqrt(sigma_next**2 - sigma_down**2))
            yield x
