"""The trunk `mlp`, for vectors: what `small` is for images."""

from typing import ClassVar

import torch
from torch import nn

from diffusion_core.networks.layers import Embedding, zeroed
from diffusion_core.networks.small import VectorBlock


class Mlp(nn.Module):
    """Residual blocks of a vector, each with scale and shift that depend on sigma: 0.5 million parameters."""

    positions: ClassVar[int] = 1  # of a channel in x

    def __init__(self, channels: int, inputs: int, width: int = 128, n_blocks: int = 4, embedding: int = 128) -> None:
        super().__init__()
        self.embed = Embedding(embedding)
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList([VectorBlock(width, 2 * width, embedding) for _ in range(n_blocks)])
        self.leave = zeroed(nn.Linear(width, channels))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """F (B, channels) for x (B, inputs), given condition (B,) = ln(sigma) / 4. ValueError for images."""
        if x.ndim != 2:
            raise ValueError(f"x: {tuple(x.shape)}, but this network takes vectors (B, d)")
        embedding, h = self.embed(condition), self.enter(x)
        for block in self.blocks:
            h = block(h, embedding)
        return self.leave(nn.functional.silu(h))
