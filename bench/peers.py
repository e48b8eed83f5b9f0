"""Sampling loops of other projects, each written as in the project's own examples.

All take our network, eps = model(x, sigma) with x at noise level sigma. Loops on the variance-preserving scale multiply
x by a constant before each evaluation; their own networks would do this inside. Noise comes from the global generator.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from diffusion_core.samplers import Model
from diffusion_core.schedules import geometric


@dataclass(frozen=True)
class Peer:
    """A sampling loop to compare ours with."""

    name: str
    package: str
    run: Callable[[Model, tuple[int, ...], int, str], Tensor]  # (model, shape (B, C, H, W), n_steps, device) -> x
    sigmas: Callable[[int], Sequence[float]] = geometric  # n_steps -> the n_steps + 1 levels that it visits
    eta: float = 0.0  # fresh noise per step, see `Euler`


@torch.no_grad()
def original(model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
    """The loop that this project began with, at beta = 0. It copies every step to the host and keeps it."""
    sigma, *_, sigma_min = geometric(n_steps)
    alpha = 1 - (sigma_min / sigma) ** (1 / n_steps)
    beta = 0.0
    x = sigma * torch.randn(shape, device=device)
    kept = [x.cpu()]
    for _ in range(n_steps):
        eps = model(x, torch.full((len(x),), sigma, device=device))
        x = x - alpha * sigma * eps + beta * sigma * torch.randn_like(x)
        sigma *= math.sqrt((1 - alpha) ** 2 + beta**2)
        kept.append(x.cpu())
    return torch.stack(kept)[-1]


def _diffusers(title: str, name: str, vp: bool, eta: float = 0.0, **options: Any) -> Peer:
    """diffusers' documented loop. With vp, the scheduler's x has unit variance."""

    @cache  # built once, as a pipeline does
    def built() -> Any:
        import diffusers

        return getattr(diffusers, name)(**options)

    def levels(n_steps: int, device: str = "cpu") -> Tensor:
        """Sets the scheduler's timesteps; sigma at each of them."""
        scheduler = built()
        scheduler.set_timesteps(n_steps, device=device)
        if hasattr(scheduler, "sigmas"):
            return scheduler.sigmas[:-1].to(device)
        return (1 / scheduler.alphas_cumprod[scheduler.timesteps.cpu()] - 1).sqrt().to(device)

    @torch.no_grad()
    def run(model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
        scheduler = built()
        sigmas = levels(n_steps, device)
        scales = (1 + sigmas.square()).sqrt().tolist()
        x = torch.randn(shape, device=device) * scheduler.init_noise_sigma
        for step, timestep in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(x, timestep)
            eps = model(x * scales[step] if vp else x, sigmas[step].expand(len(x)))
            x = scheduler.step(eps, timestep, x).prev_sample
        return x

    return Peer(f"diffusers {title}", "diffusers", run, lambda n: [*levels(n).double().tolist(), 0.0], eta)


@torch.no_grad()
def _smalldiffusion(model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
    from smalldiffusion import samples

    network = SimpleNamespace(
        eval=lambda: None,
        rand_input=lambda n: torch.randn(n, *shape[1:], device=device),
        predict_eps_cfg=lambda x, sigma, *_: model(x, sigma.expand(len(x))),
    )
    schedule = torch.tensor(geometric(n_steps))
    *_, x = samples(network, schedule, batchsize=shape[0], accelerator=SimpleNamespace(device=device))
    return x


PEERS = (
    Peer("original loop", "torch", original),
    _diffusers("Euler", "EulerDiscreteScheduler", vp=False),
    _diffusers("Euler ancestral", "EulerAncestralDiscreteScheduler", vp=False, eta=1.0),
    _diffusers("DDIM", "DDIMScheduler", vp=True, clip_sample=False),
    _diffusers("DPM++ 2M", "DPMSolverMultistepScheduler", vp=True),
    Peer("smalldiffusion", "smalldiffusion", _smalldiffusion),
)
