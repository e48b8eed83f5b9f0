"""What a sampler asks of a network, recorded in a dry run on an exact denoiser."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from diffusion_core.exact.gaussian import GaussianDenoiser
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules.sigma import MAX_STEPS

MAX_EVALUATIONS = 1_000  # of a step: a sampler that takes more, or more than MAX_STEPS steps, is taken for endless
SHAPE = (1, 32, 32)  # of the image in a dry run


@lru_cache(maxsize=10_000)
def evaluated_levels(sampler: Any, sigmas: tuple[float, ...]) -> tuple[float, ...]:
    """The level of each evaluation, in order, while the sampler draws one image from an exact denoiser.

    A sampler that fails there, or does not end, has one per step: it is planned, and its run fails with its message.
    """
    exact, levels, most = GaussianDenoiser(), list[float](), max(MAX_STEPS, 10 * len(sigmas))

    def eps(x: Tensor, sigma: float | Tensor) -> Tensor:
        each = sigma.flatten().expand(len(x)).tolist() if isinstance(sigma, Tensor) else [sigma] * len(x)
        levels.extend(each)
        if len(levels) > most:
            raise ValueError("it does not end")
        return exact(x, torch.as_tensor(sigma).flatten().expand(len(x)))

    noise = BlockNoise(0, range(1), SHAPE, torch.device("cpu"))
    try:
        with torch.no_grad():
            for step, _ in enumerate(sampler.run(eps, noise() * sigmas[0], sigmas, noise)):
                if step > most:
                    raise ValueError("it does not end")
    except KeyboardInterrupt:
        raise
    except BaseException:  # a user's sampler may raise anything
        return sigmas[:-1]
    return tuple(levels)
