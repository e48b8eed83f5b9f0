"""Noise schedules with even steps in the time of a process, and its constants: VP, cosine, discrete DDPM and flows.

These processes are defined on data in [-1, 1]: x_vp = sqrt(abar) x0 + sqrt(1 - abar) noise, with a noise level in units
of that data of sqrt(1 / abar - 1); a flow has (1 - t) x0 + t noise, with t / (1 - t). Here sigma is in data standard
deviations: that level divided by `data_std`, the standard deviation of the data in [-1, 1] (about 0.5 for CIFAR-10,
0.55 for padded MNIST). Every function raises ValueError for a constant outside its range.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from diffusion_core.schedules.sigma import MAX_STEPS, Sigmas, between, check_ends, check_schedule
from diffusion_core.validation import check_positive, check_range, check_share

DATA_STD = 0.5
N_TABLE = 1000
SIGNAL = 1e-3  # share of the image in the first level of a flow: sigma would be infinite at t = 1


def vp(
    n_steps: int,
    sigma_max: float = 30.0,
    sigma_min: float = 0.03,
    *,
    vp_beta_d: float = 19.9,
    vp_beta_min: float = 0.1,
    data_std: float = DATA_STD,
) -> Sigmas:
    """The VP schedule, even in time t of the SDE: sigma data_std = sqrt(exp(vp_beta_d t^2 / 2 + vp_beta_min t) - 1).

    Args:
        n_steps, sigma_max, sigma_min: as in `schedules.geometric`; t runs from t(sigma_max) to t(sigma_min).
        vp_beta_d, vp_beta_min: slope (above 0) and start (at least 0) of the linear rate beta(t), per unit of t; niche.
        data_std: usual, see the top of this file.

    Source: Song et al. 2021, arXiv 2011.13456, Eq. 32-33; in sigma: Karras et al. 2022, arXiv 2206.00364, Table 1.
    Note: also called `get_sigmas_vp` (k-diffusion), with data_std = 1. Do not confuse it with `ddpm`, which takes
        levels from the table of the discrete process.
    """
    check_vp(vp_beta_d, vp_beta_min, data_std)
    check_ends(sigma_max, sigma_min)
    start, end = (
        (math.sqrt(vp_beta_min**2 + 2 * vp_beta_d * math.log1p((sigma * data_std) ** 2)) - vp_beta_min) / vp_beta_d
        for sigma in (sigma_max, sigma_min)
    )

    def level(share: float) -> float:
        time = start + share * (end - start)
        return math.sqrt(math.expm1(vp_beta_d * time**2 / 2 + vp_beta_min * time)) / data_std

    return between(n_steps, sigma_max, sigma_min, level)


def cosine(
    n_steps: int,
    sigma_max: float = 30.0,
    sigma_min: float = 0.03,
    *,
    offset: float = 0.008,
    data_std: float = DATA_STD,
) -> Sigmas:
    """The cosine schedule, even in t: abar(t) = f(t) / f(0) with f(t) = cos(pi/2 (t + offset) / (1 + offset))^2.

    Args:
        n_steps, sigma_max, sigma_min: as in `schedules.geometric`; t runs from t(sigma_max) to t(sigma_min).
        offset: the paper's s, at least 0 and below 1; 0 is v-diffusion (Salimans & Ho 2022, arXiv 2202.00512).
        data_std: usual, see the top of this file.

    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, Eq. 17, whose discrete rate is clipped at 0.999.
    Note: diffusers' squaredcos_cap_v2 is the table of that rate, of which `timestep_spacing` takes entries.
    """
    check_share("offset", offset)
    check_positive("data_std", data_std)
    check_ends(sigma_max, sigma_min)
    first = math.pi / 2 * offset / (1 + offset)
    tangent = math.tan(first)

    def squared(angle: float) -> float:  # cos(first)^2 / cos(angle)^2 - 1, without cancellation near angle = first
        return (math.tan(angle) - tangent) * (math.tan(angle) + tangent) * math.cos(first) ** 2

    start, end = (
        math.atan(math.sqrt(((sigma * data_std) / math.cos(first)) ** 2 + tangent**2))
        for sigma in (sigma_max, sigma_min)
    )
    return between(
        n_steps, sigma_max, sigma_min, lambda share: math.sqrt(squared(start + share * (end - start))) / data_std
    )


def linear_betas(n: int, start: float, end: float) -> list[float]:
    """Variances per step of discrete DDPM, (n,). Source: Ho et al. 2020, arXiv 2006.11239, Section 4."""
    step = (end - start) / (n - 1)
    return [start + index * step for index in range(n)]


def scaled_linear_betas(n: int, start: float, end: float) -> list[float]:
    """Variances (n,) even in their square roots, of Stable Diffusion. Source: Rombach et al. 2022, 2112.10752, code."""
    return [root**2 for root in linear_betas(n, math.sqrt(start), math.sqrt(end))]


def cosine_betas(n: int, start: float = 0.0, end: float = 0.0) -> list[float]:
    """Variances (n,) of the cosine process; no ends to choose. Source: Nichol & Dhariwal 2021, 2102.09672, Eq. 17."""
    return _betas_of([math.cos(math.pi / 2 * (index / n + 0.008) / 1.008) ** 2 for index in range(n + 1)])


def sigmoid_betas(n: int) -> list[float]:
    """Variances (n,) of the sigmoid process, start -3, end 3. Source: Chen 2023, arXiv 2301.10972, Algorithm 1."""
    return _betas_of([math.tanh(1.5) - math.tanh((6 * index / n - 3) / 2) for index in range(n + 1)])


def _betas_of(abar: Sequence[float]) -> list[float]:
    """The variances per step of abar up to a factor, clipped at 0.999 as by Nichol & Dhariwal 2021."""
    return [min(1 - after / before, 0.999) for before, after in itertools.pairwise(abar)]


BETAS: Mapping[str, Callable[[int, float, float], list[float]]] = {  # by the name of diffusers' beta_schedule
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "squaredcos_cap_v2": cosine_betas,
}


@cache
def ddpm_table(
    n_table: int = N_TABLE, vp_beta_start: float = 1e-4, vp_beta_end: float = 0.02, data_std: float = DATA_STD
) -> Sigmas:
    """The n_table noise levels of discrete DDPM with linear variances: sqrt(1 / abar_t - 1) / data_std, increasing.

    Args:
        n_table: number of levels, at least 2.
        vp_beta_start, vp_beta_end: first and last variance per step, 0 < vp_beta_start <= vp_beta_end < 1.

    Source: Ho et al. 2020, arXiv 2006.11239, Section 4; abar is the product of 1 - beta_t. With data_std = 0.5 the ends
        are 0.02 and about 315.
    """
    check_range("n_table", n_table, 2, MAX_STEPS)
    check_positive("data_std", data_std)
    if not 0 < vp_beta_start <= vp_beta_end < 1:
        raise ValueError(f"vp_beta_start={vp_beta_start}: it must be above 0 and at most vp_beta_end={vp_beta_end} < 1")
    logs = itertools.accumulate(math.log1p(-beta) for beta in linear_betas(n_table, vp_beta_start, vp_beta_end))
    return tuple(math.sqrt(math.expm1(-log_abar)) / data_std for log_abar in logs)


Spacing = Callable[[int, int], list[int]]
Schedule = Callable[..., Sigmas]  # (n_steps, sigma_max, sigma_min, **options) -> schedule


def linspace(n_steps: int, n_table: int) -> list[int]:
    """n_steps + 1 decreasing indices, even from the last entry to the first, rounded (half to even)."""
    return [round((n_table - 1) * (1 - step / n_steps)) for step in range(n_steps + 1)]


def leading(n_steps: int, n_table: int) -> list[int]:
    """n_steps + 1 decreasing multiples of n_table // (n_steps + 1), down to 0. The first is below the last entry."""
    return [step * (n_table // (n_steps + 1)) for step in range(n_steps, -1, -1)]


def trailing(n_steps: int, n_table: int) -> list[int]:
    """n_steps decreasing indices from the last entry in even steps of n_table / n_steps, then 0."""
    return [round(n_table - step * n_table / n_steps) - 1 for step in range(n_steps)] + [0]


def ddpm(
    n_steps: int,
    *,
    spacing: Spacing = linspace,
    n_table: int = N_TABLE,
    vp_beta_start: float = 1e-4,
    vp_beta_end: float = 0.02,
    data_std: float = DATA_STD,
) -> Sigmas:
    """The DDPM schedule: n_steps + 1 levels of `ddpm_table`. The table sets the ends, not the caller.

    Args (ValueError if n_steps is out of range, or levels do not decrease strictly; errors of `ddpm_table`):
        n_steps: intervals, 1 to n_table - 1.
        spacing: which entries to take: `linspace`, `leading`, `trailing`, or a function of the same form. These three
            end at the first entry. `leading` starts below the last entry; Lin et al. show that this is a flaw.

    Source: Lin et al. 2024, arXiv 2305.08891, Table 2.
    Note: `diffusers` counts levels and then steps to 0. Its n inference steps visit the levels of `linspace` or
        `leading` with n_steps = n - 1. With trailing they visit the first n levels of n_steps = n.
    """
    table = ddpm_table(n_table, vp_beta_start, vp_beta_end, data_std)
    if not 1 <= n_steps < n_table:
        raise ValueError(f"n_steps={n_steps}: it must be between 1 and n_table - 1 = {n_table - 1}")
    sigmas = tuple(table[index] for index in spacing(n_steps, n_table))
    check_schedule(sigmas)
    return sigmas


def ddpm_with(spacing: Spacing) -> Schedule:
    """`ddpm` with a fixed spacing, as a `Schedule`. sigma_max and sigma_min are ignored: the table sets the ends."""

    def levels(n_steps: int, sigma_max: float, sigma_min: float, *, data_std: float = DATA_STD) -> Sigmas:
        return ddpm(n_steps, spacing=spacing, data_std=data_std)

    return levels


def flow(n_steps: int, sigma_max: float, sigma_min: float, *, shift: float = 1.0, data_std: float = DATA_STD) -> Sigmas:
    """The schedule of a flow's Euler loop, t = 1, 1 - 1/n, ..., 1/n with n = n_steps + 1; its last step, to 0, follows.

    sigma_max and sigma_min are ignored: n sets the ends. The first level has t = 0.999, since sigma is infinite at 1.

    Args:
        shift: s in t -> s t / (1 + (s - 1) t), above 0; above 1 it takes more steps at high noise. With diffusers'
            use_dynamic_shifting, s = exp(mu).

    Source: Esser et al. 2024, arXiv 2403.03206, Eq. 23; diffusers' FlowMatchEulerDiscreteScheduler.
    """
    check_positive("shift", shift)
    check_positive("data_std", data_std)
    even = [1 - step / (n_steps + 1) for step in range(1, n_steps + 1)]
    times = [1 - SIGNAL, *(shift * t / (1 + (shift - 1) * t) for t in even)]
    sigmas = tuple(t / (1 - t) / data_std for t in times)
    check_schedule(sigmas)
    return sigmas


def bong_tangent(n_steps: int, sigma_max: float, sigma_min: float, *, data_std: float = DATA_STD) -> Sigmas:
    """The schedule bong_tangent of a flow with n = n_steps + 1 evaluations; its last step, to 0, follows.

    Two pieces of one arctangent, a(k) = atan(8 (m - k) / (n + 2)) with m = floor(0.6 (n + 2)): a(0), ..., a(m - 1),
    scaled to t from 1 to 1/2, without its end; then a(m), ..., a(n + 1), scaled to t from 1/2 to 0. sigma_max and
    sigma_min are ignored. The first level has t = 0.999; if the second is above it, half way between that and 1.

    Source: `bong_tangent_scheduler` of RES4LYF for ComfyUI with its defaults; there is no paper.
    """
    check_positive("data_std", data_std)
    check_range("n_steps", n_steps, 1, MAX_STEPS)
    n = n_steps + 3
    meet = int(0.6 * n)
    angles = [math.atan(8 * (meet - k) / n) for k in range(n)]
    upper = [(1 + (a - angles[meet - 1]) / (angles[0] - angles[meet - 1])) / 2 for a in angles[1 : meet - 1]]
    times = upper + [(1 - a / angles[-1]) / 2 for a in angles[meet:-1]]  # angles[meet] is 0
    times = [max(1 - SIGNAL, (1 + times[0]) / 2), *times]
    sigmas = tuple(t / (1 - t) / data_std for t in times)
    check_schedule(sigmas)
    return sigmas


def check_vp(vp_beta_d: float, vp_beta_min: float, data_std: float) -> None:
    """Raises ValueError unless vp_beta_d > 0, vp_beta_min >= 0 and data_std > 0."""
    check_positive("vp_beta_d", vp_beta_d)
    check_range("vp_beta_min", vp_beta_min, 0)
    check_positive("data_std", data_std)


OWN_ENDS: dict[str, Schedule] = {  # first and last level come from a table or a process, not from the caller
    "flow": flow,
    "bong-tangent": bong_tangent,
    "ddpm-linspace": ddpm_with(linspace),
    "ddpm-leading": ddpm_with(leading),
    "ddpm-trailing": ddpm_with(trailing),
}
