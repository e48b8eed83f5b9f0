"""What a sampler is: a frozen value with a name, a planned cost, and `run`; and the simplest one, `Euler`.

A sweep over samplers is a tuple of such values. The others live beside: `churn.py`, `corrected.py`,
`kadkhodaie_simoncelli.py`, `multistep.py`, `restart.py`. Each starts from x at sigmas[0], yields x after each step
(the same tensor, updated in place), calls `noise()` only where noise is added, and checks every output of the model.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from diffusion_core.samplers.sampling import Model, Steps, eta_steps, euler
from diffusion_core.schedules.sigma import check_ladder

Noise = Callable[[], Tensor]


class Sampler(Protocol):
    """A way to go down a ladder."""

    @property
    def name(self) -> str:
        """The sampler and its parameters, as tables and reports print it."""
        ...

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        """Network evaluations per image along a ladder, known before the run. Raises ValueError as `run` does."""
        ...

    def run(self, model: Model, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        """x (B, C, H, W) after each step; x is updated in place, so keep a clone of what you keep.

        Args:
            model: eps = model(x, sigma).
            x: at noise level sigmas[0].
            sigmas: strictly decreasing, in data standard deviations; the last level may be 0.
            noise: returns unit noise (B, C, H, W), which the next call may overwrite.

        Raises (at the first step, except the last):
            ValueError: not a ladder; the sampler's parameters do not suit it; the model returns another shape, NaN or
                infinity, in which case the message names step and sigma.
        """
        ...


def ladder_steps(sigmas: tuple[float, ...]) -> Iterator[tuple[int, float, float, bool]]:
    """(step, sigma, next sigma, whether it is the last step) for each step of a ladder, which is checked."""
    check_ladder(sigmas)
    for step, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        yield step, sigma, sigma_next, step == len(sigmas) - 2


@dataclass(frozen=True)
class Euler:
    """Euler on the probability-flow ODE with the fresh noise of `eta` at each step: DDIM at 0, DDPM at 1.

    Source: Song, Meng & Ermon 2021, arXiv 2010.02502, Eq. 12 and 16; see `sampling.euler`.
    """

    eta: float = 0.0
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.eta >= 0:
            raise ValueError(f"eta={self.eta}: it must be at least 0")

    @property
    def name(self) -> str:
        return f"euler(eta={self.eta:g})"

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(eta_steps(sigmas, self.eta).alphas)

    def run(self, model: Model, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        check_ladder(sigmas)
        return euler(model, x, eta_steps(sigmas, self.eta), noise)


@dataclass(frozen=True)
class EulerWithin:
    """`Euler` whose noise is put back only at steps from levels between `s_min` and `s_max`, inclusive.

    Source: S_min and S_max of Karras et al. 2022, arXiv 2206.00364, Algorithm 2, with the noise after the step.
    """

    eta: float = 1.0
    s_min: float = 0.0
    s_max: float = math.inf
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        Euler(self.eta)
        if not 0 <= self.s_min <= self.s_max:
            raise ValueError(f"s_min={self.s_min}: it must be at least 0 and at most s_max={self.s_max}")

    @property
    def name(self) -> str:
        return f"euler-within(eta={self.eta:g}, s_min={self.s_min:g}, s_max={self.s_max:g})"

    def steps(self, sigmas: tuple[float, ...]) -> Steps:
        """The ladder with eta at the steps within, 0 elsewhere."""
        noisy, quiet = eta_steps(sigmas, self.eta), eta_steps(sigmas, 0.0)
        within = [self.s_min <= sigma <= self.s_max for sigma in sigmas[:-1]]
        return Steps(
            noisy.sigmas,
            tuple(a if inside else b for a, b, inside in zip(noisy.alphas, quiet.alphas, within, strict=True)),
            tuple(a if inside else 0.0 for a, inside in zip(noisy.betas, within, strict=True)),
        )

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        return len(self.steps(sigmas).alphas)

    def run(self, model: Model, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        check_ladder(sigmas)
        return euler(model, x, self.steps(sigmas), noise)
