"""Noise schedules: rules for the noise levels that sampling visits. Each returns these levels."""

from functools import partial

from diffusion_core.schedules.process_time import OWN_ENDS, Schedule, cosine, ddpm, ddpm_table, flow, vp
from diffusion_core.schedules.sigma import (
    alpha_beta_schedule,
    beta_quantiles,
    check_schedule,
    geometric,
    karras,
    linear,
    polyexponential,
)

SCHEDULES: dict[str, Schedule] = {
    "geometric": geometric,
    "karras": karras,
    "polyexponential": polyexponential,
    "linear": linear,
    "beta": beta_quantiles,
    "beta57": partial(beta_quantiles, a=0.5, b=0.7),
    "vp": vp,
    "cosine": cosine,
    **OWN_ENDS,
}
