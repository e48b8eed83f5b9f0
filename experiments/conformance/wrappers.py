"""Samplers of other signatures as `samples = sampler(denoiser, n_steps, noise)`."""

import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
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


def diffusers(scheduler: Any, **options: Any) -> SamplerFunction:
    """A scheduler of diffusers with exact predictions. It starts from pure noise, as pipelines do.

    Args:
        scheduler: the class, or its name.
        options: of its constructor, of `set_timesteps`, or of `step`, such as eta; by their names.

    Raises:
        ValueError: there is no such scheduler or option.
    """
    scheduler_class: Any = (
        getattr(import_module("diffusers"), scheduler, None) if isinstance(scheduler, str) else scheduler
    )
    if not hasattr(scheduler_class, "set_timesteps"):
        raise ValueError(f"diffusers:{scheduler}: there is no such scheduler")
    accepted = [
        inspect.signature(method).parameters
        for method in (scheduler_class.__init__, scheduler_class.set_timesteps, scheduler_class.step)
    ]
    if unknown := sorted(name for name in options if not any(name in names for names in accepted)):
        raise ValueError(f"diffusers:{scheduler_class.__name__}: {unknown[0]}: it has no such option")
    init, times, step = ({n: v for n, v in options.items() if n in names} for names in accepted)
    times = {name: value for name, value in times.items() if name not in init}
    step = {name: value for name, value in step.items() if name not in init | times}

    made = cache(lambda: scheduler_class(**init))  # making one may take longer than its steps

    def run(denoiser: Oracle, n_steps: int, noise: Tensor, step: dict[str, Any]) -> Tensor:
        scheduler = deepcopy(made())
        scheduler.set_timesteps(n_steps, **times)
        denoiser.follow(scheduler, times.get("mu"))
        predict = _prediction(scheduler)
        x = noise * float(getattr(scheduler, "init_noise_sigma", 1.0))
        for t in scheduler.timesteps:
            asked = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            x = scheduler.step(predict(denoiser, asked, float(t)), t, x, return_dict=False, **step)[0]
        return x.to(noise.dtype)

    return _pass_generator(scheduler_class.step, step, run)


def _prediction(scheduler: Any) -> Callable[[Oracle, Tensor, float], Tensor]:
    """Makes the function that answers as a network would at a time t: it knows nothing of the scheduler but t."""
    config = scheduler.config
    name = type(scheduler).__name__
    unknown = ValueError(
        f"what the network of {name} receives or predicts is unknown here; to check it, write a function "
        "sampler(denoiser, n_steps, noise) that loops over its timesteps as `run` of `diffusers` in "
        "experiments/conformance/wrappers.py does, with the right method of the denoiser"
    )
    if "sigma_data" in config:  # EDM: the input is c_in x, t = ln(sigma) / 4, the output is F; -F if it is called v
        if name not in ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"):
            raise unknown
        sign = -1 if config.prediction_type == "v_prediction" else 1

        def edm(denoiser: Oracle, x: Tensor, t: float) -> Tensor:
            sigma = torch.tensor(4 * t).exp()
            data = config.sigma_data
            x = x * (sigma**2 + data**2).sqrt()
            x0 = denoiser.denoised(x, sigma)
            return sign * (x0 - x * data**2 / (sigma**2 + data**2)) * (sigma**2 + data**2).sqrt() / (sigma * data)

        return edm
    predicts = config.get("prediction_type", "flow_prediction" if "shift" in config else None)
    if predicts == "flow_prediction" or name.startswith("LTX"):
        return lambda denoiser, x, t: denoiser.velocity(x, t / config.num_train_timesteps)
    outputs = {"epsilon": "eps", "sample": "denoised", "v_prediction": "v"}
    if predicts not in outputs or not hasattr(scheduler, "alphas_cumprod"):
        raise unknown
    continuous = predicts == "v_prediction" and config.get("timestep_type") == "continuous"
    abar = scheduler.alphas_cumprod.double()
    log_sigmas = ((1 - abar) / abar).log() / 2

    def abar_at(t: float) -> Tensor:
        if continuous:  # t = ln(sigma) / 4
            return torch.tensor(-8 * t, dtype=torch.float64).sigmoid()
        low, share = divmod(min(max(t, 0.0), len(abar) - 1.0), 1)
        if share > 0:  # between two times, ln sigma is linear, as in the schedulers with such times
            return torch.lerp(log_sigmas[int(low)], log_sigmas[int(low) + 1], share).mul(-2).sigmoid()
        return abar[int(low)]

    def vp(denoiser: Oracle, x: Tensor, t: float) -> Tensor:
        level = abar_at(t)
        return getattr(denoiser, outputs[predicts])(x, (1 - level).sqrt(), level.sqrt())

    return vp
