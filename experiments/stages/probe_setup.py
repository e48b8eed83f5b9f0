"""Input and tools of every probe: a denoiser, the true distribution, trajectories, estimates with standard errors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion_core.exact import Mixture
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Euler, Model
from diffusion_core.samplers.base import Noise
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.config.config import GROUPS, Ladder, one_of
from experiments.config.denoisers import Machine, ModelConfig
from experiments.config.identity import NOT_IN_IDENTITY
from experiments.metrics.distances import jackknife_se
from experiments.models.exact import mixture_images, mixture_of
from experiments.stages.common import images_of, load_model
from experiments.store.store import Store

CLEAN, FIRST, SECOND = (20_000 + 1_000 * purpose for purpose in range(3))  # added to a seed
N_LEVELS = 12  # levels of a ladder that are probed
NAMES = ("visited", "norm", "size", "residual")
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class ProbeConfig:
    """One probe of one denoiser on one mixture."""

    probe: str
    model: ModelConfig
    etas: tuple[float, ...]  # of the probes along trajectories
    ladder: Ladder = field(default_factory=Ladder)
    n_samples: int = 256
    seed: int = 0  # of sampling; each network has its own
    machine: Machine = field(default_factory=Machine)
    batch_size: int = field(default=256, metadata=NOT_IN_IDENTITY)

    def __post_init__(self) -> None:
        one_of("probe", self.probe, NAMES)

    @property
    def cost(self) -> float:
        """The approximate number of network evaluations."""
        ways = {"visited": 1.4, "norm": 1.4, "size": 0.3, "residual": 40.0}[self.probe]
        return ways * max(len(self.etas), 1) * self.n_samples * self.ladder.n_steps


@dataclass(frozen=True)
class ProbeSetup:
    """The input of every probe: a denoiser, the true distribution (also the exact denoiser), and the setting."""

    model: Model
    mixture: Mixture  # float32
    clean: Tensor  # (2 n, C, H, W) draws of the distribution, not used in training
    config: ProbeConfig

    @classmethod
    def of(cls, config: ProbeConfig, store: Store, data_root: Path | None) -> "ProbeSetup":
        device = config.machine.device
        images = images_of(config.model.data, data_root)
        mixture = mixture_of(config.model.data)
        clean = mixture_images(mixture, images.shape, 2 * config.n_samples, CLEAN + config.seed).to(device)
        model = load_model(config.model, store, data_root, device)
        return cls(model, mixture.float().to(device), clean, config)

    @property
    def sigmas(self) -> tuple[float, ...]:
        return self.config.ladder.sigmas()

    @property
    def levels(self) -> list[int]:
        """The steps that are probed: evenly spread, including the first and the last."""
        last = len(self.sigmas) - 2
        return sorted({round(index * last / (N_LEVELS - 1)) for index in range(N_LEVELS)})

    def noise(self, seed: int) -> BlockNoise:
        return BlockNoise(
            seed, 0, self.config.n_samples, tuple(self.clean.shape[1:]), torch.device(self.config.machine.device)
        )

    @torch.no_grad()
    def eps(self, model: Model, x: Tensor, sigma: float) -> Tensor:
        """The model's eps at one level, in batches, as the sampler evaluates it."""
        device = self.config.machine.device
        with computing_in(self.config.machine.precision, device):
            parts = [
                model(part, part.new_full((len(part),), sigma)).float() for part in x.split(self.config.batch_size)
            ]
        return torch.cat(parts)

    @torch.no_grad()
    def trajectory(self, eta: float, x: Tensor, noise: Noise, first: int = 0) -> Iterator[tuple[int, Tensor]]:
        """Yields (step, x before it) from level `first` on, then (n_steps, x at the end). x is overwritten."""
        sigmas = self.sigmas[first:]
        yield first, x
        steps = Euler(eta).run(lambda x, sigma: self.eps(self.model, x, float(sigma)), x, sigmas, noise)
        yield from enumerate(steps, start=first + 1)


def squared_error(setup: ProbeSetup, x: Tensor, sigma: float) -> Tensor:
    """Mean squared difference (n,) between the model's eps and the exact eps."""
    return (setup.eps(setup.model, x, sigma) - setup.eps(setup.mixture, x, sigma)).flatten(1).square().mean(dim=1)


def ratio(above: Tensor, below: Tensor) -> dict[str, float]:
    return estimate(pair(above, below), lambda part: part[0].mean() / part[1].mean())


def pair(first: Tensor, second: Tensor) -> np.ndarray:
    return np.stack([first.double().cpu().numpy(), second.double().cpu().numpy()])


def estimate(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> dict[str, float]:
    """`statistic` of values (k, n) and its jackknife standard error; sample i is in group i mod GROUPS."""
    group = np.arange(values.shape[1]) % GROUPS
    replicates = np.array([statistic(values[:, group != left_out]) for left_out in range(GROUPS)])
    return {"value": float(statistic(values)), "se": jackknife_se(replicates)}
