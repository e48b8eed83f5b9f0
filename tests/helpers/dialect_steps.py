"""Other dialects' knobs as alpha and beta of each step, where the translation is exact."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from diffusion_core.samplers import Churn, Sampler
from diffusion_core.samplers.base import Eps, Noise
from diffusion_core.samplers.dialects import alpha_beta
from diffusion_core.schedules import alpha_beta_ladder, check_ladder


@dataclass(frozen=True)
class Steps(Sampler):
    """N + 1 levels `sigmas`, and alpha and beta of each of the N steps along them."""

    sigmas: tuple[float, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        assert sigmas == self.sigmas
        for sigma, alpha, beta in zip(self.sigmas, self.alphas, self.betas, strict=False):
            x.add_(eps(x, sigma), alpha=-alpha * sigma)
            if beta > 0:
                x.add_(noise(), alpha=beta * sigma)
            yield x


def eta_steps(sigmas: tuple[float, ...], eta: float) -> Steps:
    """A given ladder with the noise of eta."""
    pairs = [alpha_beta(sigma, sigma_next, eta) for sigma, sigma_next in itertools.pairwise(sigmas)]
    return Steps(sigmas, tuple(alpha for alpha, _ in pairs), tuple(beta for _, beta in pairs))


def alpha_beta_steps(alpha: float, beta: float, sigma_max: float = 30.0, sigma_min: float = 0.03) -> Steps:
    """The original rule."""
    sigmas = alpha_beta_ladder(alpha, beta, sigma_max, sigma_min)
    return Steps(sigmas, (alpha,) * (len(sigmas) - 1), (beta,) * (len(sigmas) - 1))


def mu_steps(sigmas: tuple[float, ...], mu: float) -> Steps:
    """A given ladder with the noise of smalldiffusion's mu (gam = 1): 1 - alpha = (sigma' / sigma)^(1 / (1 - mu)).

    Raises:
        ValueError: mu outside [0, 1), or not a ladder.

    Source: Permenter & Yuan 2024, arXiv 2306.04848. The inverse of `dialects.mu_from_alpha`.
    """
    if not 0 <= mu < 1:
        raise ValueError(f"mu={mu}: it must be at least 0 and below 1")
    return _keeping(sigmas, [1 - ratio ** (1 / (1 - mu)) for ratio in _ratios(sigmas)], noise=mu > 0)


def beta_ks_steps(sigmas: tuple[float, ...], beta_ks: float) -> Steps:
    """A given ladder with the noise of Kadkhodaie & Simoncelli's beta: alpha = (1 - sigma' / sigma) / beta_ks.

    Unlike their sampler (`samplers/kadkhodaie_simoncelli.py`) it trusts the ladder. 1 means no noise.

    Raises:
        ValueError: beta_ks above 1, or so small that a step would need alpha > 1; not a ladder.

    Source: Kadkhodaie & Simoncelli 2020, arXiv 2007.13640, Algorithm 1. The inverse of `dialects.beta_ks_from_alpha`.
    """
    least = 1 - min(_ratios(sigmas))
    if not least * (1 - 1e-12) <= beta_ks <= 1:
        raise ValueError(
            f"beta_ks={beta_ks}: on this ladder it must be at least the largest 1 - sigma'/sigma = {least:.6g} and at "
            "most 1, else alpha would exceed 1"
        )
    alphas = [min((1 - ratio) / beta_ks, 1.0) for ratio in _ratios(sigmas)]
    return _keeping(sigmas, alphas, noise=beta_ks < 1)


def churn_steps(sigmas: tuple[float, ...], churn: Churn) -> Steps:
    """The chain of `EulerChurn` seen half a step later: from raised level to raised level, noise after the step.

    Exact if x starts at this ladder's first level, sigmas[0] raised: pure noise of that size is what pure noise of size
    sigmas[0] is after churn. The last step goes to sigmas[-1] and adds nothing.

    Raises:
        ValueError: s_noise other than 1, for which the levels are not those of the noise; not a ladder.

    Source: Karras et al. 2022, arXiv 2206.00364, Algorithm 2.
    """
    check_ladder(sigmas)
    if churn.s_noise != 1:
        raise ValueError(f"s_noise={churn.s_noise}: only 1 can be translated")
    n_steps = len(sigmas) - 1
    raised = (*(churn.raised(sigma, n_steps) for sigma in sigmas[:-1]), sigmas[-1])
    alphas = tuple(1 - low / high for high, low in zip(raised, sigmas[1:], strict=False))
    betas = tuple(
        math.sqrt(after**2 - low**2) / before
        for before, after, low in zip(raised, raised[1:], sigmas[1:], strict=False)
    )
    return Steps(raised, alphas, betas)


def _ratios(sigmas: tuple[float, ...]) -> list[float]:
    check_ladder(sigmas)
    return [after / before for before, after in itertools.pairwise(sigmas)]


def _keeping(sigmas: tuple[float, ...], alphas: list[float], *, noise: bool) -> Steps:
    """The betas that keep the ladder: beta^2 = r^2 - (1 - alpha)^2, and exactly 0 where there is no noise."""
    squares = [ratio**2 - (1 - alpha) ** 2 for ratio, alpha in zip(_ratios(sigmas), alphas, strict=True)]
    betas = tuple(math.sqrt(max(square, 0.0)) if noise else 0.0 for square in squares)
    return Steps(tuple(sigmas), tuple(alphas), betas)
