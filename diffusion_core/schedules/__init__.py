"""Noise schedules: rules that say which noise levels sampling visits. A schedule makes a ladder, its levels.

`sigma.py` has schedules given in sigma, `vp.py` those of variance-preserving processes. A new schedule is a function of
(n_steps, sigma_max, sigma_min) in one of them, or in a new file, and one line in `SCHEDULES`.
"""

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
from diffusion_core.schedules.vp import (
    Schedule,
    cosine,
    ddpm,
    ddpm_table,
    ddpm_with,
    leading,
    linspace,
    trailing,
    vp,
)

OWN_ENDS: dict[str, Schedule] = {  # whose first and last level come from a table
    "ddpm-linspace": ddpm_with(linspace),
    "ddpm-leading": ddpm_with(leading),
    "ddpm-trailing": ddpm_with(trailing),
}
SCHEDULES: dict[str, Schedule] = {
    "geometric": geometric,
    "karras": karras,
    "polyexponential": polyexponential,
    "linear": linear,
    "vp": vp,
    "cosine": cosine,
} | OWN_ENDS

__all__ = [
    "OWN_ENDS",
    "SCHEDULES",
    "Schedule",
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
