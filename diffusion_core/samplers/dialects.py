"""One quantity, many names: conversions between the literature's parameters for the fresh noise per step.

Symbols of the alpha/beta rule, for one step from sigma to sigma' = r sigma (`ratio` is r):
alpha = 1 - sigma_down / sigma, beta = sigma_up / sigma, r^2 = (1 - alpha)^2 + beta^2.
"""

import math
from typing import Any

from diffusion_core.schedules.sigma import Sigmas


def alpha_beta(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """alpha and beta of the step from sigma to sigma_next with the noise of eta. Errors as in `beta_from_eta`.

    alpha = 1 - sqrt(r^2 - beta^2) is the share of the noise to remove so that the step ends at sigma'.
    """
    ratio = sigma_next / sigma
    beta = beta_from_eta(eta, ratio)
    return 1 - math.sqrt(max(ratio**2 - beta**2, 0.0)), beta


def beta_from_eta(eta: float, ratio: float) -> float:
    """beta = eta r sqrt(1 - r^2).

    eta scales the noise of DDPM: 0 is DDIM, 1 is DDPM (Song, Meng & Ermon 2021, arXiv 2010.02502, Eq. 16, in sigma
    coordinates; k-diffusion's ancestral samplers use the same eta). A step to 0 adds no noise, whatever eta is.

    ValueError if eta is below 0 or above `largest_eta`: the noise alone would exceed sigma'.
    """
    most = largest_eta(ratio)
    if not 0 <= eta <= most * (1 + 1e-12):
        raise ValueError(
            f"eta={eta}: at sigma'/sigma = {ratio:.6g} it must be between 0 and 1/sqrt(1 - r^2) = {most:.6g}, "
            "else sigma_down^2 = sigma'^2 - sigma_up^2 would be negative"
        )
    return min(eta * ratio * math.sqrt(1 - ratio**2), ratio) if ratio else 0.0


def largest_eta(ratio: float) -> float:
    """The largest eta, 1 / sqrt(1 - r^2): beyond it alpha would exceed 1. A step to 0 has none: it adds no noise."""
    return 1 / math.sqrt(1 - ratio**2) if ratio else math.inf


def eta_from_beta(beta: float, ratio: float) -> float:
    """eta = beta / (r sqrt(1 - r^2)), the inverse of `beta_from_eta`."""
    return beta / (ratio * math.sqrt(1 - ratio**2)) if beta else 0.0


def s_churn_from_beta(alpha: float, beta: float, n_steps: int) -> float:
    """S_churn = N gamma with 1 + gamma = sqrt(1 + (beta / (1 - alpha))^2), for S_noise = 1; infinite at alpha = 1.

    Source: Karras et al. 2022, arXiv 2206.00364, Algorithm 2. It adds noise before the Euler step: the same chain,
        shifted by half a step. Their cap gamma <= sqrt(2) - 1 is beta <= 1 - alpha.
    """
    if beta == 0:
        return 0.0
    return n_steps * (math.hypot(1, beta / (1 - alpha)) - 1) if alpha < 1 else math.inf


def mu_from_alpha(alpha: float, ratio: float) -> float:
    """mu = 1 - ln r / ln(1 - alpha): smalldiffusion's parameter with gam = 1 (Permenter & Yuan 2024, arXiv 2306.04848).

    Without noise r = 1 - alpha, so mu = 0; a result below 1e-12, which rounding can give, becomes 0.
    """
    mu = 1 - math.log(ratio) / math.log1p(-alpha)
    return mu if mu > 1e-12 else 0.0


def beta_ks_from_alpha(alpha: float, ratio: float) -> float:
    """beta_KS = (1 - r) / alpha: of Kadkhodaie & Simoncelli (2020, arXiv 2007.13640); 1 means no noise."""
    return (1 - ratio) / alpha


def dialects(alpha: float, beta: float, sigmas: Sigmas) -> dict[str, Any]:
    """Returns the noise of a sampler in every notation, if all steps of the schedule share alpha and beta."""
    ratio = sigmas[1] / sigmas[0]
    return {
        "alpha": alpha, "beta": beta, "s_churn": s_churn_from_beta(alpha, beta, len(sigmas) - 1),
        "mu": mu_from_alpha(alpha, ratio) if alpha < 1 else None, "beta_ks": beta_ks_from_alpha(alpha, ratio),
    }  # fmt: skip
