"""Euler with fresh noise after the step: DDIM, DDPM, and the alpha/beta rule, with which this project started.

One step from sigma to sigma', with fresh unit noise z:

    x <- x - alpha sigma eps(x, sigma) + beta sigma z
    sigma' = r sigma                                         r^2 = (1 - alpha)^2 + beta^2

With beta = 0, sigma' - sigma = -alpha sigma. This is Euler on the probability-flow ODE dx/dsigma = eps (Karras et al.
2022, arXiv 2206.00364, Eq. 1), which is DDIM (Song, Meng & Ermon 2021, arXiv 2010.02502).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.samplers.dialects import alpha_beta, dialects, eta_from_beta
from diffusion_core.schedules.sigma import Sigmas, alpha_beta_ratio
from diffusion_core.validation import check_range

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Ancestral(Sampler):
    """Euler on the probability-flow ODE with fresh noise at each step. A subclass says how much, with `eta_at`."""

    s_noise = 1.0  # factor on the standard deviation of the fresh noise
    order: ClassVar[int | None] = 1

    def eta_at(self, sigma: float) -> float:
        """The eta of a step that starts at sigma."""
        raise NotImplementedError  # a subclass has it

    def steps(self, sigmas: Sigmas) -> list[tuple[float, float, float]]:
        """(sigma, alpha, beta) of each step down a schedule. ValueError if the eta of a step is too large."""
        return [(sigma, *alpha_beta(sigma, after, self.eta_at(sigma))) for sigma, after in pairwise(sigmas)]

    def planned_nfe(self, sigmas: Sigmas) -> int:
        return len(self.steps(sigmas))

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        for sigma, alpha, beta in self.steps(sigmas):
            x.add_(eps(x, sigma), alpha=-alpha * sigma)
            if beta > 0 and self.s_noise > 0:
                x.add_(noise(), alpha=self.s_noise * beta * sigma)
            yield x


@dataclass(frozen=True)
class Euler(Ancestral):
    """The same eta at each step: 0 is DDIM, 1 is DDPM, the upper limit of each step is 1 / sqrt(1 - r^2).

    x <- x - alpha sigma eps + beta sigma z, where beta = eta r sqrt(1 - r^2), (1 - alpha)^2 + beta^2 = r^2 and
    r = sigma' / sigma.

    Source: Song, Meng & Ermon 2021, arXiv 2010.02502, Eq. 12 and 16.
    Note: usual are Euler() and Euler(1.0). DDIM is also called `sample_euler` (k-diffusion), DDIMScheduler and
        EulerDiscreteScheduler (diffusers); DDPM `sample_euler_ancestral` and EulerAncestralDiscreteScheduler. Do not
        confuse it with `EulerChurn`, which adds its noise before the step, or with the step of Euler and Maruyama,
        whose mean and variance differ.
    """

    eta: float = 0.0
    label: ClassVar[str] = "euler"

    def __post_init__(self) -> None:
        check_range("eta", self.eta, 0)

    def eta_at(self, sigma: float) -> float:
        return self.eta

    def row(self, sigmas: Sigmas) -> dict[str, Any]:
        """alpha and beta only if all steps share them; beta = 0 if eta = 0."""
        _, alphas, betas = zip(*self.steps(sigmas), strict=True)
        if max(alphas) - min(alphas) > 1e-9:
            return {"eta": self.eta, "beta": 0.0 if self.eta == 0 else None}
        return dialects(alphas[0], betas[0], sigmas) | {"eta": self.eta}


@dataclass(frozen=True)
class EulerInInterval(Ancestral):
    """`Euler` that adds noise only at steps that start at a sigma with s_min <= sigma <= s_max.

    Source: S_min and S_max of Karras et al. 2022, arXiv 2206.00364, Algorithm 2, which adds noise before the step.
    Note: usual are s_min and s_max. Do not confuse them with the interval of guidance, `guidance_from` of adapters.
    """

    eta: float = 1.0
    s_min: float = 0.0
    s_max: float = math.inf
    label: ClassVar[str] = "euler-within"

    def __post_init__(self) -> None:
        check_range("eta", self.eta, 0)
        check_range("s_min", self.s_min, 0, self.s_max)

    def eta_at(self, sigma: float) -> float:
        return self.eta if self.s_min <= sigma <= self.s_max else 0.0


@dataclass(frozen=True)
class EulerTwoPart(Ancestral):
    """`Euler` with eta_above at steps that start above the level `split`, and eta_below at all other steps.

    Args:
        split: in data standard deviations.
        s_noise: factor on the standard deviation of the fresh noise; 1 adds exactly the noise of the next level. Niche.

    Source: s_noise is S_noise of Karras et al. 2022, arXiv 2206.00364, Algorithm 2, as in k-diffusion's
        `sample_euler_ancestral`.
    """

    eta_above: float = 1.0
    eta_below: float = 0.0
    split: float = 0.5
    s_noise: float = 1.0
    label: ClassVar[str] = "euler-split"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_range(name, value, 0)

    def eta_at(self, sigma: float) -> float:
        return self.eta_above if sigma > self.split else self.eta_below


@dataclass(frozen=True)
class AlphaBeta(Ancestral):
    """The alpha/beta rule: alpha and beta are the same at every step of `schedules.alpha_beta_schedule`.

    Note: usual are both. It runs on that schedule only; on others, take `Euler(eta)`. Do not confuse them with alpha_t
        and beta_t of DDPM, which belong to its process.
    Example: sample(model, alpha_beta_schedule(0.1, 0.3), AlphaBeta(0.1, 0.3), shape=(1, 32, 32))
    """

    alpha: float = 0.1
    beta: float = 0.4
    label: ClassVar[str] = "alpha-beta"

    def __post_init__(self) -> None:
        alpha_beta_ratio(self.alpha, self.beta)

    def eta_at(self, sigma: float) -> float:
        return eta_from_beta(self.beta, alpha_beta_ratio(self.alpha, self.beta))

    def row(self, sigmas: Sigmas) -> dict[str, Any]:
        return dialects(self.alpha, self.beta, sigmas) | {"eta": self.eta_at(sigmas[0])}

    def steps(self, sigmas: Sigmas) -> list[tuple[float, float, float]]:
        ratio = alpha_beta_ratio(self.alpha, self.beta)  # 0 when alpha = 1 and beta = 0
        for sigma, sigma_next in pairwise(sigmas):
            if ratio > 0 and not math.isclose(sigma_next / sigma, ratio, rel_tol=1e-9):
                raise ValueError(
                    f"sigmas: a step goes from {sigma:.6g} to {sigma_next:.6g}, but alpha={self.alpha} and "
                    f"beta={self.beta} multiply sigma by {ratio:.6g}; take the levels of alpha_beta_schedule"
                )
        return [(sigma, self.alpha, self.beta) for sigma in sigmas[:-1]]
