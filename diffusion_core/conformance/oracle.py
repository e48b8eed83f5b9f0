"""Exact predictions: one conditional mean E[x0 | a x0 + s z], from which every output of a network follows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Level = float | Tensor  # one level, or a tensor () or (B,) or one that broadcasts against x


@dataclass(frozen=True)
class Oracle:
    """The exact denoiser of data with independent directions, each a Gaussian or a mixture of Gaussians.

    x is (B, ..., D), direction d being x[..., d]. Every method takes x = a x0 + s z with a = 1 by default: variance
    exploding (VE) with s = sigma. VP has a^2 + s^2 = 1, flow matching a = 1 - t and s = t. a = 0 is allowed.

    Args:
        stds: standard deviation of a component in each direction.
        means: mean of each component, the same in all directions.
        weights: of the components; they add up to 1.
    """

    stds: tuple[float, ...]
    means: tuple[float, ...]
    weights: tuple[float, ...] = (1.0,)

    @property
    def mean(self) -> float:
        """The mean of the data, the same in each direction."""
        return sum(weight * mean for weight, mean in zip(self.weights, self.means, strict=True))

    @property
    def true_stds(self) -> Tensor:
        """(D,) standard deviations of the data, float64."""
        spread = sum(w * (m - self.mean) ** 2 for w, m in zip(self.weights, self.means, strict=True))
        return (torch.tensor(self.stds, dtype=torch.float64).square() + spread).sqrt()

    def denoised(self, x: Tensor, s: Level, a: Level = 1.0) -> Tensor:
        """E[x0 | x]: the mean of the components' linear estimates, weighted by how probable each is."""
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
        """z - x0 for x = (1 - t) x0 + t z: dx/dt of flow matching with the data at t = 0 (Liu et al. 2022, 2209.03003).

        With the data at t = 1 it is -velocity(x, 1 - t).
        """
        x0, score = self._estimates(x, t, 1 - t)
        return -score * _level(t, x) - x0

    def _estimates(self, x: Tensor, s: Level, a: Level) -> tuple[Tensor, Tensor]:
        """E[x0 | x] and the score, computed in float64, in the dtype of x."""
        y, s, a = x.double(), _level(s, x), _level(a, x)
        var = torch.tensor(self.stds, dtype=torch.float64, device=x.device).square_()
        total = a**2 * var + s**2  # variance of x in a component
        estimates = []
        for mean in self.means:
            pull = (y - a * mean) / total
            estimates.append((a * var * pull + mean, -pull))
        if len(self.weights) > 1:
            logs = [math.log(w) - part[1] ** 2 * total / 2 for w, part in zip(self.weights, estimates, strict=True)]
            shares = torch.stack(logs).softmax(dim=0)  # of the components, given x
            x0, score = ((shares * torch.stack(parts)).sum(dim=0) for parts in zip(*estimates, strict=True))
        else:
            x0, score = estimates[0]
        return x0.to(x.dtype), score.to(x.dtype)


def _level(level: Level, x: Tensor) -> Level:
    """A level that broadcasts against x, in float64."""
    if not isinstance(level, Tensor):
        return float(level)
    return level.double().view(-1, *[1] * (x.ndim - 1)) if level.ndim == 1 else level.double()


GAUSSIAN = Oracle(stds=(2.0, 1.0, 0.5, 0.2, 0.01), means=(0.5,))  # the last direction shows noise that is left over
RARE = 0.1  # weight of the rare mode
MIXTURE = Oracle(stds=(0.5, 0.2), means=(-0.5, 4.5), weights=(1 - RARE, RARE))
