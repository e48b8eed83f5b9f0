"""Probes of denoisers when the data distribution is known: errors and norms on trajectories, sizes of errors.

Each probe is one class, whose `measured` yields rows. Each row is an estimate with the standard error of a delete-group
jackknife over samples. residual.py has one more.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from diffusion_core.exact import Mixture
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Euler, Model
from diffusion_core.samplers.base import Noise
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.config.config import Ladder
from experiments.config.denoisers import Loader, Machine, ModelConfig
from experiments.metrics.distances import jackknife_se
from experiments.models.exact import mixture_images, mixture_of
from reports.schema import GROUPS

CLEAN, FIRST, SECOND = (20_000 + 1_000 * purpose for purpose in range(3))  # added to a seed
N_LEVELS = 12  # levels of a ladder that are probed
AT_ONCE = 256  # samples per evaluation
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class MixtureProbe:
    """A measurement on a denoiser of a mixture, whose exact denoiser is known. A subclass has `measured`."""

    model: ModelConfig
    ladder: Ladder = field(default_factory=Ladder)
    n_samples: int = 256
    etas: tuple[float, ...] = ()  # of the trajectories
    seed: int = 0  # of sampling; each network has its own
    machine: Machine = field(default_factory=Machine)
    name: ClassVar[str]
    evaluations: ClassVar[float]  # per sample, step and eta, about

    @property
    def cost(self) -> float:
        return self.evaluations * max(len(self.etas), 1) * self.n_samples * self.ladder.n_steps

    def rows(self, loader: Loader) -> Rows:
        """Rows of probes.csv without the columns of the arm."""
        for row in self.measured(ProbeSetup.of(self, loader)):
            yield {"probe": self.name, "n_samples": self.n_samples, "n_steps": self.ladder.n_steps} | row

    @staticmethod
    def measured(setup: "ProbeSetup") -> Rows:
        raise NotImplementedError


@dataclass(frozen=True)
class ProbeSetup:
    """The input of every probe: a denoiser, the true distribution (also the exact denoiser), and the setting."""

    model: Model
    mixture: Mixture  # float32
    clean: Tensor  # (2 n, C, H, W) draws of the distribution, not used in training
    config: MixtureProbe

    @classmethod
    def of(cls, config: MixtureProbe, loader: Loader) -> "ProbeSetup":
        mixture, shape = mixture_of(config.model.data), loader.images(config.model.data).shape
        clean = mixture_images(mixture, shape, 2 * config.n_samples, CLEAN + config.seed).to(loader.device)
        return cls(loader.model(config.model), mixture.float().to(loader.device), clean, config)

    @property
    def sigmas(self) -> tuple[float, ...]:
        return self.config.ladder.sigmas()

    @property
    def levels(self) -> list[int]:
        """The steps that are probed: evenly spread, including the first and the last."""
        last = len(self.sigmas) - 2
        return sorted({round(index * last / (N_LEVELS - 1)) for index in range(N_LEVELS)})

    def noise(self, purpose: int = 0) -> BlockNoise:
        """Unit noise of a purpose; 0 is that of sampling."""
        shape, device = tuple(self.clean.shape[1:]), torch.device(self.config.machine.device)
        return BlockNoise(purpose + self.config.seed, range(self.config.n_samples), shape, device)

    def fresh(self, purpose: int) -> Iterator[tuple[int, float, Tensor]]:
        """Yields (step, sigma, x0 + sigma n) at each probed level; the second purpose has other draws of x0 too."""
        noise, n = self.noise(purpose), self.config.n_samples
        clean = self.clean[n:] if purpose == SECOND else self.clean[:n]
        for step, sigma in enumerate(self.sigmas[:-1]):
            unit = noise()
            if step in self.levels:
                yield step, sigma, clean + sigma * unit

    @torch.no_grad()
    def eps(self, model: Model, x: Tensor, sigma: float) -> Tensor:
        """The model's eps at one level, in batches, as the sampler evaluates it."""
        with computing_in(self.config.machine.precision, self.config.machine.device):
            parts = [model(part, part.new_full((len(part),), sigma)).float() for part in x.split(AT_ONCE)]
            return torch.cat(parts)

    def squares(self, x: Tensor, sigma: float) -> Tensor:
        """Mean square (n,) of the model's eps."""
        return self.eps(self.model, x, sigma).flatten(1).square().mean(dim=1)

    def squared_error(self, x: Tensor, sigma: float) -> Tensor:
        """Mean squared difference (n,) between the model's eps and the exact eps."""
        error = self.eps(self.model, x, sigma) - self.eps(self.mixture, x, sigma)
        return error.flatten(1).square().mean(dim=1)

    @torch.no_grad()
    def trajectory(self, eta: float, x: Tensor, noise: Noise) -> Iterator[tuple[int, Tensor]]:
        """Yields (step, x before it), then (n_steps, x at the end). x is overwritten."""
        yield 0, x
        steps = Euler(eta).run(lambda x, sigma: self.eps(self.model, x, float(sigma)), x, self.sigmas, noise)
        yield from enumerate(steps, start=1)

    def along(
        self, measure: Callable[[Tensor, float], Tensor], fresh: Mapping[int, Tensor], statistic: "Statistic"
    ) -> Rows:
        """What is measured on the model's own samples, over the same on fresh inputs, for each eta and level."""
        for eta in self.config.etas:
            noise = self.noise()
            for step, x in self.trajectory(eta, noise() * self.sigmas[0], noise):
                if step in fresh:
                    sigma = self.sigmas[step]
                    yield {"eta": eta, "sigma": sigma} | estimate(statistic, measure(x, sigma), fresh[step])


