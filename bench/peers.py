"""Sampling loops of other projects, each written as in the project's own examples.

All take our network, eps = model(x, sigma) with x at noise level sigma, so all loops evaluate the same weights. The two
loops on the variance-preserving scale multiply x by a constant before each evaluation; their own networks would do this
inside. Noise comes from torch's global generator, as in those projects.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from diffusion_core.samplers import Model
from diffusion_core.schedules import geometric

SIGMA_MAX, SIGMA_MIN = 30.0, 0.03
Make = Callable[..., Any]  # (n_steps, device) -> a diffusers scheduler with its timesteps set


@dataclass(frozen=True)
class End:
    """The expected end of a loop for a model that returns ones: x keeps its noise and moves by `shift` on average.

    Args:
        shift: the sum of all steps, in data standard deviations.
        std: standard deviation of the noise in x: the first noise and all noise added.
    """

    shift: float
    std: float


@dataclass(frozen=True)
class Peer:
    """A sampling loop to compare ours with.

    Args:
        name: as tables print it.
        package: the package that must be installed.
        run: (model, shape (B, C, H, W), n_steps, device) -> x at the end.
        end: its `End` for n_steps.
    """

    name: str
    package: str
    run: Callable[[Model, tuple[int, ...], int, str], Tensor]
    end: Callable[[int], End]

    @property
    def installed(self) -> bool:
        return find_spec(self.package) is not None


def _levels(scheduler: Any) -> Tensor:
    """sigma at each of the scheduler's steps, from its table of abar."""
    abar = scheduler.alphas_cumprod[scheduler.timesteps]
    levels: Tensor = (1 / abar - 1).sqrt()
    return levels


@torch.no_grad()
def original(model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
    """The loop that this project began with, at beta = 0. It copies every step to the host and keeps it."""
    ratio = (SIGMA_MIN / SIGMA_MAX) ** (1 / n_steps)
    alpha, beta = 1 - ratio, 0.0
    sigma = SIGMA_MAX
    x = sigma * torch.randn(shape, device=device)
    kept = [x.cpu()]
    for _ in range(n_steps):
        eps = model(x, torch.full((len(x),), sigma, device=device))
        x = x - alpha * sigma * eps + beta * sigma * torch.randn_like(x)
        sigma *= math.sqrt((1 - alpha) ** 2 + beta**2)
        kept.append(x.cpu())
    return torch.stack(kept)[-1]


@cache
def _scheduler(name: str, **options: Any) -> Any:
    """A scheduler of diffusers, built once as a pipeline does."""
    import diffusers

    return getattr(diffusers, name)(**options)


def _euler(n_steps: int, device: str = "cpu") -> Any:
    scheduler = _scheduler("EulerDiscreteScheduler")
    scheduler.set_timesteps(sigmas=list(geometric(n_steps, SIGMA_MAX, SIGMA_MIN)), device=device)
    return scheduler


def _ancestral(n_steps: int, device: str = "cpu") -> Any:
    scheduler = _scheduler("EulerAncestralDiscreteScheduler")
    scheduler.set_timesteps(n_steps, device=device)
    return scheduler


def _ddim(n_steps: int, device: str = "cpu") -> Any:
    scheduler = _scheduler("DDIMScheduler", clip_sample=False)
    scheduler.set_timesteps(n_steps, device=device)
    return scheduler


def _dpmpp(n_steps: int, device: str = "cpu") -> Any:
    scheduler = _scheduler("DPMSolverMultistepScheduler")
    scheduler.set_timesteps(n_steps, device=device)
    return scheduler


@torch.no_grad()
def _in_sigma(make: Make, model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
    """diffusers' documented loop with a scheduler whose x is clean + sigma noise."""
    scheduler = make(n_steps, device)
    levels = scheduler.sigmas.to(device)
    x = torch.randn(shape, device=device) * levels[0]
    for step, timestep in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, timestep)
        eps = model(x, levels[step].expand(len(x)))
        x = scheduler.step(eps, timestep, x).prev_sample
    return x


@torch.no_grad()
def _in_vp(make: Make, model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
    """diffusers' documented loop with a scheduler whose x has unit variance. It returns x at sigma = 0."""
    scheduler = make(n_steps, device)
    levels = _levels(scheduler).to(device)
    scales = (1 + levels.square()).sqrt().tolist()
    x = torch.randn(shape, device=device)
    for step, timestep in enumerate(scheduler.timesteps):
        eps = model(x * scales[step], levels[step].expand(len(x)))
        x = scheduler.step(eps, timestep, x).prev_sample
    return x


@torch.no_grad()
def _smalldiffusion(model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
    from smalldiffusion import samples

    network = SimpleNamespace(
        eval=lambda: None,
        rand_input=lambda n: torch.randn(n, *shape[1:], device=device),
        predict_eps_cfg=lambda x, sigma, *_: model(x, sigma.expand(len(x))),
    )
    ladder = torch.tensor(geometric(n_steps, SIGMA_MAX, SIGMA_MIN))
    *_, x = samples(network, ladder, batchsize=shape[0], accelerator=SimpleNamespace(device=device))
    return x


def _vp_to_zero(make: Make) -> Callable[[int], End]:
    """The ends of a VP loop, which removes all noise. Its x starts at unit variance, in our units 1 + sigma_0^2."""

    def end(n_steps: int) -> End:
        first = float(_levels(make(n_steps))[0])
        return End(-first, math.sqrt(1 + first**2))

    return end


def _ancestral_end(n_steps: int) -> End:
    sigmas = _ancestral(n_steps).sigmas.double().tolist()
    shift, variance = 0.0, sigmas[0] ** 2
    for sigma, after in itertools.pairwise(sigmas):
        up = math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2)
        shift += math.sqrt(after**2 - up**2) - sigma
        variance += up**2
    return End(shift, math.sqrt(variance))


def _down_the_ladder(n_steps: int) -> End:
    return End(SIGMA_MIN - SIGMA_MAX, SIGMA_MAX)


PEERS = (
    Peer("original loop", "torch", original, _down_the_ladder),
    Peer("diffusers Euler", "diffusers", partial(_in_sigma, _euler), _down_the_ladder),
    Peer("diffusers Euler ancestral", "diffusers", partial(_in_sigma, _ancestral), _ancestral_end),
    Peer("diffusers DDIM", "diffusers", partial(_in_vp, _ddim), _vp_to_zero(_ddim)),
    Peer("diffusers DPM++ 2M", "diffusers", partial(_in_vp, _dpmpp), _vp_to_zero(_dpmpp)),
    Peer("smalldiffusion", "smalldiffusion", _smalldiffusion, _down_the_ladder),
)
