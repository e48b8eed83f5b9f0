"""Noise levels to visit: `sigma.py` has schedules given in sigma, `vp.py` those of variance-preserving processes."""

from diffusion_core.schedules.sigma import (
    alpha_beta_ladder,
    alpha_beta_ratio,
    between,
    check_ends,
    check_ladder,
    geometric,
    karras,
    linear,
    polyexponential,
)
from diffusion_core.schedules.vp import cosine, ddpm, ddpm_table, vp

__all__ = [
    "alpha_beta_ladder",
    "alpha_beta_ratio",
    "between",
    "check_ends",
    "check_ladder",
    "cosine",
    "ddpm",
    "ddpm_table",
    "geometric",
    "karras",
    "linear",
    "polyexponential",
    "vp",
]
