"""Parts that the networks share: the embedding of the noise level, and layers that start at zero."""

import math
from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
N_FREQUENCIES = 16  # of the Fourier features of ln(sigma) / 4


class Embedding(nn.Sequential):
    """Fourier features of ln(sigma) / 4, then two linear layers, each followed by SiLU.

    The frequencies are geometric, from 1 to 16 radians per unit of ln(sigma) / 4. Over sigma = 0.004..160, which is 2.6
    units, the lowest frequency turns by less than half a circle and the highest by nearly seven circles.

    Source: sines and cosines of geometric frequencies: Vaswani et al. 2017, arXiv 1706.03762, Section 3.5.
    """

    frequencies: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(2 * N_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.register_buffer("frequencies", torch.logspace(0, math.log10(16), N_FREQUENCIES), persistent=False)

    def forward(self, condition: torch.Tensor) -> torch.Tensor:
        """The embedding (B, width) of condition (B,) = ln(sigma) / 4."""
        angles = condition[:, None] * self.frequencies
        embedding: torch.Tensor = super().forward(torch.cat([angles.cos(), angles.sin()], dim=1))
        return embedding


def zeroed(layer: Layer) -> Layer:
    """The layer with weight and bias set to zero, so that its output starts at 0."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
