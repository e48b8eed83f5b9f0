"""Training noise distributions: `sigma.py` has those given in sigma, `process_time.py` those uniform in a time."""

from diffusion_core.noise.process_time import DDPM, VP, Cosine, CosineInterpolated
from diffusion_core.noise.sigma import (
    LogLogistic,
    LogNormal,
    LogUniform,
    NoiseLaw,
    SplitLogNormal,
    Uniform,
    logit_normal,
)

__all__ = [
    "DDPM",
    "VP",
    "Cosine",
    "CosineInterpolated",
    "LogLogistic",
    "LogNormal",
    "LogUniform",
    "NoiseLaw",
    "SplitLogNormal",
    "Uniform",
    "logit_normal",
]
