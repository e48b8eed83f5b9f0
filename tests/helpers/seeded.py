"""Random numbers that are the same in each run."""

import torch
from torch import Tensor


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Unit normal numbers of this shape."""
    return torch.randn(shape, generator=seeded(seed))
