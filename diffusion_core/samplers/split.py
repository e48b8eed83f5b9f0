"""Euler with one amount of noise at high levels and another at low levels."""

import math
from dataclasses import dataclass
from typing import ClassVar

from diffusion_core.samplers.base import ETA, S_NOISE, Range
from diffusion_core.samplers.euler import Ancestral, check_eta


@dataclass(frozen=True)
class EulerSplit(Ancestral):
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
    near: ClassVar[tuple[str, ...]] = ("euler", "euler-split")

    def __post_init__(self) -> None:
        check_eta(self.eta_above)
        check_eta(self.eta_below)
        for field, value in (("split", self.split), ("s_noise", self.s_noise)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{field}={value}: it must be at least 0 and finite")

    def eta_at(self, sigma: float) -> float:
        return self.eta_above if sigma > self.split else self.eta_below

    @classmethod
    def ranges(cls, budget: int) -> dict[str, Range]:
        return {"eta_above": ETA, "eta_below": ETA, "split": (0.1, 10.0, True), "s_noise": S_NOISE}
