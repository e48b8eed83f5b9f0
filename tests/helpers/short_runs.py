"""What the tests of samplers share: an exact denoiser, a short schedule, a start, noise, and the variance of Euler."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.schedules import geometric

EXACT = GaussianDenoiser()
SCHEDULE = geometric(8, 10.0, 0.1)


class Noise:
    """Unit noise in one buffer, overwritten by the next call as the block noise is, and the number of calls."""

    def __init__(self, shape: Any = (2, 1, 4, 4), seed: int = 0, dtype: torch.dtype = torch.float64):
        self.generator, self.buffer = torch.Generator().manual_seed(seed), torch.empty(shape, dtype=dtype)
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.buffer.normal_(generator=self.generator)


def variance_of_euler(sigmas: tuple[float, ...], eta: float, std: float = 1.0) -> float:
    """Of x after `Euler` on N(0, std^2): v <- v (1 - alpha sigma^2 / (std^2 + sigma^2))^2 + up^2."""
    variance = sigmas[0] ** 2
    for sigma, after in pairwise(sigmas):
        up = eta * after * math.sqrt(1 - (after / sigma) ** 2)
        alpha = 1 - math.sqrt(max(after**2 - up**2, 0.0)) / sigma
        variance = variance * (1 - alpha * sigma**2 / (std**2 + sigma**2)) ** 2 + up**2
    return variance


def start(n: int = 2, sigma: float = 10.0) -> Tensor:
    return sigma * torch.randn(n, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def forbidden() -> Tensor:
    raise AssertionError("noise was drawn")
