"""What the tests of samplers share: an exact denoiser, a short ladder, a start and noise."""

import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.schedules import geometric

EXACT = GaussianDenoiser()
LADDER = geometric(8, 10.0, 0.1)


class Noise:
    """Unit noise in one buffer, overwritten by the next call as the block noise is, and the number of calls."""

    def __init__(
        self, shape: tuple[int, ...] = (2, 1, 4, 4), seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.buffer = torch.empty(shape, dtype=dtype)
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.buffer.normal_(generator=self.generator)


def start(n: int = 2, sigma: float = 10.0) -> Tensor:
    return sigma * torch.randn(n, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def forbidden() -> Tensor:
    raise AssertionError("noise was drawn")
