"""Euler with one amount of noise at high levels and another at low levels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.samplers.euler import check_eta, euler_steps


@dataclass(frozen=True)
class EulerSplit(Sampler):
    """`Euler` with eta_above at steps that start above the level `split`, and eta_below at all other steps.

    Args:
        eta_above, eta_below: as eta in `Euler`.
        split: in data standard deviations.
        s_noise: factor on the standard deviation of the fresh noise; 1 adds exactly the noise of the next level.

    Source: eta is that of Song, Meng & Ermon 2021, arXiv 2010.02502, Eq. 16; s_noise is S_noise of Karras et al. 2022,
        arXiv 2206.00364, Algorithm 2, as in k-diffusion's `sample_euler_ancestral`.
    Note: eta_above = eta_below and s_noise = 1 is `Euler`.
    """

    eta_above: float = 1.0
    eta_below: float = 0.0
    split: float = 0.5
    s_noise: float = 1.0
    label: ClassVar[str] = "euler-split"

    def __post_init__(self) -> None:
        check_eta(self.eta_above)
        check_eta(self.eta_below)
        for field, value in (("split", self.split), ("s_noise", self.s_noise)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{field}={value}: it must be at least 0 and finite")

    def eta(self, sigma: float) -> float:
        """The eta of a step that starts at sigma."""
        return self.eta_above if sigma > self.split else self.eta_below

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(euler_steps(sigmas, self.eta))

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        for sigma, alpha, beta in euler_steps(sigmas, self.eta):
            x.add_(eps(x, sigma), alpha=-alpha * sigma)
            if beta > 0 and self.s_noise > 0:
                x.add_(noise(), alpha=self.s_noise * beta * sigma)
            yield x
