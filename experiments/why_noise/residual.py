"""The Fokker-Planck residual of a denoiser: do its scores at neighbouring levels belong to one data distribution?

The density of data plus noise of standard deviation sigma follows the heat equation d p / d sigma = sigma laplace p. So
its score s = -eps / sigma follows

    d s / d sigma = sigma grad (div s + |s|^2)

A denoiser whose scores do not follow it is the denoiser of no data (Lai et al. 2023, arXiv 2210.04296). The gap between
the deterministic and the stochastic sampler is bounded by this residual (Deveney et al. 2023, arXiv 2311.15996).
"""

import copy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from diffusion_core.samplers import Model
from experiments.why_noise.probes import FIRST, MixtureProbe, ProbeSetup, Rows, estimate

DIRECTIONS = 2  # random directions of each of two independent estimates


@dataclass(frozen=True)
class Residual(MixtureProbe):
    """The residual of each step of the ladder, as a mean square in units of eps, and the mean over steps.

    A step from sigma to sigma' has the residual sigma' (s(x, sigma') - s(x, sigma) - integral), where the integral of
    sigma grad (div s + |s|^2) is taken by the trapezoidal rule, and x = x0 + sigma' n is a fresh input. So a denoiser
    that changes between two levels has the change as its residual. The divergence is estimated along random directions
    (Hutchinson 1989). The product of two independent estimates has no bias from them, so a mean square may come out
    slightly below 0. Rows have `sigma` = sigma'; the row of the mean over steps has none.

    Everything is in float64.
    """

    name, evaluations = "residual", 40.0

    @staticmethod
    def measured(setup: ProbeSetup) -> Rows:
        model = copy.deepcopy(setup.model)
        assert isinstance(model, torch.nn.Module)
        model.double()
        n = setup.config.n_samples
        generator = torch.Generator().manual_seed(FIRST + setup.config.seed)
        squares = []
        for sigma, after in pairwise(setup.sigmas):
            noise = torch.randn(setup.clean[:n].shape, generator=generator, dtype=torch.float64)
            x = setup.clean[:n].double() + after * noise.to(setup.clean.device)
            change = _score(model, x, after) - _score(model, x, sigma)
            estimates = []
            for _ in range(2):
                v = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for _ in range(DIRECTIONS)]
                ends = [level * _gradient(model, x, level, v) for level in (sigma, after)]
                estimates.append(after * (change - (after - sigma) * (ends[0] + ends[1]) / 2))
            squares.append((estimates[0] * estimates[1]).flatten(1).mean(dim=1))
            yield {"sigma": after} | estimate(np.mean, squares[-1])
        yield estimate(np.mean, torch.stack(squares).mean(dim=0))


def _score(model: Model, x: Tensor, sigma: float) -> Tensor:
    return -model(x, x.new_full((len(x),), sigma)) / sigma


def _gradient(model: Model, x: Tensor, sigma: float, directions: list[Tensor]) -> Tensor:
    """grad (div s + |s|^2), with the divergence estimated along `directions`, each (B, C, H, W)."""
    x = x.detach().requires_grad_()
    score = _score(model, x, sigma)
    total = score.square().sum()
    for v in directions:
        (along,) = torch.autograd.grad((score * v).sum(), x, create_graph=True)
        total = total + (along * v).sum() / len(directions)
    (gradient,) = torch.autograd.grad(total, x)
    return gradient.detach()
