"""A setting as a loop of a few lines that needs only torch.

The code defines `sample(net, noise)`. It is checked before it is shown: see `export.py`.
"""

from experiments.export.target import Target

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
        up = ETA * after * math.sqrt(1 - (after / now) ** 2)  # standard deviation of the fresh noise
        x = x + (math.sqrt(max(after**2 - up**2, 0.0)) - now) * eps(x, i)
        if up > 0:
            x = x + up * noise()"""
STEPS = {  # label of the sampler -> the body of the loop
    "euler": EULER,
    "heun": """\
        slope = eps(x, i)
        x = x + (after - now) / 2 * (slope + eps(x + (after - now) * slope, i + 1))""",
    "dpm++2m": """\
        denoised = x - now * eps(x, i)
        h = math.log(now / after)
        ahead = denoised if i == 0 else denoised + h / (2 * h_before) * (denoised - before)
        x = after / now * x + (1 - after / now) * ahead
        before, h_before = denoised, h""",
}


def torch_loop(target: Target) -> str | None:
    """The code; None if there is none for this sampler. Lu et al. 2022 (arXiv 2211.01095) for dpm++2m."""
    body = step(target)
    if body is None:
        return None
    eta = f"ETA = {getattr(target.sampler, 'eta')!r}  # 0 is DDIM, 1 is DDPM\n" if "ETA" in body else ""  # noqa: B009
    return f'''\
# {target.title}
# Units: {target.units}
import math
import torch

{target.lists}
{eta}

@torch.no_grad()
def sample(net, noise):
    """net(z, time) is your network; noise() draws unit noise, for instance torch.randn(16, 1, 32, 32)."""

    def eps(x, i):  # the unit noise in x
{_inputs(target)}
        out = net(z, torch.full((len(z),), TIMES[i], device=z.device))[:, : z.shape[1]].to(x.dtype)
        return {PREDICTIONS[target.predicts]}

    x = {target.start}
    for i, (now, after) in enumerate(zip(SIGMAS, SIGMAS[1:])):
{body}
    return x
'''


def _inputs(target: Target) -> str:
    """The lines that make z, what the network is given, and the factors s and n of image and noise in it, if needed."""
    if (target.process, target.predicts) == ("edm", "eps"):
        return "        z = x"
    lines = [f"s = {SIGNAL[target.process]}", "z = s * x"]
    if target.predicts != "eps":
        lines.insert(1, "n = s * SIGMAS[i]")
    return "\n".join(f"        {line}" for line in lines)


def step(target: Target) -> str | None:
    """The body of the loop. Heun only without churn."""
    if getattr(target.sampler, "s_churn", 0.0) > 0:
        return None
    return STEPS.get(target.sampler.label)
