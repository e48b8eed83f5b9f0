"""Restart sampling: a deterministic sampler that jumps back up, with much noise at once, over chosen intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.samplers.churn import Heun, heun_step
from diffusion_core.schedules.sigma import Sigmas, check_ends, check_n_steps, karras
from diffusion_core.validation import check_range

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Interval:
    """One interval to restart: from sigma_min up to sigma_max, then down again in n_steps Heun steps, n_restarts times.

    sigma_min and sigma_max are in data standard deviations. sigma_min is moved to the schedule's nearest level.
    """

    sigma_min: float = 0.12
    sigma_max: float = 0.6
    n_steps: int = 3
    n_restarts: int = 2

    def __post_init__(self) -> None:
        check_ends(self.sigma_max, self.sigma_min)
        check_n_steps(self.n_steps)
        check_range("n_restarts", self.n_restarts, 1)


@dataclass(frozen=True)
class Restart(Sampler):
    """Heun down the schedule; at the lower end of an interval, noise up to its upper end and Heun down, repeatedly.

    A step that reaches an interval yields x after all its restarts.

    Args:
        intervals: where to restart. The default is like the interval used on CIFAR-10, [0.06, 0.30] at
            sigma_data = 0.5.
        rho: rho of the Karras schedules inside the intervals. Niche.

    Source: Xu et al. 2023, arXiv 2306.14878, Algorithm 1.
    Note: do not confuse it with churn, which adds a little noise at each step.
    Example: Restart((Interval(0.12, 0.6, n_steps=3, n_restarts=2), Interval(1.0, 4.0)))
    """

    intervals: tuple[Interval, ...] = (Interval(),)
    rho: float = 7.0
    label: ClassVar[str] = "restart"
    order: ClassVar[int | None] = 2

    def __post_init__(self) -> None:
        made = tuple(one if isinstance(one, Interval) else Interval(*one) for one in self.intervals)  # as typed
        object.__setattr__(self, "intervals", made)
        for interval in self.intervals:
            karras(1, interval.sigma_max, interval.sigma_min, rho=self.rho)

    def planned_nfe(self, sigmas: Sigmas) -> int:
        self.inner_schedules(sigmas)
        return Heun().planned_nfe(sigmas) + sum(2 * i.n_steps * i.n_restarts for i in self.intervals)

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        inner_schedules = self.inner_schedules(sigmas)
        for index, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
            heun_step(eps, x, sigma, sigma_next)
            for inner in inner_schedules[index]:
                x.add_(noise(), alpha=math.sqrt(inner[0] ** 2 - inner[-1] ** 2))
                for high, low in pairwise(inner):
                    heun_step(eps, x, high, low)
            yield x

    def inner_schedules(self, sigmas: Sigmas) -> defaultdict[int, list[Sigmas]]:
        """The schedules of the restarts, one per restart, by the index of the level where they start."""
        schedules: defaultdict[int, list[Sigmas]] = defaultdict(list)
        for interval in self.intervals:
            levels = [index for index in range(1, len(sigmas)) if sigmas[index] > 0]
            if not levels:
                raise ValueError(f"sigmas={sigmas}: restarts need a level above 0 after the first")
            index = min(levels, key=lambda index: abs(math.log(sigmas[index] / interval.sigma_min)))
            if not sigmas[index] < interval.sigma_max <= sigmas[0]:
                raise ValueError(
                    f"sigma_max={interval.sigma_max}: an interval's upper end must be above the level nearest to its "
                    f"sigma_min={interval.sigma_min}, {sigmas[index]:.6g}, and at most the schedule's {sigmas[0]:.6g}"
                )
            inner = karras(interval.n_steps, interval.sigma_max, sigmas[index], rho=self.rho)
            schedules[index] += [inner] * interval.n_restarts
        return schedules
