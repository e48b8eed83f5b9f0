"""Euler that corrects for a denoiser whose errors pile up on the way: without fresh noise, a rival to it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffusion_core.samplers.euler import Euler, Noise, ladder_steps
from diffusion_core.samplers.sampling import Checked, Model, eta_steps
from diffusion_core.schedules.sigma import check_ladder


@dataclass(frozen=True)
class EulerCorrected:
    """`Euler` that takes each sample to be noisier than the ladder says, or scales the estimated noise, or both.

    At levels sigma <= s_max the sample is taken to be at level shift sigma, and all the same brought to sigma_down:
    x <- x + (sigma_down - shift sigma) scale eps(x, shift sigma) + sigma_up z. Above, the step is Euler's.

    Args:
        scale: factor on eps; below 1 is a smaller correction (1 / scale is the paper's lambda).
        shift: actual over tracked noise level, as measured or assumed; 1 trusts the ladder.
        s_max: the level from which on it is applied.

    Source: scale: Ning et al. 2023, arXiv 2308.15321 (epsilon scaling). shift: after the time-shift sampler
        of Li et al. 2023, arXiv 2305.15583, but with a constant factor instead of one read from each batch.
    """

    eta: float = 0.0
    scale: float = 1.0
    shift: float = 1.0
    s_max: float = math.inf
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        Euler(self.eta)
        for field, value in (("scale", self.scale), ("shift", self.shift)):
            if not 0 < value < math.inf:
                raise ValueError(f"{field}={value}: it must be above 0 and finite; 1 changes nothing")
        if not self.s_max >= 0:
            raise ValueError(f"s_max={self.s_max}: it must be at least 0")

    @property
    def name(self) -> str:
        return f"euler-corrected(eta={self.eta:g}, scale={self.scale:g}, shift={self.shift:g}, s_max={self.s_max:g})"

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return Euler(self.eta).planned_nfe(sigmas)

    def run(self, model: Model, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        check_ladder(sigmas)
        steps, checked = eta_steps(sigmas, self.eta), Checked(model)
        for step, sigma, _, last in ladder_steps(sigmas):
            down, up = (1 - steps.alphas[step]) * sigma, steps.betas[step] * sigma
            scale, actual = (self.scale, self.shift * sigma) if sigma <= self.s_max else (1.0, sigma)
            x.add_(checked(x, actual, step), alpha=(down - actual) * scale)
            if up > 0:
                x.add_(noise(), alpha=up)
            if last:
                checked.finish()
            yield x
