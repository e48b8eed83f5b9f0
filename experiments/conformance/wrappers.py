"""Samplers of other signatures as `samples = sampler(denoiser, n_steps, noise)`."""

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from diffusion_core.samplers import Sampler, checked_steps
from diffusion_core.schedules import karras
from diffusion_core.schedules.sigma import Sigmas
from experiments.conformance.impulses import SamplerFunction
from experiments.conformance.independence import takes_generator
from experiments.conformance.oracle import Oracle
from experiments.user.diffusers_schedulers import DiffusersScheduler, make_scheduler, sort_options

# of schedules here: Karras et al. 2022, arXiv 2206.00364, in data standard deviations
SIGMA_MAX, SIGMA_MIN = 160.0, 0.004


def default_levels(n_steps: int) -> Sigmas:
    """n_steps steps: Karras levels, then 0. A schedule that ended above 0 would leave noise, and not converge."""
    return (*karras(max(n_steps - 1, 1), SIGMA_MAX, SIGMA_MIN), 0.0) if n_steps > 1 else (SIGMA_MAX, 0.0)


def _pass_generator(
    function: Callable[..., Any], options: dict[str, Any], run: Callable[..., Tensor]
) -> SamplerFunction:
    """run(denoiser, n_steps, noise, options) as a sampler; with a generator if `function` takes one."""
    if "generator" in options or not takes_generator(function):
        return lambda denoiser, n_steps, noise: run(denoiser, n_steps, noise, options)

    def sampler(denoiser: Oracle, n_steps: int, noise: Tensor, generator: Any = None) -> Tensor:
        return run(denoiser, n_steps, noise, options | {"generator": generator})

    return sampler


def ours(sampler: Sampler, levels: Callable[[int], Sequence[float]] = default_levels) -> SamplerFunction:
    """A `Sampler` of this package on the schedule `levels(n_steps)`. ValueError if it follows no schedule."""
    if isinstance(sampler, DiffusersScheduler):
        return diffusers(sampler)
    if not sampler.follows_schedule:
        raise ValueError(f"{sampler.name}: it follows no schedule, so it has no number of steps to vary")

    def run(denoiser: Oracle, n_steps: int, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        def make_noise() -> Tensor:
            return torch.randn(noise.shape, dtype=noise.dtype, generator=generator)

        sigmas = tuple(levels(n_steps))
        *_, x = checked_steps(denoiser.eps, sampler, sigmas, noise * sigmas[0], make_noise)
        return x

    return run


def k_diffusion(function: Callable[..., Tensor], **options: Any) -> SamplerFunction:
    """k-diffusion's signature: x = function(model, x, sigmas, **options), where model(x, sigma) returns x0."""

    def run(denoiser: Oracle, n_steps: int, noise: Tensor, options: dict[str, Any]) -> Tensor:
        sigmas = torch.tensor(default_levels(n_steps), dtype=noise.dtype)
        return function(lambda x, sigma, **_: denoiser.denoised(x, sigma), noise * sigmas[0], sigmas, **options)

    return _pass_generator(function, options, run)


def smalldiffusion(schedule: Any, **options: Any) -> SamplerFunction:
    """smalldiffusion's `samples` on one of its schedules, with its options gam and mu."""
    samples = import_module("smalldiffusion").samples

    def run(denoiser: Oracle, n_steps: int, noise: Tensor) -> Tensor:
        sigmas = schedule.sample_sigmas(n_steps)
        model = SimpleNamespace(
            eval=lambda: None,
            rand_input=lambda n: torch.randn_like(noise),
            predict_eps_cfg=lambda x, sigma, *_: denoiser.eps(x, sigma),
        )
        *_, x = samples(model, sigmas, xt=noise * sigmas[0], accelerator=SimpleNamespace(device="cpu"), **options)
        return x

    return run


def flow_step(step: Callable[..., Tensor]) -> SamplerFunction:
    """A plain step of flow matching, x = step(x, t, dt, velocity), on n_steps equal steps of t (a tensor ()).

    x = (1 - t) x0 + t z, so that t falls from 1 to 0 and dt < 0.
    """

    def run(denoiser: Oracle, n_steps: int, noise: Tensor, options: dict[str, Any]) -> Tensor:
        x = noise
        for t, after in pairwise(torch.linspace(1, 0, n_steps + 1, dtype=noise.dtype)):
            x = step(x, t, after - t, denoiser.velocity(x, t), **options)
        return x

    return _pass_generator(step, {}, run)


def diffusers(scheduler: str | DiffusersScheduler, **options: Any) -> SamplerFunction:
    """A scheduler of diffusers with exact predictions, or the one of this name with options. Errors: as there."""
    sampler = (
        scheduler if isinstance(scheduler, DiffusersScheduler) else DiffusersScheduler(scheduler, sort_options(options))
    )

    def run(denoiser: Oracle, n_steps: int, noise: Tensor, options: dict[str, Any]) -> Tensor:
        prepared = sampler.prepare(n_steps)
        denoiser.follow(prepared, dict(sampler.options).get("mu"))
        *_, x = sampler.steps(prepared, denoiser, noise, **options)
        return x.to(noise.dtype)

    return _pass_generator(make_scheduler(sampler)[0].step, {}, run)
