"""Ways down a ladder: one file per family, and `sampling.py`, which runs them on a model."""

from diffusion_core.samplers.churn import Churn, EulerChurn, Heun
from diffusion_core.samplers.corrected import EulerCorrected
from diffusion_core.samplers.euler import Euler, EulerWithin, Sampler
from diffusion_core.samplers.kadkhodaie_simoncelli import KadkhodaieSimoncelli
from diffusion_core.samplers.multistep import Accelerated, DPMpp2M, DPMpp2MSDE
from diffusion_core.samplers.restart import Interval, Restart
from diffusion_core.samplers.sampling import Model, generate_samples, sample

__all__ = [
    "Accelerated",
    "Churn",
    "DPMpp2M",
    "DPMpp2MSDE",
    "Euler",
    "EulerChurn",
    "EulerCorrected",
    "EulerWithin",
    "Heun",
    "Interval",
    "KadkhodaieSimoncelli",
    "Model",
    "Restart",
    "Sampler",
    "generate_samples",
    "sample",
]
