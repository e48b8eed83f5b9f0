"""A setting as a loop of a few lines that needs only torch.

The code defines `sample(net, noise)`. It is checked before it is shown: see `export.py`. A sampler gives the lines of
one step as exports["torch"]. They take x from level `now` to level `after` with eps(x, i) at level i, noise(), and the
sampler's parameters in capitals, such as ETA. In a step of `Euler`, {eta} is the step's eta and {noise} its noise.
"""

import re
import textwrap

from experiments.export import network
from experiments.export.target import Target, as_list

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


def torch_loop(target: Target) -> str:
    """The code. Raises Unsupported if there is none for this sampler."""
    levels, settings, body = _loop(target)
    double = (
        ", dtype=torch.float64"
        if network.number_format(target) == "float64" and isinstance(target.times[0], float)
        else ""
    )
    time = f"torch.full((len(z),), TIMES[i], device=z.device{double})"
    return f'''\
# {target.title}
# Units: {target.units}
{network.header(target)}import math
import torch

{target.lists(levels)}
{settings}

@torch.no_grad()
def sample(net, noise{network.first(target)}):
    """{network.explained(target)}"""

    def eps(x, i):  # the unit noise in x
{_inputs(target)}
{network.call(target, time, "SIGMAS[i]")}
        return {PREDICTIONS[target.convention.predicts]}

    x = {target.start}
    for i, (now, after) in enumerate(zip(SIGMAS, SIGMAS[1:])):
{body}
    return x
{network.example(target)}'''


def _loop(target: Target) -> tuple[tuple[float, ...], str, str]:
    """The levels that the loop visits, the constants that it needs, and its body."""
    step = target.called("torch", f"no loop is written for {target.sampler.name}")
    up = target.path != target.levels
    factor = "S_NOISE * " if (up or target.etas) and target.s_noise != 1 else ""
    constants = f"S_NOISE = {target.s_noise!r}\n" if factor else ""
    if len(set(target.etas)) > 1:
        listed = f"ETAS = {as_list(target.etas)}  # of each step: 0 is DDIM, 1 is DDPM\n"
        return target.levels, listed + constants, _filled(step, "ETAS[i]", f"{factor}up * noise()")
    if target.etas:
        constants = f"ETA = {target.etas[0]!r}  # 0 is DDIM, 1 is DDPM\n{constants}"
        return target.levels, constants, _filled(step, "ETA", f"{factor}up * noise()")
    for name, value in ({"eta": 0.0} | vars(target.sampler)).items():  # without a field eta it puts no noise back
        if re.search(rf"\b{name.upper()}\b", step):
            constants += f"{name.upper()} = {value!r}\n"
    before = UP if up else ""
    return target.path, constants, _filled(before + step, "", f"{factor}math.sqrt(after**2 - now**2) * noise()")


def _filled(body: str, eta: str, noise: str) -> str:
    return textwrap.indent(body.replace("{eta}", eta).replace("{noise}", noise), " " * 8)


def _inputs(target: Target) -> str:
    """The lines that make z, what the network is given, and the factors s and n of image and noise in it, if needed."""
    process, predicts = target.convention.process, target.convention.predicts
    if (process, predicts) == ("edm", "eps"):
        return "        z = x"
    lines = [f"s = {SIGNAL[process]}", "z = s * x"]
    if predicts != "eps":
        lines.insert(1, "n = s * SIGMAS[i]")
    return "\n".join(f"        {line}" for line in lines)
