"""Noise schedules: rules for the noise levels that sampling visits. A schedule returns a ladder: the levels themselves.

`sigma.py` has schedules defined in sigma, `vp.py` those of variance-preserving processes, `flow.py` that of flows. To
add a schedule, write a function of (n_steps, sigma_max, sigma_min) in one of these files or in a new one, and add one
line to `SCHEDULES`.
"""

from diffusion_core.schedules.flow import flow
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

OWN_ENDS: dict[str, Schedule] = {  # first and last level come from a table or a process, not from the caller
    "flow": flow,
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
    "flow",
    "geometric",
    "karras",
    "linear",
    "polyexponential",
    "vp",
]
