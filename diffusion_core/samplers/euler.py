"""Euler with fresh noise after the step: DDIM, DDPM, and the alpha/beta rule, with which this project started.

One step from sigma to sigma', with fresh unit noise z:

    x <- x - alpha sigma eps(x, sigma) + beta sigma z
    sigma' = r sigma                                         r^2 = (1 - alpha)^2 + beta^2

With beta = 0, sigma' - sigma = -alpha sigma. This is Euler on the probability-flow ODE dx/dsigma = eps (Karras et al.
2022, arXiv 2206.00364, Eq. 1), which is DDIM (Song, Meng & Ermon 2021, arXiv 2010.02502). `dialects.py` gives the same
noise in the notation of other papers (eta, churn and more).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.samplers.dialects import alpha_beta
from diffusion_core.schedules.sigma import alpha_beta_ratio


@dataclass(frozen=True)
class Euler(Sampler):
    """Euler on the probability-flow ODE with fresh noise at each step; eta sets how much: 0 is DDIM, 1 is DDPM.

    eta is at least 0. Above 1 there is more noise than in DDPM; the upper limit of each step is 1 / sqrt(1 - r^2).

    Source: Song, Meng & Ermon 2021, arXiv 2010.02502, Eq. 12 and 16.
    """

    eta: float = 0.0
    label: ClassVar[str] = "euler"

    def __post_init__(self) -> None:
        check_eta(self.eta)

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(euler_steps(sigmas, lambda _: self.eta))

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        for sigma, alpha, beta in euler_steps(sigmas, lambda _: self.eta):
            x.add_(eps(x, sigma), alpha=-alpha * sigma)
            if beta > 0:
                x.add_(noise(), alpha=beta * sigma)
            yield x


@dataclass(frozen=True)
class EulerWithin(Sampler):
    """`Euler` that adds noise only at steps that start at a sigma with s_min <= sigma <= s_max.

    Source: S_min and S_max of Karras et al. 2022, arXiv 2206.00364, Algorithm 2. There the noise is added before the
        step, here after it.
    """

    eta: float = 1.0
    s_min: float = 0.0
    s_max: float = math.inf
    label: ClassVar[str] = "euler-within"

    def __post_init__(self) -> None:
        check_eta(self.eta)
        if not 0 <= self.s_min <= self.s_max:
            raise ValueError(f"s_min={self.s_min}: it must be at least 0 and at most s_max={self.s_max}")

    def eta_at(self, sigma: float) -> float:
        """The eta of a step that starts at sigma."""
        return self.eta if self.s_min <= sigma <= self.s_max else 0.0

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(euler_steps(sigmas, self.eta_at))

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        for sigma, alpha, beta in euler_steps(sigmas, self.eta_at):
            x.add_(eps(x, sigma), alpha=-alpha * sigma)
            if beta > 0:
                x.add_(noise(), alpha=beta * sigma)
            yield x


@dataclass(frozen=True)
class AlphaBeta(Sampler):
    """The alpha/beta rule: alpha and beta are the same at every step, and they define the ladder.

    The ladder is `schedules.alpha_beta_ladder(alpha, beta, ...)`. On any other ladder the noise in x would not match
    the ladder's sigma. `planned_nfe` therefore checks the ladder and raises ValueError.
    """

    alpha: float = 0.1
    beta: float = 0.4
    label: ClassVar[str] = "alpha-beta"

    def __post_init__(self) -> None:
        alpha_beta_ratio(self.alpha, self.beta)

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        ratio = alpha_beta_ratio(self.alpha, self.beta)  # 0 when alpha = 1 and beta = 0
        for sigma, sigma_next in pairwise(sigmas):
            if ratio > 0 and not math.isclose(sigma_next / sigma, ratio, rel_tol=1e-9):
                raise ValueError(
                    f"sigmas: a step goes from {sigma:.6g} to {sigma_next:.6g}, but alpha={self.alpha} and "
                    f"beta={self.beta} multiply sigma by {ratio:.6g}; take the levels of alpha_beta_ladder"
                )
        return len(sigmas) - 1

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        for sigma in sigmas[:-1]:
            x.add_(eps(x, sigma), alpha=-self.alpha * sigma)
            if self.beta > 0:
                x.add_(noise(), alpha=self.beta * sigma)
            yield x


def euler_steps(sigmas: tuple[float, ...], eta_at: Callable[[float], float]) -> list[tuple[float, float, float]]:
    """(sigma, alpha, beta) of each step down a ladder; eta_at(sigma) is the eta of the step that starts at sigma.

    Raises:
        ValueError: the eta of a step is too large for it.
    """
    return [(sigma, *alpha_beta(sigma, after, eta_at(sigma))) for sigma, after in pairwise(sigmas)]


def check_eta(eta: float) -> None:
    """Raises ValueError unless eta is at least 0."""
    if not eta >= 0:
        raise ValueError(f"eta={eta}: it must be at least 0")
