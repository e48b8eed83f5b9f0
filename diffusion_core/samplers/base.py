"""The base class of samplers: a frozen dataclass with a `label` and a `run` that reads like its paper's algorithm.

A new sampler is one class in a file of this folder and one line in `SAMPLERS` of `diffusion_core/catalogue.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

from diffusion_core.samplers.counting import counted_nfe

Eps = Callable[[Tensor, float | Tensor], Tensor]  # eps(x, sigma): sigma is one level or a tensor (B,) of levels
Noise = Callable[[], Tensor]  # returns fresh unit noise in the shape of x; the next call may overwrite it


@dataclass(frozen=True)
class Sampler:
    """An algorithm that steps down a ladder. A subclass is a frozen dataclass too: its fields are its parameters.

    A subclass sets `label`, its name on the command line and in tables (by default the class's name); `name` is the
    label with the parameters. `follows_ladder` is true if it makes one step per interval of the ladder. `order` is its
    order of convergence without noise.
    """

    label: ClassVar[str]
    follows_ladder: ClassVar[bool] = True
    order: ClassVar[int] = 1

    def __init_subclass__(cls) -> None:
        if "label" not in cls.__dict__:
            cls.label = cls.__name__

    @property
    def name(self) -> str:
        """The label with its parameters, as tables and reports print it, such as "euler(eta=1)"."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        shown = ", ".join(f"{name}={f'{value:g}' if isinstance(value, float) else value}" for name, value in values)
        return f"{self.label}({shown})" if shown else self.label

    def planned_nfe(self, sigmas: tuple[float, ...]) -> int:
        """Network evaluations per image along a ladder, known before the run. By default they are counted.

        Raises:
            ValueError: the sampler's parameters do not suit the ladder.
        """
        return counted_nfe(self, sigmas)

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        """Yields x after each step: the same tensor updated in place, or a new one.

        Args:
            eps: the model's noise estimate, checked: eps(x, sigma).
            x: (B, C, H, W) at noise level sigmas[0]; it may be overwritten.
            sigmas: strictly decreasing, in data standard deviations; the last level may be 0.
            noise: draws unit noise (B, C, H, W). It must not be called at a step with beta = 0.
        """
        raise NotImplementedError
