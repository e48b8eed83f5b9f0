"""The preconditioned denoiser and its trunks: `eps = model(x, sigma)` with x (B, C, H, W) and sigma (B,)."""

import math

import torch
from torch import nn
from torch.nn import functional

PATCH = 4  # side of a patch, in pixels
N_FREQUENCIES = 16  # of the Fourier features of ln(sigma) / 4


class Preconditioned(nn.Module):
    """A trunk F(input, log_sigma / 4) as a denoiser for data of unit variance (Karras et al. 2022).

    eps = x sigma / (1 + sigma^2) - F(x / sqrt(1 + sigma^2), ln(sigma) / 4) / sqrt(1 + sigma^2), in the dtype of x
    even under autocast. F is minus the v prediction: F = x0 / sqrt(1 + sigma^2) * sigma - noise / sqrt(1 + sigma^2).

    Source: Karras et al. 2022, arXiv 2206.00364, Table 1 with sigma_data = 1, solved for eps = (x - denoised) / sigma.
    Note: the paper's D(x) loses eps to cancellation at small sigma; this form does not, at either end.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The unit noise estimated in x (B, C, H, W) at sigma (B,), positive, in data standard deviations."""
        sigma = sigma.to(x.dtype).view(-1, 1, 1, 1)
        scale = (1 + sigma.square()).rsqrt()
        out = self.trunk(x * scale, sigma.flatten().log() / 4)
        return x * (sigma * scale.square()) - out.to(x.dtype) * scale


class Block(nn.Module):
    """Residual block: ReLU, 3x3 convolution, scale and shift that depend on sigma, ReLU, 3x3 convolution.

    On a CPU in bfloat16 the convolutions cost so little that the rest decides the speed. Hence ReLU, one multiply-add
    for scale and shift, and a norm of one group (groups of 4 or 8 channels are over ten times slower there) or none.
    """

    def __init__(self, width: int, embedding: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width) if norm else nn.Identity()
        self.enter = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.leave = _zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.enter(functional.relu(self.norm(x))), 1 + scale)
        return x + self.leave(functional.relu(h))


class Small(nn.Module):
    """The network for CPUs: a U-Net on patches of 4x4 pixels, refined by a few layers at full resolution.

    0.93 million parameters, 53 MFLOP for a grey 32x32 image, a fifth of it at full resolution. Without those layers
    the same trunk learns small sigma slowly: MNIST loss 0.198 (refined at 16x16) against 0.157 after 64,000 images.
    """

    frequencies: torch.Tensor

    def __init__(
        self, channels: int, pixel: int = 16, patch: int = 64, coarse: int = 128, embedding: int = 128
    ) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(0, math.log10(16), N_FREQUENCIES), persistent=False)
        self.embed = nn.Sequential(nn.Linear(2 * N_FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.to_patches = nn.Conv2d(PATCH**2 * channels, patch, 3, padding=1)
        self.before = Block(patch, embedding)
        self.down = nn.Conv2d(patch, coarse, 2, stride=2)
        self.coarse = nn.ModuleList([Block(coarse, embedding) for _ in range(2)])
        self.up = nn.Conv2d(coarse, patch, 1)
        self.after = Block(patch, embedding)
        self.from_patches = nn.Conv2d(patch, PATCH**2 * pixel, 1)
        self.from_pixels = nn.Conv2d(channels, pixel, 3, padding=1)
        self.refine = Block(pixel, embedding, norm=False)
        self.head = _zero(nn.Conv2d(pixel, channels, 3, padding=1))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """F of `Preconditioned`: x (B, C, H, W) with H and W multiples of 8, condition (B,) = ln(sigma) / 4."""
        angles = condition[:, None] * self.frequencies
        embedding = functional.silu(self.embed(torch.cat([angles.cos(), angles.sin()], dim=1)))
        patches = self.before(self.to_patches(functional.pixel_unshuffle(x, PATCH)), embedding)
        coarse = self.down(patches)
        for block in self.coarse:
            coarse = block(coarse, embedding)
        patches = self.after(patches + functional.interpolate(self.up(coarse), scale_factor=2), embedding)
        guide = functional.pixel_shuffle(self.from_patches(functional.relu(patches)), PATCH)
        return self.head(functional.relu(self.refine(self.from_pixels(x) + guide, embedding)))


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weight and bias zero, so that what it adds starts at nothing."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


NAMES = ("small",)


def build(name: str, channels: int = 1) -> nn.Module:
    """The named network, untrained: the exact denoiser of N(0, 1) data, eps = x sigma / (1 + sigma^2).

    Args:
        name: one of `NAMES`. `small` takes images whose sides are multiples of 8.
        channels: of the images.

    Raises:
        ValueError: an unknown name.
    """
    if name not in NAMES:
        raise ValueError(f"network={name!r}: unknown network; the names are {', '.join(NAMES)}")
    model: nn.Module = Preconditioned(Small(channels))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
