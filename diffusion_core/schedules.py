"""Ladders: which noise levels sampling visits, sigma_0 > sigma_1 > ... > sigma_N, in data standard deviations.

A ladder is a tuple of Python floats, N + 1 levels for N steps. A new ladder is a new function here.
"""

import math

MOST_STEPS = 100_000


def geometric(n_steps: int, sigma_max: float = 30.0, sigma_min: float = 0.03) -> tuple[float, ...]:
    """The ladder of constant ratio r = (sigma_min / sigma_max)^(1/n_steps), with both ends exact.

    Args:
        n_steps: intervals, at least 1.
        sigma_max, sigma_min: first and last level, sigma_max > sigma_min > 0.

    Returns:
        n_steps + 1 levels.

    Raises:
        ValueError: n_steps < 1, or ends that do not decrease.
    """
    check_ends(sigma_max, sigma_min)
    if not 1 <= n_steps <= MOST_STEPS:
        raise ValueError(f"n_steps={n_steps}: it must be between 1 and {MOST_STEPS}")
    log_max, log_ratio = math.log(sigma_max), math.log(sigma_min / sigma_max)
    inner = (math.exp(log_max + log_ratio * step / n_steps) for step in range(1, n_steps))
    return (sigma_max, *inner, sigma_min)


def alpha_beta_ratio(alpha: float, beta: float) -> float:
    """r = sigma' / sigma = sqrt((1 - alpha)^2 + beta^2), the decay of the alpha/beta rule.

    Raises:
        ValueError: alpha outside (0, 1], beta < 0, or beta so large that sigma does not decay.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha={alpha}: it must be above 0 and at most 1")
    if not beta >= 0:
        raise ValueError(f"beta={beta}: it must be at least 0")
    bound = math.sqrt(1 - (1 - alpha) ** 2)
    if beta >= bound:
        raise ValueError(
            f"beta={beta}: with alpha={alpha} it must be below sqrt(1 - (1 - alpha)^2) = {bound:.5f}, "
            "else sigma never decreases and sampling never ends"
        )
    return math.hypot(1 - alpha, beta)


def alpha_beta_ladder(alpha: float, beta: float, sigma_max: float = 30.0, sigma_min: float = 0.03) -> tuple[float, ...]:
    """The ladder of the alpha/beta rule with its own stopping rule: multiply sigma by r while it is above sigma_min.

    The last level is therefore the first one at or below sigma_min. Without noise and with alpha = 1, the level would
    be 0 after one step; it is then taken as sigma_min.

    Returns:
        N + 1 levels; 30 -> 0.03 with alpha = 0.1 gives N = 66, 132 and 454 for beta = 0, 0.3 and 0.4.

    Raises:
        ValueError: as `alpha_beta_ratio`; ends that do not decrease; more than 100,000 steps.
    """
    check_ends(sigma_max, sigma_min)
    ratio = alpha_beta_ratio(alpha, beta)
    if ratio == 0:
        return (sigma_max, sigma_min)
    n_steps = math.log(sigma_max / sigma_min) / -math.log(ratio)
    if n_steps > MOST_STEPS:
        raise ValueError(
            f"beta={beta}: with alpha={alpha} sigma decays by {ratio:.7f} a step, about {n_steps:.0f} steps, "
            f"which is above {MOST_STEPS}"
        )
    sigmas = [sigma_max]
    while sigmas[-1] > sigma_min:
        sigmas.append(sigmas[-1] * ratio)
    return tuple(sigmas)


def check_ends(sigma_max: float, sigma_min: float) -> None:
    """Raises ValueError unless infinity > sigma_max > sigma_min > 0."""
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"sigma_min={sigma_min}: it must be above 0 and below sigma_max={sigma_max}")
