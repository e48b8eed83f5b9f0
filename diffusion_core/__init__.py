"""Sigmabench's method, and nothing else: no tables, no plots, no command line.

    noise/       which noise levels training draws: noise distributions, NOISE_DISTRIBUTIONS
    schedules/   which noise levels sampling visits: a schedule makes a ladder, SCHEDULES
    samplers/    how sampling steps down a ladder, and how much fresh noise it puts back: SAMPLERS
    networks/    the denoisers that are trained here, and what their output means
    training.py  the training loop, a generator
    exact/       denoisers in closed form, as ground truth
    adapters/    other people's networks behind the model contract: vp, edm, flow
    data.py      images and their standardisation

The model contract used everywhere: `eps = model(x, sigma)` with x float (B, C, H, W) and sigma float (B,) in standard
deviations of the data. eps has the shape of x and estimates the unit noise in x = x0 + sigma * noise. The estimate of
the clean images is `denoised = x - sigma * eps`. Any callable that keeps this contract can be sampled from.
"""

from diffusion_core import adapters
from diffusion_core.data import load
from diffusion_core.exact import GaussianDenoiser
from diffusion_core.networks import build
from diffusion_core.noise import NOISE_DISTRIBUTIONS, LogNormal, LogUniform
from diffusion_core.samplers import SAMPLERS, Euler, Heun, generate_samples, sample
from diffusion_core.schedules import SCHEDULES, geometric, karras
from diffusion_core.training import train

__all__ = [
    "NOISE_DISTRIBUTIONS",
    "SAMPLERS",
    "SCHEDULES",
    "Euler",
    "GaussianDenoiser",
    "Heun",
    "LogNormal",
    "LogUniform",
    "adapters",
    "build",
    "generate_samples",
    "geometric",
    "karras",
    "load",
    "sample",
    "train",
]
