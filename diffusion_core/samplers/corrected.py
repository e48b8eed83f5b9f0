"""Euler with a correction for a denoiser whose errors accumulate: an alternative to fresh noise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.samplers.dialects import alpha_beta
from diffusion_core.samplers.euler import Euler, check_eta


@dataclass(frozen=True)
class EulerCorrected(Sampler):
    """`Euler` that multiplies the ladder's noise level by `shift`, or the estimated noise by `scale`, or both.

    At levels sigma <= s_max the sample is assumed to have the noise level shift sigma. The step still ends at
    sigma_down: x <- x + (sigma_down - shift sigma) scale eps(x, shift sigma) + sigma_up z. Above s_max the step is
    that of `Euler`.

    Args:
        eta: as in `Euler`.
        scale: factor on eps; below 1 removes less noise (1 / scale is the paper's lambda).
        shift: the actual noise level over the ladder's, measured or assumed; 1 trusts the ladder.
        s_max: the highest level that is corrected.

    Source: scale: Ning et al. 2023, arXiv 2308.15321 (epsilon scaling). shift: after the time-shift sampler of Li et
        al. 2023, arXiv 2305.15583, but with a constant factor instead of a factor measured on each batch.
    """

    eta: float = 0.0
    scale: float = 1.0
    shift: float = 1.0
    s_max: float = math.inf
    label: ClassVar[str] = "euler-corrected"

    def __post_init__(self) -> None:
        check_eta(self.eta)
        for field, value in (("scale", self.scale), ("shift", self.shift)):
            if not 0 < value < math.inf:
                raise ValueError(f"{field}={value}: it must be above 0 and finite; 1 changes nothing")
        if not self.s_max >= 0:
            raise ValueError(f"s_max={self.s_max}: it must be at least 0")

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return Euler(self.eta).planned_nfe(sigmas)

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        for sigma, sigma_next in pairwise(sigmas):
            alpha, beta = alpha_beta(sigma, sigma_next, self.eta)
            scale, actual = (self.scale, self.shift * sigma) if sigma <= self.s_max else (1.0, sigma)
            x.add_(eps(x, actual), alpha=((1 - alpha) * sigma - actual) * scale)
            if beta > 0:
                x.add_(noise(), alpha=beta * sigma)
            yield x
