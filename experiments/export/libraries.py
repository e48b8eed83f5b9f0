"""A setting for other libraries: diffusers and k-diffusion. Each gives the same images for the same noise.

Each function raises `Unsupported`, with the reason, for a setting that its library cannot express.
"""

import math

from diffusion_core.adapters import TableTime
from experiments.export import network
from experiments.export.target import Target, Unsupported, as_list

PREDICTIONS = ("eps", "v")  # that all of diffusers' schedulers know
MULTISTEP = (
    ', algorithm_type="{algorithm}", solver_order=2, solver_type="midpoint",\n        lower_order_final=False, '
    'euler_at_final=False, final_sigmas_type="{last}", thresholding=False'
)
OPTIONS = {  # scheduler -> options that differ from the pipeline's
    "HeunDiscreteScheduler": ", clip_sample=False",
    "DPMSolverMultistepScheduler": MULTISTEP,
}


def k_diffusion(target: Target) -> str:
    """Code for k-diffusion. A ladder may end above 0, which k-diffusion allows."""
    if target.etas:
        steps = [_k_euler(eta, levels, target.s_noise) for eta, levels in target.parts]
    else:
        steps = [(target.called("k-diffusion"), target.sigmas, _k_options(target))]
    calls = "\n".join(
        f"    x = sampling.{function}(denoiser, x, torch.tensor({_slice(target, levels)}, device=x.device){keywords})"
        for function, levels, keywords in steps
    )
    left = "Write what is left to you into it. " if network.facts(target) else ""
    return f'''\
# {target.title}
# Units: {target.units}
{network.left_to_user(target)}import torch
from k_diffusion import sampling

SIGMAS = {as_list(target.sigmas)}


def sample(denoiser, noise):
    """denoiser(x, sigma) returns the clean image, as k-diffusion's wrappers do.

    {left}noise() draws unit noise: torch.randn(16, {network.size(target)}) for 16 images.
    """
    x = {target.start}
{calls}
    return x
'''


def _k_euler(eta: float, levels: tuple[float, ...], s_noise: float) -> tuple[str, tuple[float, ...], str]:
    if eta == 0:
        return "sample_euler", levels, ""
    factor = f", s_noise={s_noise!r}" if s_noise != 1 else ""
    return "sample_euler_ancestral", levels, f", eta={eta!r}{factor}, noise_sampler=lambda *_: noise()"


def _k_options(target: Target) -> str:
    """Further arguments, as Python.

    k-diffusion takes a step to 0 for one of the steps. Ours adds no churn before a step to 0, so s_tmin keeps it out.
    """
    values, n_steps = vars(target.sampler), len(target.ladder) - 1
    if values.get("s_churn"):
        low = math.sqrt(target.ladder[-1] * target.ladder[-2]) if target.to_zero else 0.0
        options = {
            "s_churn": values["s_churn"] * (n_steps + target.to_zero) / n_steps,
            "s_tmin": target.scale * max(values["s_min"], low),
            "s_tmax": target.scale * values["s_max"],
            "s_noise": values["s_noise"],
        }
        return "".join(f", {name}={value!r}" for name, value in options.items()).replace("=inf", '=float("inf")')
    return f", eta={values['eta']!r}, noise_sampler=lambda *_: noise()" if "eta" in values else ""


def _slice(target: Target, levels: tuple[float, ...]) -> str:
    """Where a stretch of levels lies in the list SIGMAS, as Python."""
    if len(levels) == len(target.sigmas):
        return "SIGMAS"
    first, last = (target.sigmas.index(levels[end]) for end in (0, -1))
    return f"SIGMAS[{first}:{last + 1}]"


def diffusers(target: Target) -> str:
    """Code for a network with diffusers' conventions."""
    own, time = target.convention, target.convention.time
    if own.process != "vp" or not isinstance(time, TableTime) or own.predicts not in PREDICTIONS:
        raise Unsupported("diffusers' schedulers need a network with a table of times that predicts eps or v")
    if time.whole:
        raise Unsupported(
            "diffusers' schedulers need fractional times, but those of your network are rounded (whole=True); use the "
            "torch code"
        )
    if target.path != target.levels:
        raise Unsupported("diffusers evaluates the network before it adds the churn; use the torch code")
    if own.interval != (0, math.inf):
        raise Unsupported("diffusers' schedulers know no levels of guidance; use the torch code")
    name = target.called(
        "diffusers", f"diffusers has no scheduler for {target.sampler.name} at given levels; use the torch code"
    )
    algorithm = "sde-dpmsolver++" if "eta" in vars(target.sampler) else "dpmsolver++"
    ending = "zero" if target.to_zero else "sigma_min"
    options = OPTIONS.get(name, "").replace("{algorithm}", algorithm).replace("{last}", ending)
    heun = name == "HeunDiscreteScheduler"
    scaled = name == "DPMSolverMultistepScheduler"  # its x has unit variance
    before, after = (" / (1 + SIGMAS[0] ** 2) ** 0.5", " * (1 + SIGMAS[-1] ** 2) ** 0.5") if scaled else ("", "")
    last = "" if target.to_zero else "[:-1]"
    ladder = f"sigmas, times{last}"
    if heun:  # each step has two evaluations, but a step to 0 has one
        twice, once = ("1:-1", ", sigmas[-1:]") if target.to_zero else ("1:", "")
        ladder = (
            f"torch.cat([sigmas[:1], sigmas[{twice}].repeat_interleave(2){once}]),\n"
            f"        torch.cat([times[:1], times[1:].repeat_interleave(2)]){last},"
        )
    told = f"level.to(z.device{', torch.float64' * (network.number_format(target) == 'float64')}).expand(len(z))"
    return f'''\
# {target.title}
# Units: {target.units}
{network.header(target)}import torch
from diffusers import {name}

{target.lists(target.levels)}


@torch.no_grad()
def sample(net, scheduler_config, noise, generator=None{network.first(target)}):
    """{network.explained(target).rstrip()}

    scheduler_config is that of your pipeline.
    """
    scheduler = {name}.from_config(
        scheduler_config{options}
    )
    scheduler.set_timesteps(len(SIGMAS) - 1)
    scheduler.set_begin_index(0)
    sigmas, times = torch.tensor(SIGMAS), torch.tensor(TIMES)
    scheduler.sigmas, scheduler.timesteps = (
        {ladder}
    )
    x = ({target.start}){before}
    for level in scheduler.timesteps:
        z = scheduler.scale_model_input(x, level)
{network.call(target, told)}
        x = scheduler.step(out, level, x{"" if heun else ", generator=generator"}).prev_sample
    return x{after}
{network.example(target, "scheduler_config, ")}'''
