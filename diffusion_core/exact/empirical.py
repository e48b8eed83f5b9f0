"""The exact denoiser of a data set taken as the law itself: the optimum towards which a network overfits."""

import math

import torch
from torch import Tensor

from diffusion_core.exact.gaussian import FlatDenoiser

TOLERANCE = 1e-3  # error of a logit above which a pair (x, image) is computed again
PAIRS = 4096  # computed again at a time


class Empirical(FlatDenoiser):
    """The exact eps for data that is one of n images, each as likely.

    E[x0 | x] = sum_i w_i x_i with w = softmax_i(-|x - x_i|^2 / (2 sigma^2)), and eps = (x - E[x0 | x]) / sigma.

    All images take part in every call, as matrix products over chunks of them, with the softmax and the mean
    accumulated chunk by chunk. Memory beyond the images is about 3 B chunk values. No gradients flow through it.

    Args:
        images: (n, C, H, W) or (n, d), standardised. A centred copy is kept, in their dtype.
        chunk: images at a time; it changes speed and memory, not the result.

    Raises:
        ValueError: no images, or chunk below 1.

    Source: Karras et al. 2022, arXiv 2206.00364, Appendix B.3, Eq. 57.

    Note: |x - x_i|^2 = |x|^2 - 2 x.x_i + |x_i|^2 loses, in float32 and for 1,024 pixels, about 1e-4 whatever the
    distance, which at sigma = 0.03 is 0.1 in a logit. So where that matters, |x - x_i|^2 is computed again from the
    differences, for those pairs whose weight is above rounding: a handful in image data, where neighbours lie many
    such sigmas apart.
    """

    points: Tensor
    half_norms: Tensor
    centre: Tensor

    def __init__(self, images: Tensor, *, chunk: int = 4096) -> None:
        super().__init__()
        if len(images) == 0 or chunk < 1:
            raise ValueError(f"images, chunk: {len(images)} and {chunk}, but there must be at least 1 of each")
        points = images.flatten(1)
        self.dim, self.chunk = points.shape[1], chunk
        centre = points.mean(dim=0)  # any centre is exact; this one keeps the numbers that cancel small
        self.register_buffer("points", points - centre)
        self.register_buffer("half_norms", _half_norms(self.points, chunk))
        self.register_buffer("centre", centre)

    @torch.no_grad()
    def flat_eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        x = x - self.centre
        variance, half_norms = sigma.square(), _half_norms(x, len(x))[:, None]
        unit = torch.finfo(x.dtype).eps
        error = 2 * unit * (half_norms + self.half_norms.max()) / variance  # of a logit, from above
        margin = torch.where(error > TOLERANCE, -math.log(unit) + 2 * error, -torch.inf)  # -inf: nothing to repair
        repair = bool((error > TOLERANCE).any())
        peak = x.new_full((len(x), 1), -torch.inf)  # of the logits so far
        total, mean = torch.zeros_like(peak), torch.zeros_like(x)  # of exp(logit - peak), and of that times the image
        for start in range(0, len(self.points), self.chunk):
            points = self.points[start : start + self.chunk]
            logits = torch.addmm(self.half_norms[start : start + self.chunk], x, points.T, beta=-1)
            logits = logits.sub_(half_norms).div_(variance)
            if repair:
                least = torch.maximum(peak, logits.amax(dim=1, keepdim=True)) - margin
                _recompute(logits, least, x, points, variance)
            before, peak = peak, torch.maximum(peak, logits.amax(dim=1, keepdim=True))
            total *= (before - peak).exp()
            mean *= (before - peak).exp()
            weights = logits.sub_(peak).exp_()
            total += weights.sum(dim=1, keepdim=True)
            rows = weights.amax(dim=1).nonzero().squeeze(1)  # at small sigma, few see any image of this chunk
            mean[rows] += weights[rows] @ points
        return (x - mean / total) / sigma


def _recompute(logits: Tensor, least: Tensor, x: Tensor, points: Tensor, variance: Tensor) -> None:
    """Replaces the logits (B, n) that are at least `least` (B, 1), in place, from the differences x - x_i."""
    for pairs in (logits >= least).nonzero().split(PAIRS):
        row, column = pairs.unbind(dim=1)
        distances = (x[row] - points[column]).square().sum(dim=1)
        logits[row, column] = -distances / (2 * variance[row, 0])


def _half_norms(x: Tensor, chunk: int) -> Tensor:
    """|x|^2 / 2 (n,), summed in float64."""
    return torch.cat([part.double().square().sum(dim=1) / 2 for part in x.split(chunk)]).to(x.dtype)
