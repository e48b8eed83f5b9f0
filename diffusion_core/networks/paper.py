"""The trunk `paper`, for GPUs: a U-Net from full resolution down to a sixteenth of it."""

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion_core.data import SIDE
from diffusion_core.networks.small import Embedding, zero_init

N_GROUPS = 8


class Block(nn.Module):
    """Residual block: norm, SiLU, 3x3 convolution, norm, FiLM, SiLU, 3x3 convolution; the last starts at zero.

    Source: FiLM (scale and shift of each channel from the embedding): Perez et al. 2018, arXiv 1709.07871; group
        norm: Wu & He 2018, arXiv 1803.08494.
    """

    def __init__(self, inside: int, outside: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(N_GROUPS, inside)
        self.enter = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.middle = nn.GroupNorm(N_GROUPS, outside, affine=False)
        self.film = nn.Linear(embedding, 2 * outside)
        self.leave = zero_init(nn.Conv2d(outside, outside, 3, padding=1))
        self.bypass = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """The block's output (B, outside, H, W) for x (B, inside, H, W) and the embedding (B, width) of sigma."""
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.middle(self.enter(functional.silu(self.norm(x))))
        return self.bypass(x) + self.leave(functional.silu(torch.addcmul(shift, h, 1 + scale)))


class Paper(nn.Module):
    """The network for GPUs: a U-Net from full resolution down to a sixteenth of it, 32x32 to 2x2 pixels.

    The widths are those of the original notebook. There is one block per resolution on the way down and one on the way
    up. It has 6.48 million parameters and needs 435 MFLOP per grey 32x32 image: on a CPU it takes about eight times as
    long as `small`.

    Source: Ronneberger et al. 2015, arXiv 1505.04597 (U-Net).
    """

    positions: ClassVar[int] = SIDE**2  # of a channel in x

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        widths = (32, 64, 128, 256, 256)
        embedding = 128
        pairs = list(itertools.pairwise(widths))
        self.embed = Embedding(embedding)
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.before = nn.ModuleList([Block(width, width, embedding) for width in widths])
        self.down = nn.ModuleList([nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs])
        self.up = nn.ModuleList([nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs])
        self.after = nn.ModuleList([Block(2 * fine, fine, embedding) for fine, _ in pairs])
        self.norm = nn.GroupNorm(N_GROUPS, widths[0])
        self.head = zero_init(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """F (B, channels, H, W) for x (B, inputs, H, W), sides multiples of 16, and condition (B,) = ln(sigma) / 4."""
        embedding = self.embed(condition)
        h = self.before[0](self.stem(x), embedding)
        skips = []
        for down, block in zip(self.down, self.before[1:], strict=True):
            skips.append(h)
            h = block(down(h), embedding)
        for up, block in zip(reversed(self.up), reversed(self.after), strict=True):
            h = block(torch.cat([up(h), skips.pop()], dim=1), embedding)
        return self.head(functional.silu(self.norm(h)))
