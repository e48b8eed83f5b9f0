"""Noise schedules in sigma. Each returns levels sigma_0 > sigma_1 > ... > sigma_N, in data standard deviations.

A schedule is a tuple of Python floats: N + 1 levels for N steps.
"""

import itertools
import math
from collections.abc import Callable

from diffusion_core.validation import check_positive, check_range

MAX_STEPS = 100_000  # of a schedule, and of any sampler
Sigmas = tuple[float, ...]  # the levels of a schedule, which fall


def geometric(n_steps: int, sigma_max: float = 30.0, sigma_min: float = 0.03) -> Sigmas:
    """The geometric schedule: constant ratio r = (sigma_min / sigma_max)^(1/n_steps), with both ends exact.

    It has n_steps + 1 levels, n_steps >= 1, from sigma_max to sigma_min, sigma_max > sigma_min > 0; else ValueError.

    Note: also called exponential: `get_sigmas_exponential` (k-diffusion), use_exponential_sigmas (diffusers).
    """
    check_ends(sigma_max, sigma_min)
    check_n_steps(n_steps)
    log_max = math.log(sigma_max)
    log_ratio = math.log(sigma_min / sigma_max)
    inner = (math.exp(log_max + log_ratio * step / n_steps) for step in range(1, n_steps))
    return (sigma_max, *inner, sigma_min)


def karras(n_steps: int, sigma_max: float = 30.0, sigma_min: float = 0.03, *, rho: float = 7.0) -> Sigmas:
    """The Karras schedule: even steps in sigma^(1/rho). rho = 1 is linear in sigma, rho -> infinity is geometric.

    Arguments and errors as in `geometric`. Larger values of rho, above 0, put more levels near sigma_min.

    Source: Karras et al. 2022, arXiv 2206.00364, Eq. 5, divided by sigma_max inside so that no power overflows.
    Note: the paper appends sigma = 0 to N levels; here the N + 1 levels end at sigma_min. Also called
        `get_sigmas_karras` (k-diffusion) and use_karras_sigmas (diffusers, which takes the ends from its table). Few
        people change rho.
    """
    if not 0 < rho < math.inf:
        raise ValueError(f"rho={rho}: it must be above 0 and finite; for the limit of large rho use `geometric`")
    check_ends(sigma_max, sigma_min)
    end = (sigma_min / sigma_max) ** (1 / rho)
    return between(n_steps, sigma_max, sigma_min, lambda share: sigma_max * (1 + share * (end - 1)) ** rho)


def polyexponential(n_steps: int, sigma_max: float = 30.0, sigma_min: float = 0.03, *, rho: float = 1.0) -> Sigmas:
    """The polyexponential schedule: ln sigma = ln sigma_min + (1 - k/N)^rho ln(sigma_max / sigma_min).

    Arguments and errors as in `geometric`. rho, above 0: 1 is `geometric`, larger puts more levels near sigma_min.

    Source: Crowson, k-diffusion (2022), `get_sigmas_polyexponential`; there is no paper.
    """
    check_positive("rho", rho)
    check_ends(sigma_max, sigma_min)
    span = math.log(sigma_max / sigma_min)
    return between(n_steps, sigma_max, sigma_min, lambda share: sigma_min * math.exp((1 - share) ** rho * span))


def linear(n_steps: int, sigma_max: float = 30.0, sigma_min: float = 0.03) -> Sigmas:
    """The linear schedule: even steps in sigma. Arguments and errors as in `geometric`.

    Note: equals `karras` with rho = 1 (Karras et al. 2022, arXiv 2206.00364, Eq. 5). Do not confuse it with
        DDPM's linear betas, which are `ddpm`, or with steps even in time.
    """
    return between(n_steps, sigma_max, sigma_min, lambda share: sigma_max + share * (sigma_min - sigma_max))


