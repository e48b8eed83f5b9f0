"""A setting as a loop of a few lines: one that needs only torch, one over a scheduler of diffusers.

A sampler gives the lines of one step as exports["torch"]. They take x from level `now` to level `after` with eps(x, i)
at level i, noise(), and the sampler's parameters in capitals, such as ETA. In a step of `Euler`, {eta} is the step's
eta and {noise} its noise.
"""

import math
import re
import textwrap

from diffusion_core.adapters import TableTime
from experiments.export.target import ExportTarget, UnsupportedError, as_list

SIGNAL = {  # the factor of the clean image in what the network is given
    "vp": "1 / math.sqrt(1 + SIGMAS[i] ** 2)",
    "edm": "1.0",
    "flow": "1 / (1 + SIGMAS[i])",
}
PREDICTIONS = {  # the unit noise from what the network returns, as in diffusion_core/adapters/adapter.py
    "eps": "out",
    "x0": "(z - s * out) / n",
    "v": "(n * z + s * out) / (s * s + n * n)",
    "velocity": "(z + s * out) / (s + n)",
    "velocity to data": "(z - s * out) / (s + n)",
}
UP = """\
if after > now:  # noise is put back
    x = x + {noise}
    continue
"""
MULTISTEP = (
    ', algorithm_type="{algorithm}", solver_order=2, solver_type="midpoint",\n        lower_order_final=False, '
    'euler_at_final=False, final_sigmas_type="{last}", thresholding=False'
)


def torch_loop(target: ExportTarget) -> str:
    """The code that needs only torch: `sample(net, noise)`. UnsupportedError if there is none for this sampler."""
    levels, constants, body = _steps(target)
    convention = target.convention
    double = target.number_format == "float64" and isinstance(target.times(target.levels)[0], float)
    time = f"torch.full((len(z),), TIMES[i], device=z.device{', dtype=torch.float64' * double})"
    inputs = ["z = x"]  # what the network is given, and the factors s and n of image and noise in it, if needed
    if (convention.process, convention.predicts) != ("edm", "eps"):
        inputs = [f"s = {SIGNAL[convention.process]}", "z = s * x"]
        inputs[1:1] = ["n = s * SIGMAS[i]"] * (convention.predicts != "eps")
    return f'''\
{target.header}import math
import torch

{target.lists(levels)}
{constants}

@torch.no_grad()
def sample(net, noise{target.first}):
    """{target.explanation}"""

    def eps(x, i):  # the unit noise in x
{_indent(inputs)}
{target.call(time, "SIGMAS[i]")}
        return {PREDICTIONS[convention.predicts]}

    x = {target.start}
    for i, (now, after) in enumerate(zip(SIGMAS, SIGMAS[1:])):
{body}
    return x
{target.example()}'''


def _steps(target: ExportTarget) -> tuple[tuple[float, ...], str, str]:
    """The levels that the torch loop visits, the constants that it needs, and its body."""
    if "torch" not in target.sampler.exports:
        raise UnsupportedError(f"no loop is written for {target.sampler.name}")
    step, etas, s_noise = target.sampler.exports["torch"], target.etas, float(getattr(target.sampler, "s_noise", 1.0))
    up = target.path != target.levels
    factor = "S_NOISE * " if (up or etas) and s_noise != 1 else ""
    constants = f"S_NOISE = {s_noise!r}\n" if factor else ""
    if etas:
        each = len(set(etas)) > 1
        listed = f"ETAS = {as_list(etas)}  # of each step:" if each else f"ETA = {etas[0]!r}  #"
        step = step.replace("{eta}", "ETAS[i]" if each else "ETA").replace("{noise}", f"{factor}up * noise()")
        return target.levels, f"{listed} 0 is DDIM, 1 is DDPM\n{constants}", _indent([step])
    for name, value in ({"eta": 0.0} | vars(target.sampler)).items():  # without a field eta it puts no noise back
        if re.search(rf"\b{name.upper()}\b", step):
            constants += f"{name.upper()} = {value!r}\n"
    before = UP.replace("{noise}", f"{factor}math.sqrt(after**2 - now**2) * noise()") if up else ""
    return target.path, constants, _indent([before + step])


def _indent(lines: list[str]) -> str:
    return textwrap.indent("\n".join(lines), " " * 8)


def diffusers_loop(target: ExportTarget) -> str:
    """The code over a scheduler of diffusers, which gives the same images for the same noise.

    It is for a network with diffusers' conventions. Raises UnsupportedError for what diffusers cannot express.
    """
    convention, time, sampler = target.convention, target.convention.time, target.sampler
    name = sampler.exports.get("diffusers", "")
    table = convention.process == "vp" and isinstance(time, TableTime) and convention.predicts in ("eps", "v")
    for unsupported, why in (
        (not table, "diffusers' schedulers need a network with a table of times that predicts eps or v"),
        (
            table and getattr(time, "whole", False),
            "diffusers' schedulers need fractional times, but those of your network are rounded (whole=True)",
        ),
        (target.path != target.levels, "diffusers evaluates the network before it adds the churn"),
        (convention.interval != (0, math.inf), "diffusers' schedulers know no levels of guidance"),
        (not name, f"diffusers has no scheduler for {sampler.name} at given levels"),
    ):
        if unsupported:
            raise UnsupportedError(why + "; use the torch code" * table)
    heun, multistep = name == "HeunDiscreteScheduler", name == "DPMSolverMultistepScheduler"
    algorithm, last = "sde-dpmsolver++" if getattr(sampler, "eta", 0) else "dpmsolver++", "zero"
    kept, options, ladder = "", "", "sigmas, times"
    if not target.to_zero:
        last, kept, ladder = "sigma_min", "[:-1]", "sigmas, times[:-1]"
    if multistep:  # its x has unit variance
        options = MULTISTEP.replace("{algorithm}", algorithm).replace("{last}", last)
    before, after = (" / (1 + SIGMAS[0] ** 2) ** 0.5", " * (1 + SIGMAS[-1] ** 2) ** 0.5") if multistep else ("", "")
    if heun:  # each step has two evaluations, but a step to 0 has one
        twice, once = ("1:-1", ", sigmas[-1:]") if target.to_zero else ("1:", "")
        options = ", clip_sample=False"
        ladder = (
            f"torch.cat([sigmas[:1], sigmas[{twice}].repeat_interleave(2){once}]),\n"
            f"        torch.cat([times[:1], times[1:].repeat_interleave(2)]){kept},"
        )
    told = f"level.to(z.device{', torch.float64' * (target.number_format == 'float64')}).expand(len(z))"
    return f'''\
{target.header}import torch
from diffusers import {name}

{target.lists(target.levels)}


@torch.no_grad()
def sample(net, scheduler_config, noise, generator=None{target.first}):
    """{target.explanation.rstrip()}

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
{target.call(told)}
        x = scheduler.step(out, level, x{"" if heun else ", generator=generator"}).prev_sample
    return x{after}
{target.example("scheduler_config, ")}'''
