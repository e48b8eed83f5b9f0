"""The base class of samplers: a frozen dataclass with a `label` and a `run` that reads like its paper's algorithm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from diffusion_core.schedules.sigma import MAX_STEPS, Sigmas
from diffusion_core.spelling import changed_parameters, spell, spell_class

if TYPE_CHECKING:
    from torch import Tensor

    Eps = Callable[[Tensor, float | Tensor], Tensor]  # eps(x, sigma): sigma is one level or a tensor (B,) of levels
    Noise = Callable[[], Tensor]  # returns fresh unit noise in the shape of x, a new tensor at each call
else:  # without torch they are only names
    Eps = Noise = Callable

MAX_EVALUATIONS = 1_000  # of a step: a sampler that takes more, or more than MAX_STEPS steps, is taken for endless


@dataclass(frozen=True)
class Sampler:
    """An algorithm that steps down a schedule. A subclass is a frozen dataclass too: its fields are its parameters.

    Note: a subclass must define `run`; all else has defaults. Do not confuse it with a schedule, which says at which
        levels a sampler stops. A scheduler of diffusers is both.
    """

    label: ClassVar[str]  # its name on the command line and in tables; by default the class's name, my_file:Mine
    follows_schedule: ClassVar[bool] = True  # whether it makes one step per interval of the schedule
    order: ClassVar[int | None] = None  # declared order of convergence of mean and standard deviation

    def __init_subclass__(cls) -> None:
        if "label" not in cls.__dict__:
            cls.label = spell_class(cls)

    @property
    def name(self) -> str:
        """The label with the parameters that differ from their defaults, such as "euler(eta=1)": it can be typed."""
        return spell(self.label, changed_parameters(self))

    def own_levels(self, n_steps: int) -> Sigmas | None:
        """The levels of a sampler that brings its own schedule, such as a scheduler of diffusers; otherwise None."""
        return None

    def planned_nfe(self, sigmas: Sigmas) -> int:
        """Network evaluations per image along a schedule, by default counted. ValueError for one that does not suit."""
        return len(evaluated_levels(self, sigmas)[0])

    def adds_noise(self, sigmas: Sigmas) -> bool:
        """Whether a run along a schedule puts fresh noise back. A run finds out, so it holds for any sampler."""
        return evaluated_levels(self, sigmas)[1] > 0

    def asked(self, sigmas: Sigmas) -> tuple[float, float]:
        """The smallest positive and the largest level of the schedule and of all evaluations along it."""
        levels = [sigma for sigma in (*sigmas, *evaluated_levels(self, sigmas)[0]) if sigma > 0]
        return min(levels), max(levels)

    def row(self, sigmas: Sigmas) -> dict[str, Any]:
        """Its columns of table.csv about the noise put back: alpha, beta, eta, s_churn, mu, beta_ks, if they exist."""
        return {}

    def doubts(self, sigmas: Sigmas) -> list[str]:
        """Warnings about this sampler on a schedule."""
        return []

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        """Yields x after each step: the same tensor updated in place, or a new one.

        Args:
            eps: the model's noise estimate, checked: eps(x, sigma).
            x: (B, C, H, W) at noise level sigmas[0]; it may be overwritten.
            sigmas: strictly decreasing, in data standard deviations; the last level may be 0.
            noise: draws unit noise (B, C, H, W). It must not be called at a step with beta = 0.
        """
        raise NotImplementedError  # a subclass has it


@lru_cache(maxsize=10_000)
def evaluated_levels(sampler: Sampler, sigmas: Sigmas) -> tuple[Sigmas, int]:
    """The level of each evaluation, in order, and the number of draws of fresh noise, while a sampler draws one image.

    The network is the exact denoiser of N(0, I). A sampler that fails there, or does not end, gets one level per step
    and no draws: its own run will fail with its own message.
    """
    import torch

    from diffusion_core.samplers.seeded_noise import BlockNoise
    from diffusion_core.tensors import broadcast_like

    levels = list[float]()
    draws = 0
    most = max(MAX_STEPS, 10 * len(sigmas))

    def eps(x: Tensor, sigma: float | Tensor) -> Tensor:
        level = torch.as_tensor(sigma).flatten().expand(len(x))
        levels.extend(level.tolist() if isinstance(sigma, torch.Tensor) else [float(sigma)] * len(x))
        if len(levels) > most:
            raise ValueError("it does not end")
        return x * broadcast_like(x, level / (1 + level**2))

    unit = BlockNoise(0, range(1), (1, 32, 32), torch.device("cpu"))

    def noise() -> Tensor:
        nonlocal draws
        draws += 1
        return unit()

    try:
        with torch.no_grad():
            for step, _ in enumerate(sampler.run(eps, unit() * sigmas[0], sigmas, noise)):
                if step > most:
                    raise ValueError("it does not end")
    except Exception:  # a user's sampler may raise anything
        return sigmas[:-1], 0
    return tuple(levels), draws
