"""Training laws: the distributions from which training draws its noise levels. A new law is a new dataclass here.

sigma is in data standard deviations. Papers that scale data to sigma_data = 0.5 convert by sigma / 0.5, so that
P_mean = -1.2 of Karras et al. (2022, arXiv 2206.00364) becomes -1.2 + ln 2 = -0.507 and P_std = 1.2 stays.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class NoiseLaw(Protocol):
    """A distribution over training noise levels."""

    @property
    def name(self) -> str:
        """The law and its parameters, as tables and reports print it."""
        ...

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent noise levels, float32 (n,), on the generator's device."""
        ...

    def log_density(self, log_sigma: Tensor) -> Tensor:
        """Natural log of the density of ln sigma at `log_sigma` (any shape); -inf outside the support."""
        ...


@dataclass(frozen=True)
class LogNormal:
    """ln sigma is normal with mean `p_mean` and standard deviation `p_std`.

    Source: Karras et al. 2022, arXiv 2206.00364, Table 1 (P_mean and P_std), moved to unit data.
    """

    p_mean: float = -0.507
    p_std: float = 1.2

    def __post_init__(self) -> None:
        if not self.p_std > 0:
            raise ValueError(f"p_std={self.p_std}: it must be above 0")

    @property
    def name(self) -> str:
        return f"log-normal({self.p_mean:g}, {self.p_std:g})"

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return (self.p_mean + self.p_std * torch.randn(n, generator=generator, device=generator.device)).exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        standardised = (log_sigma - self.p_mean) / self.p_std
        return -0.5 * standardised**2 - math.log(self.p_std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class LogUniform:
    """ln sigma is uniform between ln `sigma_min` and ln `sigma_max`: the law of the original notebook."""

    sigma_min: float = 0.03
    sigma_max: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma_min={self.sigma_min}: it must be above 0 and below sigma_max={self.sigma_max}")

    @property
    def name(self) -> str:
        return f"log-uniform({self.sigma_min:g}, {self.sigma_max:g})"

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return (low + (high - low) * torch.rand(n, generator=generator, device=generator.device)).exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        inside = (log_sigma >= low) & (log_sigma <= high)
        return torch.where(inside, -math.log(high - low), -math.inf)
