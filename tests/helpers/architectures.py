"""Architectures as users write them: a plain convolution net, a small DiT, a UNet2DModel of diffusers.

They are named as --network build:architectures:NAME, where this folder is on the path.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 16


class Conv(nn.Module):
    """Dilated convolutions; c is added to all of them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(1, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.enter = nn.Conv2d(in_channels, WIDTH, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=n, dilation=n) for n in (1, 4))
        self.leave = nn.Conv2d(WIDTH, out_channels, 3, padding=1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.enter(x)
        for layer in self.layers:
            h = h + layer(functional.silu(h + self.embed(c[:, None])[:, :, None, None]))
        out: Tensor = self.leave(functional.silu(h))
        return out


class DiT(nn.Module):
    """Patches of 8x8 pixels and one block, whose gate and end start at 0 (Peebles & Xie 2023, arXiv 2212.09748)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(in_channels, WIDTH, 8, 8)
        self.place = nn.Parameter(0.02 * torch.randn(1, 64, WIDTH))
        self.modulate = nn.Sequential(nn.Linear(1, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 3 * WIDTH))
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.leave = nn.Linear(WIDTH, out_channels * 64)
        for layer in (self.modulate[2], self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        patches = self.enter(x)
        h = patches.flatten(2).transpose(1, 2) + self.place
        shift, scale, gate = self.modulate(c[:, None])[:, None].chunk(3, dim=2)
        z = self.norm(h) * (1 + scale) + shift
        h = h + gate * self.attention(z, z, z, need_weights=False)[0]
        return functional.pixel_shuffle(self.leave(h).transpose(1, 2).unflatten(2, patches.shape[2:]), 8)


def conv(channels: int) -> nn.Module:
    """Of one number, so that the recipe is plain."""
    return Conv(channels, channels)
