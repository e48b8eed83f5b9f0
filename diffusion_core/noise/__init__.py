"""Noise distributions: which noise levels training draws. On the command line they are called laws.

`sigma.py` has distributions given by a density of sigma. `process_time.py` has distributions that are uniform in the
time of a process. To add a distribution, write a dataclass in one of these files or in a new one, and add one line to
`NOISE_DISTRIBUTIONS` of `registry.py`.
"""

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
from diffusion_core.registry import NOISE_DISTRIBUTIONS
