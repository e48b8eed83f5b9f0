"""Two denoisers as one: the first inside a band of noise levels, the second elsewhere."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_core.fields import check_fields
from diffusion_core.samplers import Model
from experiments.config.denoisers import Loader, ModelConfig


@dataclass(frozen=True)
class BlendConfig(ModelConfig):
    """One denoiser in a band of noise levels and another one elsewhere, both of the same data."""

    inside: ModelConfig
    outside: ModelConfig
    low: float = 0.0  # the band is low <= sigma < high
    high: float = math.inf
    dose: float = 1.0  # share of the difference between the two that is taken over in the band
    data = property(attrgetter("inside.data"))
    seed = property(attrgetter("inside.seed"))
    machine = property(attrgetter("inside.machine"))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.inside.data != self.outside.data or self.inside.seed != self.outside.seed:
            raise ValueError("inside, outside: both must have the same data and seed")
        if not 0 <= self.low < self.high:
            raise ValueError(f"low={self.low}, high={self.high}: a band needs 0 <= low < high")
        if not 0 < self.dose <= 1:
            raise ValueError(f"dose={self.dose}: it must be above 0 and at most 1")

    @property
    def held_out(self) -> int:  # type: ignore[override]
        return max(self.inside.held_out, self.outside.held_out)

    @property
    def description(self) -> str:
        dose = f"{self.dose:g} of " if self.dose < 1 else ""
        band = f"sigma {self.low:g} to {self.high:g}".replace(" to inf", " and above")
        return f"{dose}{self.inside.description} at {band}, else {self.outside.description}"

    @property
    def networks(self) -> tuple[ModelConfig, ...]:
        return (*self.inside.networks, *self.outside.networks)

    @property
    def timed(self) -> tuple[ModelConfig, ...]:
        return (*self.inside.timed, *self.outside.timed)

    def row(self) -> dict[str, Any]:
        """The columns of its first network."""
        first = self.networks[0].row() if self.networks else super().row()
        return first | {"network": self.description}

    def load(self, loader: Loader) -> nn.Module:
        inside, outside = (loader.model(part) for part in (self.inside, self.outside))
        return Blend(inside, outside, self.low, self.high, self.dose).eval()


class Blend(nn.Module):
    """eps = outside + dose (inside - outside) at low <= sigma < high, and eps = outside at all other levels.

    Each denoiser is evaluated only where it counts.

    Args:
        inside, outside: denoisers of the model contract.
        low, high: the band, in data standard deviations.
        dose: share of the difference that is taken over; 1 replaces `outside` in the band.
    """

    def __init__(self, inside: Model, outside: Model, low: float, high: float, dose: float = 1.0) -> None:
        super().__init__()
        self.inside, self.outside = inside, outside
        self.low, self.high, self.dose = low, high, dose

    def map(self, function: Callable[[Model], Model]) -> "Blend":
        """The same blend of function(inside) and function(outside)."""
        return Blend(function(self.inside), function(self.outside), self.low, self.high, self.dose)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """eps (B, C, H, W) for x (B, C, H, W) and sigma (B,)."""
        within = (self.low <= sigma) & (sigma < self.high)
        if not within.any():
            return self.outside(x, sigma)
        if within.all():
            return self._in_band(x, sigma)
        return torch.where(within.view(-1, 1, 1, 1), self._in_band(x, sigma), self.outside(x, sigma))

    def _in_band(self, x: Tensor, sigma: Tensor) -> Tensor:
        eps = self.inside(x, sigma)
        return eps if self.dose == 1 else torch.lerp(self.outside(x, sigma).to(eps.dtype), eps, self.dose)