def beta_quantiles(
    n_steps: int, sigma_max: float = 30.0, sigma_min: float = 0.03, *, a: float = 0.6, b: float = 0.6
) -> Sigmas:
    """The beta schedule: even steps in the probability of (sigma - sigma_min) / (sigma_max - sigma_min) ~ Beta(a, b).

    Arguments and errors as in `geometric`. a and b, above 0: smaller values put more levels near sigma_min (a) and
    near sigma_max (b). `beta57` has a = 0.5, b = 0.7.

    Source: Lee et al. 2024, arXiv 2407.12173 (a = b = 0.6); in sigma as diffusers' `use_beta_sigmas`. For beta57 there
        is no paper: RES4LYF for ComfyUI.
    Note: the paper and ComfyUI take these quantiles of a table of times; for a flow, times are sigma / (1 + sigma).
        Do not confuse it with the betas of DDPM, or with beta of fresh noise.
    """
    from scipy.special import betaincinv  # here, so that --help appears at once

    check_positive("a", a)
    check_positive("b", b)
    span = sigma_max - sigma_min
    return between(n_steps, sigma_max, sigma_min, lambda share: sigma_min + span * float(betaincinv(a, b, 1 - share)))


def between(n_steps: int, sigma_max: float, sigma_min: float, level: Callable[[float], float]) -> Sigmas:
    """The schedule with exact ends and inner levels `level(k / n_steps)`, k = 1, ..., n_steps - 1.

    Errors as in `geometric`, and ValueError if levels do not decrease strictly in float64.
    """
    check_ends(sigma_max, sigma_min)
    check_n_steps(n_steps)
    sigmas = (sigma_max, *(level(step / n_steps) for step in range(1, n_steps)), sigma_min)
    check_schedule(sigmas)
    return sigmas


def alpha_beta_ratio(alpha: float, beta: float) -> float:
    """r = sigma' / sigma = sqrt((1 - alpha)^2 + beta^2), the decay of sigma per step of the alpha/beta rule.

    ValueError for alpha outside (0, 1], beta < 0, or beta so large that sigma does not decay.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha={alpha}: it must be above 0 and at most 1")
    check_range("beta", beta, 0)
    bound = math.sqrt(1 - (1 - alpha) ** 2)
    if beta >= bound:
        raise ValueError(
            f"beta={beta}: with alpha={alpha} it must be below sqrt(1 - (1 - alpha)^2) = {bound:.5f}, "
            "else sigma never decreases and sampling never ends"
        )
    return math.hypot(1 - alpha, beta)


def alpha_beta_schedule(alpha: float, beta: float, sigma_max: float = 30.0, sigma_min: float = 0.03) -> Sigmas:
    """The schedule of the alpha/beta rule: sigma is multiplied by r until it is at or below sigma_min.

    So the last level may lie below sigma_min. With alpha = 1 and beta = 0 it would be 0; it is set to sigma_min then.
    30 -> 0.03 with alpha = 0.1 takes 66, 132 and 454 steps for beta = 0, 0.3 and 0.4.

    Errors as in `alpha_beta_ratio`, and ValueError for ends that do not decrease, or more than 100,000 steps.
    """
    check_ends(sigma_max, sigma_min)
    ratio = alpha_beta_ratio(alpha, beta)
    if ratio == 0:
        return (sigma_max, sigma_min)
    n_steps = math.log(sigma_max / sigma_min) / -math.log(ratio)
    if n_steps > MAX_STEPS:
        raise ValueError(
            f"beta={beta}: with alpha={alpha} sigma decays by {ratio:.7f} a step, about {n_steps:.0f} steps, "
            f"which is above {MAX_STEPS}"
        )
    sigmas = [sigma_max]
    while sigmas[-1] > sigma_min:
        sigmas.append(sigmas[-1] * ratio)
    return tuple(sigmas)


def check_ends(sigma_max: float, sigma_min: float) -> None:
    """Raises ValueError unless infinity > sigma_max > sigma_min > 0."""
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"sigma_min={sigma_min}: it must be above 0 and below sigma_max={sigma_max}")


def check_n_steps(n_steps: int) -> None:
    """Raises ValueError unless 1 <= n_steps <= 100,000."""
    check_range("n_steps", n_steps, 1, MAX_STEPS)


def check_schedule(sigmas: Sigmas) -> None:
    """Raises ValueError unless sigmas has two levels or more, decreases strictly, and ends at 0 or above."""
    if len(sigmas) < 2:
        raise ValueError(f"sigmas={sigmas}: a schedule needs at least two levels")
    for step, (before, after) in enumerate(itertools.pairwise(sigmas)):
        if not math.inf > before > after >= 0:
            raise ValueError(
                f"sigmas: level {step} is {before} and level {step + 1} is {after}; levels must be finite, "
                "at least 0, and decrease strictly"
            )
