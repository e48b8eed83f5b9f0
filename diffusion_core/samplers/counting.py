"""The cost of a sampler that does not say it: its evaluations are counted in a dry run on an exact denoiser."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from diffusion_core.exact.gaussian import GaussianDenoiser
from diffusion_core.samplers.seeded_noise import BlockNoise

MAX_STEPS = 100_000  # of any sampler: one that takes more is taken for endless
SHAPE = (1, 32, 32)  # of the image in a dry run


class Steps(Protocol):
    """What a sampler must have: see `run` of base.Sampler."""

    def run(self, eps: Any, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]: ...
    def __hash__(self) -> int: ...


def planned_nfe(sampler: Steps, sigmas: tuple[float, ...]) -> int:
    """Network evaluations per image along a ladder, known before the run: as the sampler says, else counted.

    Raises:
        ValueError: the sampler says that it does not suit the ladder.
    """
    if hasattr(sampler, "planned_nfe"):
        said: int = sampler.planned_nfe(sigmas)
        return said
    return counted_nfe(sampler, sigmas)


@lru_cache(maxsize=10_000)
def counted_nfe(sampler: Steps, sigmas: tuple[float, ...]) -> int:
    """Evaluations per image, counted while the sampler draws one image from an exact denoiser.

    A sampler that fails there counts as one evaluation per step: it can be planned, and its run fails with its message.
    """
    exact, counted, most = GaussianDenoiser(), 0, max(MAX_STEPS, 10 * len(sigmas))

    def eps(x: Tensor, sigma: float | Tensor) -> Tensor:
        nonlocal counted
        counted += len(x)
        if counted > most:
            raise ValueError("it does not end")
        return exact(x, torch.as_tensor(sigma).expand(len(x)))

    noise = BlockNoise(0, 0, 1, SHAPE, torch.device("cpu"))
    try:
        with torch.no_grad():
            for step, _ in enumerate(sampler.run(eps, noise() * sigmas[0], sigmas, noise)):
                if step > most:
                    raise ValueError("it does not end")
    except (Exception, SystemExit):  # a user's sampler may raise anything
        return len(sigmas) - 1
    return counted
