"""The trunk `small`, for CPUs."""

import torch
from torch import nn
from torch.nn import functional

from diffusion_core.layers import Embedding, check_sides, zeroed

PATCH = 4  # side of a patch, in pixels


class Block(nn.Module):
    """Residual block: ReLU, 3x3 convolution, scale and shift that depend on sigma, ReLU, 3x3 convolution.

    On a CPU in bfloat16 the convolutions cost so little that the rest decides the speed. Hence ReLU, one multiply-add
    for scale and shift, and a norm of one group (groups of 4 or 8 channels are over ten times slower there) or none;
    and what follows a convolution is done in its memory where nothing else needs it.
    """

    def __init__(self, width: int, embedding: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width) if norm else nn.Identity()
        self.enter = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.leave = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.enter(functional.relu(self.norm(x))), 1 + scale)
        return self.leave(functional.relu(h, inplace=True)).add_(x)


class Small(nn.Module):
    """The network for CPUs: a U-Net on patches of 4x4 pixels, refined by a few layers at full resolution.

    0.93 million parameters, 53 MFLOP for a grey 32x32 image, a fifth of it at full resolution. Without those layers
    the same trunk learns small sigma slowly: MNIST loss 0.198 (refined at 16x16) against 0.157 after 64,000 images.
    """

    def __init__(
        self, channels: int, pixel: int = 16, patch: int = 64, coarse: int = 128, embedding: int = 128
    ) -> None:
        super().__init__()
        self.embed = Embedding(embedding)
        self.to_patches = nn.Conv2d(PATCH**2 * channels, patch, 3, padding=1)
        self.before = Block(patch, embedding)
        self.down = nn.Conv2d(patch, coarse, 2, stride=2)
        self.coarse = nn.ModuleList([Block(coarse, embedding) for _ in range(2)])
        self.up = nn.Conv2d(coarse, patch, 1)
        self.after = Block(patch, embedding)
        self.from_patches = nn.Conv2d(patch, PATCH**2 * pixel, 1)
        self.from_pixels = nn.Conv2d(channels, pixel, 3, padding=1)
        self.refine = Block(pixel, embedding, norm=False)
        self.head = zeroed(nn.Conv2d(pixel, channels, 3, padding=1))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """F, in the shape of x (B, C, H, W), given condition (B,) = ln(sigma) / 4.

        Raises:
            ValueError: H or W is not a multiple of 8.
        """
        check_sides(x, 2 * PATCH)
        embedding = self.embed(condition)
        patches = self.before(self.to_patches(functional.pixel_unshuffle(x, PATCH)), embedding)
        coarse = self.down(patches)
        for block in self.coarse:
            coarse = block(coarse, embedding)
        patches = self.after(patches + functional.interpolate(self.up(coarse), scale_factor=2), embedding)
        guide = functional.pixel_shuffle(self.from_patches(functional.relu(patches, inplace=True)), PATCH)
        refined = self.refine(self.from_pixels(x).add_(guide), embedding)
        return self.head(functional.relu(refined, inplace=True))
