"""Noise schedules: rules for the noise levels that sampling visits. A schedule returns a ladder: these levels."""

from diffusion_core.schedules.process_time import OWN_ENDS, Schedule, cosine, ddpm, ddpm_table, flow, vp
from diffusion_core.schedules.sigma import alpha_beta_ladder, check_ladder, geometric, karras, linear, polyexponential

SCHEDULES: dict[str, Schedule] = {
    "geometric": geometric,
    "karras": karras,
    "polyexponential": polyexponential,
    "linear": linear,
    "vp": vp,
    "cosine": cosine,
} | OWN_ENDS