@dataclass(frozen=True)
class Visited(MixtureProbe):
    """Squared error of eps on the samples, over the error on fresh x0 + sigma n at the same sigma; 1 = as in training.

    Rows with eta = -1 are the control: a second fresh stream instead of the samples.
    """

    name, evaluations = "visited", 1.4

    @staticmethod
    def measured(setup: ProbeSetup) -> Rows:
        fresh = {step: setup.squared_error(x, sigma) for step, sigma, x in setup.fresh(FIRST)}
        for step, sigma, x in setup.fresh(SECOND):
            yield {"eta": -1.0, "sigma": sigma} | estimate(ratio, setup.squared_error(x, sigma), fresh[step])
        yield from setup.along(setup.squared_error, fresh, ratio)


@dataclass(frozen=True)
class Norm(MixtureProbe):
    """Root mean square of eps on the samples, over that on fresh x0 + sigma n at the same sigma; 1 = as in training.

    Source: the norm of eps along sampling, Ning et al. 2023, arXiv 2308.15321, Fig. 2.
    """

    name, evaluations = "norm", 1.4

    @staticmethod
    def measured(setup: ProbeSetup) -> Rows:
        fresh = {step: setup.squares(x, sigma) for step, sigma, x in setup.fresh(FIRST)}
        yield from setup.along(setup.squares, fresh, lambda part: math.sqrt(ratio(part)))


@dataclass(frozen=True)
class Size(MixtureProbe):
    """Root mean square error of F, sqrt(1 + sigma^2) |eps - exact eps|, on fresh x0 + sigma n."""

    name, evaluations = "size", 0.3

    @staticmethod
    def measured(setup: ProbeSetup) -> Rows:
        for _, sigma, x in setup.fresh(FIRST):
            error = (1 + sigma**2) * setup.squared_error(x, sigma)
            yield {"sigma": sigma} | estimate(lambda part: math.sqrt(part[0].mean()), error)


Statistic = Callable[[np.ndarray], float]


def ratio(part: np.ndarray) -> float:
    return float(part[0].mean() / part[1].mean())


def estimate(statistic: Statistic, *columns: Tensor) -> dict[str, float]:
    """`statistic` of values (k, n) and its jackknife standard error; sample i is in group i mod GROUPS."""
    values = np.stack([column.double().cpu().numpy() for column in columns])
    group = np.arange(values.shape[1]) % GROUPS
    replicates = np.array([statistic(values[:, group != left_out]) for left_out in range(GROUPS)])
    return {"value": float(statistic(values)), "se": jackknife_se(replicates)}
