"""The exact denoiser when a data set itself is the distribution: the optimum that an overfitting network approaches."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_core.exact.gaussian import FlatDenoiser

TOLERANCE = 1e-3  # a pair (x, image) is computed again if the estimated error of its logit is larger
TINY = 1e-5  # weights below this part of rounding become 0: products with subnormal numbers are slow on a CPU
PAIRS = 4096  # pairs computed again at a time
CHUNK = 4096  # images per matrix product, for which about 3 * B * CHUNK values more are kept


class Empirical(FlatDenoiser):
    """The exact eps for data that are n images, all equally likely.

    E[x0 | x] = sum_i w_i x_i with w = softmax_i(-|x - x_i|^2 / (2 sigma^2)), and eps = (x - E[x0 | x]) / sigma.

    Also called the optimal or ideal denoiser of a training set. Do not confuse it with the denoiser of the distribution
    that the images came from: samples of this one are the images themselves.

    Every call uses all images (n, C, H, W) or (n, d), standardised, of which it keeps a centred copy. Gradients are not
    supported.

    Source: Karras et al. 2022, arXiv 2206.00364, Appendix B.3, Eq. 57.
    Note: |x - x_i|^2 = |x|^2 - 2 x.x_i + |x_i|^2 has an error of about 1e-4 in float32 with 1,024 pixels: at
        sigma = 0.03 an error of 0.1 in a logit. Where an estimate of this error, which is not a bound, is too large,
        the few pairs whose weight is above rounding are computed again from the differences x - x_i. A GPU, which
        would wait to look for them, computes all logits in float64.
    """

    points: Tensor
    half_norms: Tensor
    centre: Tensor

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        points = images.flatten(1)
        self.dim = points.shape[1]
        centre = points.mean(dim=0)  # any centre gives the exact result; the mean keeps rounding small
        self.register_buffer("points", points - centre)
        self.register_buffer("half_norms", _half_norms(self.points, CHUNK))
        self.register_buffer("centre", centre)

    @torch.no_grad()
    def flat_eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        on_card = x.device.type not in ("cpu", "mps")  # MPS has no float64
        x = (x - self.centre).to(torch.float64 if on_card else x.dtype)
        variance = sigma.to(x.dtype).square()
        half_norms = _half_norms(x, len(x))[:, None]
        unit = torch.finfo(x.dtype).eps
        error = 2 * unit * (half_norms + self.half_norms.max()) / variance  # of a logit: a cautious estimate
        margin = torch.where(error > TOLERANCE, -math.log(unit) + 2 * error, -torch.inf)  # -inf: nothing to repair
        repair = not on_card and bool((error > TOLERANCE).any())
        peak = x.new_full((len(x), 1), -torch.inf)  # largest logit so far
        total = torch.zeros_like(peak)  # sum of w = exp(logit - peak)
        mean = torch.zeros_like(x)  # sum of w times image
        for images, norms in zip(self.points.split(CHUNK), self.half_norms.split(CHUNK), strict=True):
            points = images.to(x.dtype)
            half = _half_norms(points, CHUNK) if on_card else norms
            logits = torch.addmm(half, x, points.T, beta=-1)
            logits = logits.sub_(half_norms).div_(variance)
            if repair:
                least = torch.maximum(peak, logits.amax(dim=1, keepdim=True)) - margin
                _recompute(logits, least, x, points, variance)
            before = peak
            peak = torch.maximum(peak, logits.amax(dim=1, keepdim=True))
            total *= (before - peak).exp()
            mean *= (before - peak).exp()
            weights = functional.threshold(logits.sub_(peak).exp_(), TINY * unit, 0.0, inplace=True)
            total += weights.sum(dim=1, keepdim=True)
            if on_card:
                mean += weights @ points
                continue
            rows = weights.amax(dim=1).nonzero().squeeze(1)  # at small sigma, few rows have weight in this chunk
            mean[rows] += weights[rows] @ points
        return (x - mean / total) / sigma


def _recompute(logits: Tensor, least: Tensor, x: Tensor, points: Tensor, variance: Tensor) -> None:
    """Computes the logits (B, n) that are at least `least` (B, 1) again, in place, from the differences x - x_i."""
    for pairs in (logits >= least).nonzero().split(PAIRS):
        row, column = pairs.unbind(dim=1)
        distances = (x[row] - points[column]).square().sum(dim=1)
        logits[row, column] = -distances / (2 * variance[row, 0])


def _half_norms(x: Tensor, chunk: int) -> Tensor:
    """|x|^2 / 2 (n,), summed in float64."""
    return torch.cat([rows.double().square().sum(dim=1) / 2 for rows in x.split(chunk)]).to(x.dtype)
