"""Noise distributions: which noise levels training draws. On the command line they are called laws.

`sigma.py` has those given by a density of sigma, `process_time.py` those uniform in the time of a process. A new one is
a dataclass in one of them, or in a new file, and one line in `NOISE_DISTRIBUTIONS`.
"""

from collections.abc import Callable

from diffusion_core.noise.process_time import DDPM, VP, Cosine, CosineInterpolated
from diffusion_core.noise.sigma import (
    LogLogistic,
    LogNormal,
    LogUniform,
    NoiseDistribution,
    SplitLogNormal,
    Uniform,
    logit_normal,
)

NOISE_DISTRIBUTIONS: dict[str, Callable[..., NoiseDistribution]] = {
    "log-normal": LogNormal,
    "log-uniform": LogUniform,
    "uniform": Uniform,
    "log-logistic": LogLogistic,
    "split-log-normal": SplitLogNormal,
    "logit-normal": logit_normal,
    "cosine": Cosine,
    "cosine-interpolated": CosineInterpolated,
    "vp": VP,
    "ddpm": DDPM,
}

__all__ = [
    "DDPM",
    "NOISE_DISTRIBUTIONS",
    "VP",
    "Cosine",
    "CosineInterpolated",
    "LogLogistic",
    "LogNormal",
    "LogUniform",
    "NoiseDistribution",
    "SplitLogNormal",
    "Uniform",
    "logit_normal",
]
