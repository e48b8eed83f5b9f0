"""A setting as a loop over a scheduler of diffusers, which gives the same images for the same noise."""

import math

from diffusion_core.adapters import TableTime
from experiments.export import network
from experiments.export.target import Target, Unsupported

PREDICTIONS = ("eps", "v")  # that all of diffusers' schedulers know
MULTISTEP = (
    ', algorithm_type="{algorithm}", solver_order=2, solver_type="midpoint",\n        lower_order_final=False, '
    'euler_at_final=False, final_sigmas_type="{last}", thresholding=False'
)
OPTIONS = {  # scheduler -> options that differ from the pipeline's
    "HeunDiscreteScheduler": ", clip_sample=False",
    "DPMSolverMultistepScheduler": MULTISTEP,
}


def diffusers_loop(target: Target) -> str:
    """The code, for a network with diffusers' conventions. Raises Unsupported for what diffusers cannot express."""
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
