"""The sampling loops that are timed: ours, the user's, and those of other projects, written as in their own examples.

All take our network, eps = model(x, sigma) with x at noise level sigma. Loops on the variance-preserving scale multiply
x by a constant before each evaluation; their own networks would do this inside. Their noise comes from the global
generator.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_core.samplers import Euler, Model, Sampler, sample
from diffusion_core.samplers.base import Eps, Noise
from diffusion_core.schedules import geometric
from diffusion_core.schedules.sigma import Sigmas


@dataclass(frozen=True)
class Loop:
    """A sampling loop."""

    who: str
    package: str  # OURS, YOURS or another project's
    run: Callable[[Model, tuple[int, ...], int, str], Tensor]  # (model, shape (B, C, H, W), evaluations, device) -> x
    sigmas: Callable[[int], Sequence[float]] = geometric  # evaluations -> the levels that it visits
    eta: float = 0.0  # fresh noise per step, see `Euler`; of the user's: whether there is any
    drawn_once: bool = False  # whether it repeats its first draw of fresh noise: all but the cost of drawing
    fault: str = ""  # of the user's: what is wrong with its samples

    def __str__(self) -> str:
        return self.who

    @property
    def notes(self) -> dict[str, Any]:
        names = ("who", "package", "drawn_once", "fault")
        return {name: getattr(self, name) for name in names} | {"noise": self.eta > 0}


OURS, YOURS = "sigmabench", "yours"


@dataclass(frozen=True)
class DrawnOnce(Sampler):
    """A sampler whose fresh noise is drawn once, so that drawing costs nothing. Its samples are wrong."""

    sampler: Sampler

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        drawn = noise()
        yield from self.sampler.run(eps, x, sigmas, lambda: drawn)


def of_sampler(who: str, package: str, sampler: Sampler) -> list[Loop]:
    """A sampler's loop, and the same with its fresh noise drawn once if it has any.

    It takes the most steps, from sigma 30 to 0.03 or on its own levels, that need no more evaluations than are given.
    """

    def levels(n: int) -> Sigmas:
        schedules = (sampler.own_levels(n_steps) or geometric(n_steps) for n_steps in range(n, 0, -1))
        return next(sigmas for sigmas in schedules if sampler.planned_nfe(sigmas) <= n)

    def run_with(sampler: Sampler) -> Callable[[Model, tuple[int, ...], int, str], Tensor]:
        def run(model: Model, shape: tuple[int, ...], n: int, device: str) -> Tensor:
            batch, *image = shape
            return sample(
                model, levels(n), sampler, n_samples=batch, batch_size=batch, shape=tuple(image), device=device
            )

        return run

    eta = float(sampler.adds_noise(levels(12)))
    loop = Loop(who, package, run_with(sampler), levels, eta)
    once = Loop(f"{who}, noise drawn once", package, run_with(DrawnOnce(sampler)), levels, eta, drawn_once=True)
    return [loop, once] if eta else [loop]


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


def import_peer(name: str) -> Any:
    """Another project's package. If it is not installed, its benchmarks are skipped, and say what installs it."""
    reason = f"{name} is not installed: pip install -e '.[peers]' for its loops"
    return pytest.importorskip(name, reason=reason, exc_type=ModuleNotFoundError)


def _diffusers(title: str, name: str, vp: bool, eta: float = 0.0, **options: Any) -> Loop:
    """diffusers' documented loop. With vp, the scheduler's x has unit variance."""

    @cache  # built once, as a pipeline does
    def built() -> Any:
        return getattr(import_peer("diffusers"), name)(**options)

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

    return Loop(f"diffusers {title}", "diffusers", run, lambda n: [*levels(n).double().tolist(), 0.0], eta)


@torch.no_grad()
def _smalldiffusion(model: Model, shape: tuple[int, ...], n_steps: int, device: str) -> Tensor:
    network = SimpleNamespace(
        eval=lambda: None,
        rand_input=lambda n: torch.randn(n, *shape[1:], device=device),
        predict_eps_cfg=lambda x, sigma, *_: model(x, sigma.expand(len(x))),
    )
    schedule = torch.tensor(geometric(n_steps))
    *_, x = import_peer("smalldiffusion").samples(
        network, schedule, batchsize=shape[0], accelerator=SimpleNamespace(device=device)
    )
    return x


LOOPS = [
    *(loop for eta in (0.0, 1.0) for loop in of_sampler(f"ours, eta {eta:g}", OURS, Euler(eta))),
    Loop("original loop", "torch", original),
    _diffusers("Euler", "EulerDiscreteScheduler", vp=False),
    _diffusers("Euler ancestral", "EulerAncestralDiscreteScheduler", vp=False, eta=1.0),
    _diffusers("DDIM", "DDIMScheduler", vp=True, clip_sample=False),
    _diffusers("DPM++ 2M", "DPMSolverMultistepScheduler", vp=True),
    Loop("smalldiffusion", "smalldiffusion", _smalldiffusion),
]
