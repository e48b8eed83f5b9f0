"""ER-SDE-Solver: an extended reverse-time SDE, whose noise is set by a function of sigma and fades at low levels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.schedules.sigma import Sigmas
from diffusion_core.validation import check_positive, check_range

N_POINTS = 100  # of the integrals over a step


@dataclass(frozen=True)
class ERSDE(Sampler):
    """VE ER-SDE-Solver: exact in the linear part of the SDE, a Taylor polynomial of the denoised image in sigma.

    With r = phi(s') / phi(s), s = data_std sigma, and D', D'' differences of the denoised images of up to three steps:
    x <- r x + (1 - r) denoised + (s' - s + phi(s') I_0) D' + ((s' - s)^2 / 2 + phi(s') I_1) D''
         + sqrt(sigma'^2 - r^2 sigma^2) z,   I_k = integral from s' to s of (tau - s)^k / phi(tau).
    phi(s) = s (exp(s^0.3) + 10): between the ODE (s) and DDPM (s^2), with less noise at lower levels.

    Args:
        solver_order: terms of the polynomial, 1 to 3; the first steps take fewer. Niche.
        data_std: of the data in the units of phi. 0.5 is the paper's, pixels in [-1, 1]; 1 is for standardised latents.

    Source: Cui et al. 2023, arXiv 2309.06169, VE ER-SDE-Solver-1 to 3 with the noise scaling function ER SDE 5.
    Note: the integrals are midpoint sums of 100 points even in ln s; the paper's are even in s. D' is a difference of
        two steps also in order 3, as in the paper, so that the order of convergence stays below 3. A step to sigma = 0
        returns denoised. Also called er_sde (ComfyUI). Do not take data_std for the std of our x, which is 1.
    """

    solver_order: int = 3
    data_std: float = 0.5
    label: ClassVar[str] = "er-sde"
    order: ClassVar[int | None] = 2  # 1 with solver_order = 1

    def __post_init__(self) -> None:
        check_range("solver_order", self.solver_order, 1, 3)
        check_positive("data_std", self.data_std)
        object.__setattr__(self, "order", min(self.solver_order, 2))

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        levels = [self.data_std * sigma for sigma in sigmas]
        denoised = x
        slope = x
        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            before = denoised
            denoised = torch.add(x, eps(x, sigma), alpha=-sigma)
            if sigma_next == 0:
                yield x.copy_(denoised)
                return
            high, low = levels[step : step + 2]
            keep, first, second = taylor_weights(high, low)
            x.lerp_(denoised, 1 - keep)
            if step > 0 and self.solver_order > 1:
                slope_before = slope
                slope = (denoised - before) / (high - levels[step - 1])
                x.add_(slope, alpha=first)
                if step > 1 and self.solver_order > 2:
                    x.add_(slope - slope_before, alpha=2 * second / (high - levels[step - 2]))
            x.add_(noise(), alpha=sigma_next * math.sqrt(1 - (keep * high / low) ** 2))
            yield x


def taylor_weights(high: float, low: float) -> tuple[float, float, float]:
    """phi(low) / phi(high), and the weights of D' and D'' in a step from `high` to `low` > 0, see `ERSDE`."""
    length = math.log(high / low) / N_POINTS
    points = [low * math.exp((k + 0.5) * length) for k in range(N_POINTS)]
    integrals = (length * sum((s - high) ** k / _phi_over(s) for s in points) for k in (0, 1))
    first, second = (low * _phi_over(low) * integral for integral in integrals)
    keep = low * _phi_over(low) / (high * _phi_over(high))
    return keep, low - high + first, (low - high) ** 2 / 2 + second


def _phi_over(s: float) -> float:
    """phi(s) / s."""
    return math.exp(s**0.3) + 10
