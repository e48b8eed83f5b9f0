"""Home-made samplers with the mistakes that people make, one per name."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from diffusion_core.schedules import karras
from experiments.conformance import Oracle
from experiments.conformance.wrappers import default_levels


def ancestral(
    denoiser: Oracle, n_steps: int, noise: Tensor, bug: str = "", eta: float = 1.0,
    make_noise: Callable[[], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """DDPM at eta 1, DDIM at eta 0, along Karras levels to 0; `bug` names what is wrong with it."""
    sigmas, make_noise = default_levels(n_steps), make_noise or (lambda: torch.randn_like(noise))
    if bug == "the same noise at each step":
        again = make_noise()
        make_noise = lambda: again  # noqa: E731
    if bug == "a missing last step":
        sigmas = karras(n_steps, 160.0, 0.03)  # and x is returned as it is there
    x = noise * sigmas[0]
    for sigma, after in pairwise(sigmas):
        up = eta * after * math.sqrt(1 - (after / sigma) ** 2)
        if bug == "twice the noise":  # as far as it can be made up for: right with many steps
            up = min(2 * up, after)
        down = math.sqrt(after**2 - up**2)
        asked = {"a level that is wrong by one": after or sigma, "levels 1 % low": 0.99 * sigma}.get(bug, sigma)
        if bug == "noise without compensation of the drift":
            down = after
        if bug == "up and down exchanged":
            up, down = down, up
        scale = {"variance for standard deviation": up**2, "noise scaled by the wrong sigma": up * sigma / (after or 1)}
        x = x + (down - sigma) * denoiser.eps(x, asked) + scale.get(bug, up) * make_noise()
    return x + 0.01 * torch.randn_like(x) if bug == "noise after the last step" else x


def ddim_by_stride(denoiser: Oracle, n_steps: int, noise: Tensor) -> Tensor:
    """DDIM on DDPM's 1,000 times with the stride floor(1000 / N), which leaves out the first times of most N."""
    abar = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    times = [index * (1000 // n_steps) for index in range(n_steps)][::-1]
    x = noise
    for now, after in pairwise([abar[t] for t in times] + [torch.tensor(1.0)]):
        eps = denoiser.eps(x, (1 - now).sqrt(), now.sqrt())
        x = after.sqrt() * (x - (1 - now).sqrt() * eps) / now.sqrt() + (1 - after).sqrt() * eps
    return x


def heun(denoiser: Oracle, n_steps: int, noise: Tensor, bug: str = "", weight: float = 0.5) -> Tensor:
    """Karras et al. 2022, Algorithm 2 without churn; `weight` of the second slope."""
    sigmas = default_levels(n_steps)
    x = noise * sigmas[0]
    for sigma, after in pairwise(sigmas):
        slope = denoiser.eps(x, sigma)
        guess = x + (after - sigma) * slope
        second = denoiser.eps(guess, sigma if bug == "a level that is wrong by one" else after) if after > 0 else slope
        x = x + (after - sigma) * ((1 - weight) * slope + weight * second)
    return x
