"""The preconditioned denoiser and its trunks: `eps = model(x, sigma)` with x (B, C, H, W) and sigma (B,)."""

import math

import torch
from torch import nn
from torch.nn import functional

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
    """Residual block: norm, 3x3 convolution, a shift and scale that depend on sigma, 3x3 convolution."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.enter = nn.Conv2d(width, width, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.leave = _zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.enter(functional.silu(self.norm(x)))
        return x + self.leave(functional.silu(torch.addcmul(h + shift, h, scale)))


class Small(nn.Module):
    """The network for CPUs: a U-Net behind a pixel-unshuffle by 2."""

    frequencies: torch.Tensor

    def __init__(self, channels: int, widths: tuple[int, int, int] = (32, 64, 128), embedding: int = 128) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.register_buffer("frequencies", torch.logspace(0, math.log10(16), N_FREQUENCIES), persistent=False)
        self.embed = nn.Sequential(nn.Linear(2 * N_FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.stem = nn.Conv2d(4 * channels, fine, 3, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(fine, middle, 2, stride=2), nn.Conv2d(middle, coarse, 2, stride=2)])
        self.middle = nn.ModuleList([Block(middle, embedding) for _ in range(2)])
        self.coarse = nn.ModuleList([Block(coarse, embedding) for _ in range(2)])
        self.up = nn.ModuleList([nn.Conv2d(middle, fine, 1), nn.Conv2d(coarse, middle, 1)])
        self.fine = Block(fine, embedding)
        self.head = _zero(nn.Conv2d(fine, 4 * channels, 3, padding=1))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        angles = condition[:, None] * self.frequencies
        embedding = functional.silu(self.embed(torch.cat([angles.cos(), angles.sin()], dim=1)))
        fine = self.stem(functional.pixel_unshuffle(x, 2))
        middle = self.middle[0](self.down[0](fine), embedding)
        coarse = self.down[1](middle)
        for block in self.coarse:
            coarse = block(coarse, embedding)
        middle = self.middle[1](middle + functional.interpolate(self.up[1](coarse), scale_factor=2), embedding)
        fine = self.fine(fine + functional.interpolate(self.up[0](middle), scale_factor=2), embedding)
        return functional.pixel_shuffle(self.head(functional.silu(fine)), 2)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weight and bias zero, so that what it adds starts at nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
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
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
