"""Noise schedules: rules for the noise levels that sampling visits. A schedule returns a ladder: the levels themselves.

`sigma.py` has schedules defined in sigma, `process_time.py` those with even steps in the time of a process. To add a
schedule, write a function of (n_steps, sigma_max, sigma_min) in one of these files or in a new one, and add its import
and one line to `SCHEDULES`.
"""

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
