"""Noise distributions: which noise levels training draws."""

from diffusion_core.noise.process_time import DDPM, VP, BetaTimes, Cosine, CosineInterpolated
from diffusion_core.noise.sigma import (
    Laplace,
    LogLogistic,
    LogNormal,
    LogUniform,
    NoiseDistribution,
    SplitLogNormal,
    Uniform,
    logit_normal,
)
from diffusion_core.registry import NOISE_DISTRIBUTIONS
