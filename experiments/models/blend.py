"""Two denoisers as one: the first inside a band of noise levels, the second elsewhere."""

import torch
from torch import Tensor, nn

from diffusion_core.samplers import Model


class Blend(nn.Module):
    """eps = outside + dose (inside - outside) at low <= sigma < high, and eps = outside at all other levels.

    Each denoiser is evaluated only where it counts.

    Args:
        inside, outside: denoisers of the model contract.
        low, high: the band, in data standard deviations.
        dose: share of the difference that is taken over; 1 replaces `outside` in the band.
    """

    def __init__(self, inside: Model, outside: Model, low: float, high: float, dose: float = 1.0) -> None:
        super().__init__()
        self.inside, self.outside = inside, outside
        self.low, self.high, self.dose = low, high, dose

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """eps (B, C, H, W) for x (B, C, H, W) and sigma (B,)."""
        within = (self.low <= sigma) & (sigma < self.high)
        if not within.any():
            return self.outside(x, sigma)
        if within.all():
            return self._in_band(x, sigma)
        return torch.where(within.view(-1, 1, 1, 1), self._in_band(x, sigma), self.outside(x, sigma))

    def _in_band(self, x: Tensor, sigma: Tensor) -> Tensor:
        eps = self.inside(x, sigma)
        return eps if self.dose == 1 else torch.lerp(self.outside(x, sigma).to(eps.dtype), eps, self.dose)
