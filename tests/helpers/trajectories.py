"""What both modules of equivalence tests share: a network, a start, noise, and the comparison of two trajectories."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from short_runs import Noise
from torch import Tensor, nn

from diffusion_core.samplers import Sampler, checked_steps

SHAPE = (3, 1, 8, 8)
N = 20
TABLE: list[tuple[str, str, str, float]] = []  # ours, peer, the peer's dtype, largest relative difference


class Tiny(nn.Module):
    """A fixed convolution that depends on x and sigma without symmetry; in the dtype of x."""

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        self.kernel = nn.Parameter(kernel / 3, requires_grad=False)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.view(-1, 1, 1, 1).to(x)
        scale = (1 + sigma**2).rsqrt()
        hidden = nn.functional.conv2d(x * scale, self.kernel.to(x), padding=1)
        return x * sigma * scale**2 + 0.5 * torch.tanh(hidden + torch.cos(sigma.log())) * scale


TINY = Tiny()


def replayed(dtype: torch.dtype, shape: tuple[int, ...] = SHAPE) -> Noise:
    """The same sequence of unit noise for both sides."""
    return Noise(shape, 11, dtype)


def start(sigma: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return sigma * torch.randn(SHAPE, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(dtype)


def ours(sampler: Sampler, sigmas: tuple[float, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [x.clone() for x in checked_steps(TINY, sampler, sigmas, start(sigmas[0], dtype), replayed(dtype))]


def compare(
    name: str, peer: str, mine: Iterable[Any], theirs: Iterable[Any], dtype: str = "float64", tolerance: float = 1e-5
) -> None:
    """Assert that two trajectories agree at every step, relative to the peer's largest value, and note by how much."""
    differences = []
    for left, right in zip(mine, theirs, strict=True):
        left, right = (torch.as_tensor(np.asarray(side), dtype=torch.float64) for side in (left, right))
        assert left.shape == right.shape
        differences.append(((left - right).abs().max() / right.abs().max()).item())
    TABLE.append((name, peer, dtype, max(differences)))
    assert max(differences) < tolerance
