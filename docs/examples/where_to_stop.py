"""At which level should the last step to 0 begin? And is what it costs the sampler's error, or the network's?

    python -m experiments sweep where_to_stop.py --train-images 100000
    python where_to_stop.py
    python -m experiments sweep where_to_stop.py --network python:where_to_stop:mixture --data npz:mixture.npz --features digits --n-samples 1600

The second command writes draws of a mixture of Gaussians that was fitted to mnist5k. In the third the mixture's exact
denoiser takes the network's place, and its samples are compared with these draws: what remains is the sampler's error.
"""  # noqa: E501

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from diffusion_core import load
from diffusion_core.exact.tied_mixture import TiedMixture
from diffusion_core.samplers import RES2M, Euler, Sampler
from diffusion_core.schedules import linear
from experiments import Study
from experiments.settings import Schedule, Setting


@dataclass(frozen=True)
class LinearToZero(Schedule):
    """Equal steps from sigma_max to sigma_min, and the step to 0 as one of the sampler's own."""

    def sigmas(self):
        return (*linear(self.n_steps - 1, self.sigma_max, self.sigma_min), 0.0)


@dataclass(frozen=True)
class ToldMore(RES2M):
    """RES-2M whose network is told `told` at levels below it, so at most at the last evaluation."""

    told: float = 0.03

    def run(self, eps, x, sigmas, noise) -> Iterator[Tensor]:
        def eps_told(x: Tensor, sigma: float) -> Tensor:
            level = max(sigma, self.told)
            return eps(x, level) * (level / sigma)  # so that x - sigma eps is what the network says at `told`

        return super().run(eps_told, x, sigmas, noise)


@dataclass(frozen=True)
class ArrivesFirstOrder(Sampler):
    """RES-2M, but the step that arrives at the last level is of first order."""

    def run(self, eps, x, sigmas, noise) -> Iterator[Tensor]:
        for stepped in RES2M().run(eps, x, sigmas[:-2], noise):
            x = stepped
            yield x
        yield from Euler(0.0).run(eps, x, sigmas[-3:], noise)


DRAWS = Path(__file__).with_name("mixture.npz")
WHY = {"res-2m": RES2M(), "its last evaluation is told 0.03": ToldMore(), "arrives by first order": ArrivesFirstOrder()}


@cache
def fitted() -> TiedMixture:
    return TiedMixture.fit(load("mnist5k").standardised())


def write_draws(n: int = 5_000) -> None:
    """Writes n draws of the mixture as images, in the pixels of mnist5k."""
    draw, of = torch.Generator().manual_seed(0), fitted()
    which = torch.multinomial(of.log_weights.exp(), n, replacement=True, generator=draw)
    inside = of.centres[which] + of.variances.sqrt() * torch.randn(n, len(of.variances), generator=draw)
    noise = torch.randn(n, of.dim, generator=draw)
    outside = of.outside.sqrt() * (noise - noise @ of.basis @ of.basis.T)
    x = (of.mean + inside @ of.basis.T + outside).reshape(n, *load("mnist5k").shape)
    np.savez_compressed(DRAWS, images=load("mnist5k").to_pixels(x)[:, 0])


@cache
def units() -> tuple[float, float]:
    """Scale and shift from standardised draws to standardised digits."""
    digits, draws = load("mnist5k"), load(f"npz:{DRAWS}")
    return draws.std / digits.std, (draws.mean - digits.mean) / digits.std


def mixture(x: Tensor, sigma: Tensor) -> Tensor:
    scale, shift = units()
    return fitted()(scale * x + shift, scale * sigma)


@dataclass(frozen=True)
class WhereToStop(Study):
    question = "At which level should the last step to 0 begin?"
    presets: ClassVar = {**Study.presets, "laptop": {"seeds": 5, "first_seed": 501}}
    last_levels: tuple[float, ...] = (0.03, 0.003, 0.1, 0.3, 1.0)
    """The levels, in data standard deviations; all others are compared with the first."""
    schedules: tuple[str, ...] = ("linear", "karras")
    """Schedules, from 30 to the last level, then 0."""
    samplers: tuple[str, ...] = ("euler", "euler(eta=1)", "res-2m", "dpm++2m", "dpm++2m-sde", "er-sde")
    """Samplers, each on each schedule."""
    budgets: tuple[int, ...] = (8, 32)
    """Network evaluations per image."""

    def settings(self) -> Iterator[Setting]:
        for budget in self.budgets:
            for schedule in self.schedules:
                for sampler in self.samplers:
                    for level in self.last_levels:
                        text = f"{schedule}(30, {level:g}, end=0), {sampler}, {budget}"
                        setting = replace(Setting.parse(text, self.data_std), label=f"from {level:g}")
                        yield replace(setting, section=f"{schedule}, {sampler}, {budget}")
            low = LinearToZero(n_steps=budget, sigma_min=0.003)
            for label, sampler in WHY.items():
                yield Setting(label, low, sampler, f"why, linear from 0.003, {budget}", budget=budget)


if __name__ == "__main__":
    write_draws()
