"""Visible noise: the level of fine noise that one sees in samples. A guard beside the distances.

Learned features hardly see it: to `digits`, real images with noise of 0.05 data standard deviations are real images.
So the finest texture is measured on the pixels, as the noise level of real images with the same texture. Stored scores
hold it as grain, less the noise that the schedule leaves; tables and pages show the level itself, the sum of both.

Why log(1 + |c| / 4), with c in grey levels: edges give few large coefficients and grain gives many small ones. The mean
of |c| belongs to the edges; logs of |c| itself take the faint halo of a blurred digit for grain.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = (0, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1)  # of noise
SCALE = 4  # grey levels: about twice the noise that the default schedule leaves
MOST = 10_000  # real images that a curve takes; no data set is sorted
SEED = 11  # of the noise on real images


def texture(pixels: Tensor) -> NDArray[np.float64]:
    """Mean of log(1 + |c| / 4) over the finest diagonal Haar coefficients c = (a - b - c + d) / 2 of each image, (n,).

    Pixels are uint8 (n, C, H, W), H and W at least 2. Blocks are 2x2; an odd last row or column is left out.
    """
    height, width = (length // 2 * 2 for length in pixels.shape[2:])
    blocks = pixels[:, :, :height, :width].float().unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (n, C, h, 2, w, 2)
    (a, b), (c, d) = (row.unbind(-1) for row in blocks.unbind(3))
    coefficients = ((a - b - c + d) / 2).abs() / SCALE
    return coefficients.log1p().mean(dim=(1, 2, 3)).double().numpy()


@dataclass(frozen=True)
class RealTexture:
    """The texture of real images with noise of each of `LEVELS`: mean over images, and standard deviation, (17,)."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: Tensor, std: float) -> "RealTexture":
        """From real images, uint8 (n, C, H, W), with noise of LEVELS * `std` grey levels, rounded as samples are."""
        generator = torch.Generator().manual_seed(SEED)
        real = pixels[:MOST].float()
        noise = torch.randn(real.shape, generator=generator)
        noisy = (texture((real + level * std * noise).round().clamp(0, 255).to(torch.uint8)) for level in LEVELS)
        mean, spread = zip(*((values.mean(), values.std()) for values in noisy), strict=True)
        return cls(np.maximum.accumulate(mean), np.array(spread))  # rounding can make the first levels equal

    def noise_level(self, value: float) -> float:
        """The noise of real images whose mean texture is `value`, in data standard deviations; 0 to 1."""
        return float(np.interp(value, self.mean, LEVELS))

    def more_noise(self, change: float) -> float:
        """The noise that changes the mean texture of clean real images by so much; 0 if they become smoother."""
        return self.noise_level(float(self.mean[0]) + change)

    def grain(self, pixels: Tensor, left: float) -> float:
        """The noise level of samples, uint8 (n, C, H, W), minus `left`.

        Args:
            left: the noise that the schedule leaves: its last sigma, or 0 with final_denoise.

        Returns:
            0 if they are as fine as real images with that noise, more if they are grainier; never below -left.
        """
        return self.noise_level(float(texture(pixels).mean())) - left

    def grain_spread(self, n: int, left: float) -> float:
        """The standard deviation of the grain of n real images with noise `left`: its floor, around 0."""
        mean, spread = (np.interp(left, LEVELS, values) for values in (self.mean, self.spread))
        return (self.noise_level(mean + spread / np.sqrt(n)) - self.noise_level(mean - spread / np.sqrt(n))) / 2
