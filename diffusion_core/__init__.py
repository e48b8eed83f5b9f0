"""Sigmabench's method, and nothing else: no tables, no plots, no command line.

    noise/       which noise levels training draws: noise distributions, NOISE_DISTRIBUTIONS
    schedules/   which noise levels sampling visits: SCHEDULES
    samplers/    how sampling steps down a schedule, and how much fresh noise it puts back: SAMPLERS
    networks/    the denoisers that are trained here, and what their output means
    training.py  the training loop, a generator
    exact/       denoisers in closed form, as ground truth
    adapters/    other people's networks behind the model contract: vp, edm, flow
    data/        images, latents and points, by name or from files

The method is nine files, in the order in which README's Python example needs them; all others are variants of these,
data, and checks:

    networks/small.py             a network
    networks/parameterisations.py what its output means, as eps
    noise/sigma.py                noise levels to train on
    training.py                   the loss and the loop
    schedules/sigma.py            noise levels to sample on
    samplers/base.py              what a sampler is
    samplers/euler.py             a step, and how much fresh noise it puts back
    samplers/sampling.py          the loop over steps and batches
    samplers/seeded_noise.py      noise as a function of seed, sample and step

The model contract used everywhere: `eps = model(x, sigma)` with x float (B, C, H, W) and sigma float (B,) in standard
deviations of the data. eps has the shape of x and estimates the unit noise in x = x0 + sigma * noise. The estimate of
the clean images is `denoised = x - sigma * eps`. Any callable that keeps this contract can be sampled from.
"""

from typing import TYPE_CHECKING

from diffusion_core.registry import NOISE_DISTRIBUTIONS, SAMPLERS, lazy_exports

if TYPE_CHECKING:
    from diffusion_core import adapters
    from diffusion_core.data.load import load
    from diffusion_core.exact import GaussianDenoiser
    from diffusion_core.networks import build
    from diffusion_core.noise import LogNormal, LogUniform
    from diffusion_core.samplers import Euler, Heun, Sampler, generate_samples, sample
    from diffusion_core.schedules import SCHEDULES, geometric, karras
    from diffusion_core.training import train

__getattr__, __dir__ = lazy_exports("diffusion_core", {  # imported when they are asked for: most of them import torch
    "data.load": "load",
    "exact": "GaussianDenoiser",
    "networks": "build",
    "noise": "LogNormal LogUniform",
    "samplers": "Euler Heun Sampler generate_samples sample",
    "schedules": "SCHEDULES geometric karras",
    "training": "train",
})  # fmt: skip
