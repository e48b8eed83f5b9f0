"""Error times contraction: how much of the denoiser's error on each stretch of the ladder is left in the final sample.

The ladder is split into `STRETCHES` stretches of steps. At the start of each stretch the sample is copied. The copy
takes this stretch with the exact denoiser and all later steps with the studied denoiser, under the same noise. The
difference between sample and copy is the error made on this stretch. It is measured right after the stretch, and again
at the end of the ladder, where it has shrunk or grown. To first order, the differences at the end add up to the
difference between the samples of the studied denoiser and of the exact denoiser.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from diffusion_core.samplers.dialects import alpha_beta
from experiments.stages.probe_setup import ProbeSetup, Rows, estimate, pair

STRETCHES = 11


def response(setup: ProbeSetup) -> Rows:
    """Four kinds of rows per eta. Values are root mean squares over samples and pixels.

    made       the error of the stretch that starts at `start`, right after it, in data standard deviations
    left       the same error at the end of the ladder, divided by `made`; no row if `made` is 0
    predicted  the errors of all stretches at the end of the ladder, added as vectors
    deviation  the difference at the end between samples of the studied and of the exact denoiser, with the same noise
    """
    for eta in setup.config.etas:
        made, left, exact = _stretches(setup, eta)
        last = setup.sigmas[-1]
        for start, first, end in zip(_starts(setup), made, left, strict=True):
            shared = {"eta": eta, "start": setup.sigmas[start], "sigma": last}
            yield {"probe": "made"} | shared | _size(first)
            if first.any():
                both = pair(_squares(end), _squares(first))
                yield (
                    {"probe": "left"} | shared | estimate(both, lambda part: math.sqrt(part[0].mean() / part[1].mean()))
                )
        yield {"probe": "predicted", "eta": eta, "sigma": last} | _size(left.sum(dim=0))
        yield {"probe": "deviation", "eta": eta, "sigma": last} | _size(exact)


@torch.no_grad()
def _stretches(setup: ProbeSetup, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Errors per stretch right after it and at the end (stretches, n, C, H, W); the whole deviation (n, C, H, W)."""
    noise, starts = setup.noise(setup.config.seed), _starts(setup)
    exact = noise() * setup.sigmas[0]  # the exact denoiser's trajectory
    paths = exact[None].clone()  # the studied denoiser's, then a copy per stretch; the last copy is on its stretch
    made: list[Tensor] = []
    for step, (sigma, sigma_next) in enumerate(pairwise(setup.sigmas)):
        alpha, beta = alpha_beta(sigma, sigma_next, eta)
        if step in starts:
            if step > 0:
                made.append(paths[0] - paths[-1])
            paths = torch.cat([paths, paths[:1]])
        studied = setup.eps(setup.model, paths[:-1].flatten(0, 1), sigma).view_as(paths[:-1])
        known = setup.eps(setup.mixture, torch.cat([paths[-1], exact]), sigma)
        fresh = beta * sigma * noise() if beta > 0 else 0.0
        paths = paths - alpha * sigma * torch.cat([studied, known[None, : len(exact)]]) + fresh
        exact = exact - alpha * sigma * known[len(exact) :] + fresh
    made.append(paths[0] - paths[-1])
    return torch.stack(made), paths[0] - paths[1:], paths[0] - exact


def _starts(setup: ProbeSetup) -> list[int]:
    """The first step of each stretch."""
    n_steps = len(setup.sigmas) - 1
    return sorted({index * n_steps // STRETCHES for index in range(min(STRETCHES, n_steps))})


def _squares(x: Tensor) -> Tensor:
    """Mean square (n,) of each sample."""
    return x.flatten(1).square().mean(dim=1)


def _size(x: Tensor) -> dict[str, float]:
    squares = _squares(x)
    return estimate(pair(squares, squares), lambda part: math.sqrt(part[0].mean()))
