"""Exact predictions: one conditional mean E[x0 | a x0 + s z], from which every output of a network follows."""

from dataclasses import dataclass

import torch
from torch import Tensor

Level = float | Tensor  # one level, or a tensor () or (B,) or one that broadcasts against x


@dataclass(frozen=True)
class Oracle:
    """The exact denoiser of Gaussian data with independent directions.

    x is (B, ..., D), direction d being x[..., d]. Every method takes x = a x0 + s z with a = 1 by default: variance
    exploding (VE) with s = sigma. VP has a^2 + s^2 = 1, flow matching a = 1 - t and s = t. a = 0 is allowed.
    """

    stds: tuple[float, ...]  # in each direction
    mean: float  # the same in all directions

    @property
    def true_stds(self) -> Tensor:
        """(D,) standard deviations of the data, float64."""
        return torch.tensor(self.stds, dtype=torch.float64)

    def denoised(self, x: Tensor, s: Level, a: Level = 1.0) -> Tensor:
        """E[x0 | x], which is linear in x."""
        x0, _ = self._estimates(x, s, a)
        return x0

    def score(self, x: Tensor, s: Level, a: Level = 1.0) -> Tensor:
        """The gradient of log p(x), which is (a E[x0 | x] - x) / s^2."""
        _, score = self._estimates(x, s, a)
        return score

    def eps(self, x: Tensor, s: Level, a: Level = 1.0) -> Tensor:
        """E[z | x] = -s score: a prediction of the unit noise."""
        return -self.score(x, s, a) * _level(s, x)

    def v(self, x: Tensor, s: Level, a: Level) -> Tensor:
        """a eps - s x0, of Salimans & Ho 2022, arXiv 2202.00512."""
        x0, score = self._estimates(x, s, a)
        return -(score * _level(a, x) + x0) * _level(s, x)

    def velocity(self, x: Tensor, t: Level) -> Tensor:
        """z - x0 for x = (1 - t) x0 + t z: dx/dt of a flow with data at t = 0 (Liu et al. 2022, arXiv 2209.03003)."""
        x0, score = self._estimates(x, t, 1 - t)
        return -score * _level(t, x) - x0

    def follow(self, scheduler: object, mu: float | None = None) -> None:
        """Receives the scheduler of diffusers that asks, after set_timesteps, for `find_levels` to read its config."""

    def _estimates(self, x: Tensor, s: Level, a: Level) -> tuple[Tensor, Tensor]:
        """E[x0 | x] and the score, computed in float64, in the dtype of x."""
        y, s, a = x.double(), _level(s, x), _level(a, x)
        var = torch.tensor(self.stds, dtype=torch.float64, device=x.device).square_()
        pull = (y - a * self.mean) / (a**2 * var + s**2)
        return (a * var * pull + self.mean).to(x.dtype), (-pull).to(x.dtype)


def _level(level: Level, x: Tensor) -> Level:
    """A level that broadcasts against x, in float64."""
    if not isinstance(level, Tensor):
        return float(level)
    return level.double().view(-1, *[1] * (x.ndim - 1)) if level.ndim == 1 else level.double()


GAUSSIAN = Oracle(stds=(2.0, 1.0, 0.5, 0.2, 0.01), mean=0.5)  # the last direction shows noise that is left over
