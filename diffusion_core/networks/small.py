"""The trunks for CPUs: `small` for images, `mlp` for vectors; and the layers that all trunks share."""

import math
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion_core.data import SIDE

PATCH = 4  # side of a patch
N_FREQUENCIES = 16  # of the Fourier features of ln(sigma) / 4
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class Embedding(nn.Sequential):
    """Fourier features of ln(sigma) / 4, then two linear layers, each followed by SiLU.

    The frequencies are geometric, from 1 to 16 radians per unit of ln(sigma) / 4.

    Source: sines and cosines of geometric frequencies: Vaswani et al. 2017, arXiv 1706.03762, Section 3.5.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(2 * N_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.register_buffer("frequencies", torch.logspace(0, math.log10(16), N_FREQUENCIES), persistent=False)

    def forward(self, condition: Tensor) -> Tensor:
        """The embedding (B, width) of condition (B,) = ln(sigma) / 4."""
        angles = condition[:, None] * self.frequencies
        embedding: Tensor = super().forward(torch.cat([angles.cos(), angles.sin()], dim=1))
        return embedding


def zero_init(layer: Layer) -> Layer:
    """The layer with weight and bias set to zero, so that its output starts at 0."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class PatchBlock(nn.Module):
    """Residual block of patches: norm, SiLU, 3x3 convolution, scale and shift that depend on sigma, SiLU, convolution.

    For speed on a CPU scale and shift are one multiply-add, and the norm has one group.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.enter = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.leave = zero_init(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.enter(functional.silu(self.norm(x))), 1 + scale)
        return self.leave(functional.silu(h)).add_(x)


class VectorBlock(nn.Module):
    """Residual block of the whole image as a vector: norm, matrix, scale and shift that depend on sigma, SiLU, matrix.

    A convolution over the positions needs 16 times as many operations, and is worse at large sigma.
    """

    def __init__(self, width: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, hidden, bias=False)
        self.modulate = nn.Linear(embedding, 2 * hidden)
        self.leave = zero_init(nn.Linear(hidden, width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding).chunk(2, dim=1)
        h = torch.addcmul(shift, self.enter(self.norm(x)), 1 + scale)
        return x + self.leave(functional.silu(h))


class Small(nn.Module):
    """The network for CPUs: patches of 4x4 pixels, the whole image as a vector, and little at full resolution.

    It has 2.5 million parameters, most of them in the vector blocks, and needs 17 MFLOP per grey image. Full resolution
    takes most of the time. bench/LOG.md lists what was tried.
    """

    positions: ClassVar[int] = SIDE**2  # of a channel in x

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        pixel = 16  # channels at full resolution
        patch = 32  # channels of patches of 4x4 pixels
        coarse = 64  # channels of patches of 8x8 pixels
        hidden = 512
        n_whole = 2  # blocks of the whole image as a vector
        embedding = 128
        self.embed = Embedding(embedding)
        self.to_patches = nn.Conv2d(PATCH**2 * inputs, patch, 3, padding=1)
        self.before = PatchBlock(patch, embedding)
        self.down = nn.Conv2d(patch, coarse, 2, stride=2)
        width = coarse * (SIDE // PATCH // 2) ** 2
        self.whole = nn.ModuleList([VectorBlock(width, hidden, embedding) for _ in range(n_whole)])
        self.up = nn.Conv2d(coarse, patch, 1)
        self.after = PatchBlock(patch, embedding)
        self.from_patches = nn.Conv2d(patch, PATCH**2 * pixel, 1)
        self.from_pixels = nn.Conv2d(inputs, pixel, 3, padding=1)
        self.scale = nn.Linear(embedding, pixel)
        self.refine = zero_init(nn.Conv2d(pixel, pixel, 3, padding=1))
        self.head = zero_init(nn.Conv2d(pixel, 4 * channels, 4, stride=2, padding=1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """F (B, channels, 32, 32) for x (B, inputs, 32, 32), given condition (B,) = ln(sigma) / 4."""
        embedding = self.embed(condition)
        patches = self.before(self.to_patches(functional.pixel_unshuffle(x, PATCH)), embedding)
        coarse = self.down(patches).permute(0, 2, 3, 1)
        whole = coarse.flatten(1)
        for block in self.whole:
            whole = block(whole, embedding)
        coarse = whole.view(coarse.shape).permute(0, 3, 1, 2)
        patches = self.after(patches + functional.interpolate(self.up(coarse), scale_factor=2), embedding)
        guide = unpatch(self.from_patches(functional.relu(patches, inplace=True)))
        scale = 1 + self.scale(embedding)[:, :, None, None]
        pixels = torch.addcmul(guide, self.from_pixels(x), scale)
        pixels = self.refine(functional.relu(pixels)).add_(pixels)
        return functional.pixel_shuffle(self.head(functional.relu(pixels, inplace=True)), 2)


def unpatch(patches: Tensor) -> Tensor:
    """Patches (B, 16 C, H, W) as pixels (B, C, 4 H, 4 W); unlike `pixel_shuffle` with adjacent channels of a pixel."""
    n, channels, height, width = patches.shape
    split = patches.permute(0, 2, 3, 1).reshape(n, height, width, PATCH, PATCH, channels // PATCH**2)
    pixels = split.transpose(2, 3).reshape(n, height * PATCH, width * PATCH, channels // PATCH**2)
    return pixels.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Residual blocks of a vector, each with scale and shift that depend on sigma: 0.5 million parameters."""

    positions: ClassVar[int] = 1  # of a channel in x

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        width = 128
        n_blocks = 4
        embedding = 128
        self.embed = Embedding(embedding)
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList([VectorBlock(width, 2 * width, embedding) for _ in range(n_blocks)])
        self.leave = zero_init(nn.Linear(width, channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """F (B, channels) for x (B, inputs), given condition (B,) = ln(sigma) / 4."""
        embedding = self.embed(condition)
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, embedding)
        return self.leave(functional.silu(h))
