"""A setting as a loop of a few lines that needs only torch.

The code defines `sample(net, noise)`. It is checked before it is shown: see `export.py`.
"""

from experiments.export import network
from experiments.export.target import Target, Unsupported, as_list

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
EULER = """\
        up = {eta} * after * math.sqrt(1 - (after / now) ** 2)  # standard deviation of the fresh noise
        x = x + (math.sqrt(max(after**2 - up**2, 0.0)) - now) * eps(x, i)
        if up > 0:
            x = x + {noise}"""
UP = """\
        if after > now:  # noise is put back
            x = x + {noise}
            continue
"""
EULER_STEP = "        x = x + (after - now) * eps(x, i)"
HEUN_STEP = """\
        slope = eps(x, i)
        x = x + (after - now) / 2 * (slope + eps(x + (after - now) * slope, i + 1))"""
HEUN_TO_ZERO = """\
        slope = eps(x, i)
        last = after == 0  # an Euler step
        x = x + (after - now) / 2 * (slope + (slope if last else eps(x + (after - now) * slope, i + 1)))"""
MULTISTEP = """\
        denoised = x - now * eps(x, i)
        if after == 0:
            return denoised
        keep, log_ratio = (after / now) ** (1 + ETA), math.log(after / now)
        ahead = 0.0 if i == 0 else log_ratio / (2 * before[1]) * (denoised - before[0])
        x = keep * x + (1 - keep) * (denoised + ahead)
        if ETA > 0:
            x = x + after * math.sqrt(1 - (after / now) ** (2 * ETA)) * noise()
        before = denoised, log_ratio"""


def torch_loop(target: Target) -> str:
    """The code. Lu et al. 2022 (arXiv 2211.01095) for dpm++2m.

    Raises:
        Unsupported: there is none for this sampler.
    """
    levels, settings, body = _loop(target)
    double = ", dtype=torch.float64" if network.double(target) and isinstance(target.times[0], float) else ""
    time = f"torch.full((len(z),), TIMES[i], device=z.device{double})"
    return f'''\
# {target.title}
# Units: {target.units}
{network.header(target)}import math
import torch

{target.lists(levels)}
{settings}

@torch.no_grad()
def sample(net, noise{network.signature(target)}):
    """{network.explained(target)}"""

    def eps(x, i):  # the unit noise in x
{_inputs(target)}
{network.call(target, time)}
        return {PREDICTIONS[target.predicts]}

    x = {target.start}
    for i, (now, after) in enumerate(zip(SIGMAS, SIGMAS[1:])):
{body}
    return x
{network.example(target)}'''


def _loop(target: Target) -> tuple[tuple[float, ...], str, str]:
    """The levels that the loop visits, the constants that it needs, and its body."""
    label, more = target.sampler.label, f"S_NOISE = {target.s_noise!r}\n" if target.s_noise != 1 else ""
    factor = "S_NOISE * " if more else ""
    if target.etas:
        etas, noise = target.etas, f"{factor}up * noise()"
        if len(set(etas)) == 1:
            return target.levels, f"ETA = {etas[0]!r}  # 0 is DDIM, 1 is DDPM\n{more}", _filled(EULER, "ETA", noise)
        listed = f"ETAS = {as_list(etas)}  # of each step: 0 is DDIM, 1 is DDPM\n"
        return target.levels, listed + more, _filled(EULER, "ETAS[i]", noise)
    if label in ("euler-churn", "heun", "restart"):
        heun = HEUN_TO_ZERO if target.to_zero else HEUN_STEP
        up = UP if target.path != target.levels else ""
        noise = f"{factor}math.sqrt(after**2 - now**2) * noise()"
        step = EULER_STEP if label == "euler-churn" else heun
        return target.path, more if up else "", _filled(up, "", noise) + step
    if label in ("dpm++2m", "dpm++2m-sde"):
        eta = float(getattr(target.sampler, "eta", 0.0))
        return target.levels, f"ETA = {eta!r}  # 0 is DPM-Solver++(2M), 1 is its SDE form\n", MULTISTEP
    raise Unsupported(f"no loop is written for {target.sampler.name}")


def _filled(body: str, eta: str, noise: str) -> str:
    return body.replace("{eta}", eta).replace("{noise}", noise)


def _inputs(target: Target) -> str:
    """The lines that make z, what the network is given, and the factors s and n of image and noise in it, if needed."""
    if (target.process, target.predicts) == ("edm", "eps"):
        return "        z = x"
    lines = [f"s = {SIGNAL[target.process]}", "z = s * x"]
    if target.predicts != "eps":
        lines.insert(1, "n = s * SIGMAS[i]")
    return "\n".join(f"        {line}" for line in lines)
