"""Tensors of tests: random numbers that are the same in each run, and a number for each image."""

import torch
from torch import Tensor


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Unit normal numbers of this shape."""
    return torch.randn(shape, generator=seeded(seed))


def column(numbers: Tensor) -> Tensor:
    """Numbers (n,) in a shape (n, 1, 1, 1) that multiplies images."""
    return numbers.view(-1, 1, 1, 1)
