"""What happens on the way down a ladder when the truth is known: errors where samples are, spread, contraction.

probe_stage   probes/ID/   rows.csv

Each probe is one function from a denoiser, the true law and a noise setting to rows; each row is an estimate with the
standard error of a delete-group jackknife over samples.
"""

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion_core.block_noise import BlockNoise
from diffusion_core.exact_mixture import Mixture
from diffusion_core.samplers import Model as Denoiser
from diffusion_core.solvers import Euler
from experiments import stages
from experiments.config import FREE, MIXTURE, Ladder, Machine, Model, identity, one_of
from experiments.known_law import mixture_images, read_mixture
from experiments.metrics import GROUPS, jackknife_se
from experiments.store import Store

CLEAN, FIRST, SECOND, SHARED, PUSHED = (20_000 + 1_000 * purpose for purpose in range(5))  # added to a seed: one each
N_LEVELS = 12  # of a ladder that are looked at
PUSH = 0.01  # size of a perturbation, in units of sigma
COLUMNS = ("probe", "eta", "start", "sigma", "value", "se", "n_samples")
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class ProbeConfig:
    """One probe of one denoiser on one mixture."""

    probe: str
    model: Model
    etas: tuple[float, ...]
    ladder: Ladder = field(default_factory=Ladder)
    n_samples: int = 256
    seed: int = 0  # of sampling; networks are probed with seeds of their own
    machine: Machine = field(default_factory=Machine)
    batch_size: int = field(default=256, metadata=FREE)

    def __post_init__(self) -> None:
        one_of("probe", self.probe, PROBES)


def probe_stage(config: ProbeConfig, store: Store, data_root: Path | None) -> list[dict[str, Any]]:
    """The rows of a probe (`COLUMNS`), computed once."""
    name = identity(config)
    if not store.has("probes", name):
        stages.use_threads(config.machine.threads)
        bench = Bench.of(config, store, data_root)
        with store.writing("probes", name) as folder, (folder / "rows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for row in PROBES[config.probe](bench):
                writer.writerow({"probe": config.probe, "n_samples": config.n_samples} | row)
    with (store.path("probes", name) / "rows.csv").open() as file:
        return [
            {key: text if key == "probe" else float(text) for key, text in line.items() if text}
            for line in csv.DictReader(file)
        ]


@dataclass(frozen=True)
class Bench:
    """A denoiser, the law, which is the exact denoiser too, and the setting: what every probe is given."""

    model: Denoiser
    mixture: Mixture  # float32
    clean: Tensor  # (2 n, C, H, W) draws of the law that no network was trained on
    config: ProbeConfig

    @classmethod
    def of(cls, config: ProbeConfig, store: Store, data_root: Path | None) -> "Bench":
        device = config.machine.device
        images = stages.images_of(config.model.data, data_root)
        mixture = read_mixture(Path(config.model.data.removeprefix(MIXTURE)))
        clean = mixture_images(mixture, images.shape, 2 * config.n_samples, CLEAN + config.seed).to(device)
        model = stages.load_model(config.model, store, data_root, device)
        return cls(model, mixture.float().to(device), clean, config)

    @property
    def sigmas(self) -> tuple[float, ...]:
        return self.config.ladder.sigmas()

    @property
    def levels(self) -> list[int]:
        """The steps that are looked at, evenly spread, the first and the last included."""
        last = len(self.sigmas) - 2
        return sorted({round(index * last / (N_LEVELS - 1)) for index in range(N_LEVELS)})

    def noise(self, seed: int) -> BlockNoise:
        return BlockNoise(
            seed, 0, self.config.n_samples, tuple(self.clean.shape[1:]), torch.device(self.config.machine.device)
        )

    @torch.no_grad()
    def eps(self, model: Denoiser, x: Tensor, sigma: float) -> Tensor:
        """The model's eps at one level, in batches, as the sampler evaluates it."""
        device = self.config.machine.device
        with torch.autocast(device, torch.bfloat16, enabled=self.config.machine.precision == "bf16"):
            parts = [
                model(part, part.new_full((len(part),), sigma)).float() for part in x.split(self.config.batch_size)
            ]
        return torch.cat(parts)

    @torch.no_grad()
    def way(self, eta: float, x: Tensor, noise: Callable[[], Tensor], first: int = 0) -> Iterator[tuple[int, Tensor]]:
        """(step, x before it) down the ladder from level `first`, then (n_steps, x at the end). x is overwritten."""
        sigmas = self.sigmas[first:]
        yield first, x
        steps = Euler(eta).run(lambda x, sigma: self.eps(self.model, x, float(sigma[0])), x, sigmas, noise)
        for step, _ in enumerate(steps, start=first + 1):
            yield step, x


def visited(bench: Bench) -> Rows:
    """Squared error of eps where samples are, over that on fresh x0 + sigma n at the same sigma; 1 = as in training.

    One more eta, -1, is the control: a second fresh stream in place of the samples.
    """
    fresh_noise, other_noise = (bench.noise(purpose + bench.config.seed) for purpose in (FIRST, SECOND))
    n = bench.config.n_samples
    fresh_error: dict[int, Tensor] = {}
    for step in range(len(bench.sigmas) - 1):
        first, second = fresh_noise().clone(), other_noise().clone()
        if step in bench.levels:
            sigma = bench.sigmas[step]
            fresh_error[step] = _error(bench, bench.clean[:n] + sigma * first, sigma)
            control = _error(bench, bench.clean[n:] + sigma * second, sigma)
            yield {"eta": -1.0, "sigma": sigma} | _ratio(control, fresh_error[step])
    for eta in bench.config.etas:
        noise = bench.noise(bench.config.seed)
        for step, x in bench.way(eta, noise() * bench.sigmas[0], noise):
            if step in fresh_error:
                sigma = bench.sigmas[step]
                yield {"eta": eta, "sigma": sigma} | _ratio(_error(bench, x, sigma), fresh_error[step])


def level(bench: Bench) -> Rows:
    """The noise level that samples really have, by maximum likelihood under the true law, over the tracked one.

    The log-density of the noised law is summed over samples at 21 levels within a factor 1.35 of the tracked one; a
    parabola in ln sigma through the highest three gives its maximum.
    """
    offsets = np.linspace(-0.3, 0.3, 21)
    for eta in bench.config.etas:
        noise = bench.noise(bench.config.seed)
        for step, x in bench.way(eta, noise() * bench.sigmas[0], noise):
            if step in bench.levels or step == len(bench.sigmas) - 1:
                sigma = bench.sigmas[step]
                logs = np.stack([
                    bench.mixture.log_density(x, x.new_full((len(x),), sigma * math.exp(offset))).double().cpu().numpy()
                    for offset in offsets
                ])  # fmt: skip
                yield {"eta": eta, "sigma": sigma} | _estimate(
                    logs, lambda part: math.exp(_peak(offsets, part.sum(axis=1)))
                )


def spread(bench: Bench) -> Rows:
    """Standard deviation of the samples over the truth's, along the law's 16 widest directions (geometric mean).

    Both sides hold the noise of the ladder's last level.
    """
    mean, covariance = bench.mixture.moments()
    values, vectors = torch.linalg.eigh(covariance.double().cpu())
    truth, directions = values[-16:] + bench.sigmas[-1] ** 2, vectors[:, -16:]
    for eta in bench.config.etas:
        noise = bench.noise(bench.config.seed)
        *_, (_, x) = bench.way(eta, noise() * bench.sigmas[0], noise)
        along = ((x.flatten(1).double().cpu() - mean.double().cpu()) @ directions).T.numpy()
        yield {"eta": eta, "sigma": bench.sigmas[-1]} | _estimate(
            along, lambda part: math.exp(0.5 * np.log(part.var(axis=1, ddof=1) / truth.numpy()).mean())
        )


def contraction(bench: Bench) -> Rows:
    """Distance between two samples driven by the same noise, one of which was pushed at `start`, over the push.

    The push is white, of PUSH sigma a pixel, at the first level and at two levels further down.
    """
    shape = (bench.config.n_samples, *bench.clean.shape[1:])
    for start in (0, len(bench.sigmas) // 3, 2 * len(bench.sigmas) // 3):
        generator = torch.Generator(bench.clean.device).manual_seed(PUSHED + bench.config.seed)
        push = PUSH * bench.sigmas[start] * torch.randn(shape, generator=generator, device=bench.clean.device)
        for eta in bench.config.etas:
            noise = bench.noise(bench.config.seed)
            *_, (_, there) = _take(bench.way(eta, noise() * bench.sigmas[0], noise), start)
            noise_again = bench.noise(SHARED + bench.config.seed)  # from here on, fresh noise that both share
            first = [x.clone() for _, x in bench.way(eta, there.clone(), noise_again, start)]
            noise_again = bench.noise(SHARED + bench.config.seed)
            for (step, x), partner in zip(bench.way(eta, there + push, noise_again, start), first, strict=True):
                if step in bench.levels or step == len(bench.sigmas) - 1:
                    distance = (x - partner).flatten(1).square().mean(dim=1)
                    scale = push.flatten(1).square().mean(dim=1)
                    row = _estimate(_pair(distance, scale), lambda part: math.sqrt(part[0].mean() / part[1].mean()))
                    yield {"eta": eta, "start": bench.sigmas[start], "sigma": bench.sigmas[step]} | row


PROBES: dict[str, Callable[[Bench], Rows]] = {
    "visited": visited,
    "level": level,
    "spread": spread,
    "contraction": contraction,
}


def _take(way: Iterator[tuple[int, Tensor]], last: int) -> Iterator[tuple[int, Tensor]]:
    """The way up to and including step `last`."""
    for step, x in way:
        yield step, x
        if step == last:
            return


def _error(bench: Bench, x: Tensor, sigma: float) -> Tensor:
    """(n,) mean squared difference between the model's eps and the exact one."""
    return (bench.eps(bench.model, x, sigma) - bench.eps(bench.mixture, x, sigma)).flatten(1).square().mean(dim=1)


def _ratio(above: Tensor, below: Tensor) -> dict[str, float]:
    return _estimate(_pair(above, below), lambda part: part[0].mean() / part[1].mean())


def _pair(first: Tensor, second: Tensor) -> np.ndarray:
    return np.stack([first.double().cpu().numpy(), second.double().cpu().numpy()])


def _estimate(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> dict[str, float]:
    """`statistic` of values (k, n) and its jackknife standard error; sample i is in group i mod GROUPS."""
    group = np.arange(values.shape[1]) % GROUPS
    replicates = np.array([statistic(values[:, group != left_out]) for left_out in range(GROUPS)])
    return {"value": float(statistic(values)), "se": jackknife_se(replicates)}


def _peak(places: np.ndarray, heights: np.ndarray) -> float:
    """Where the parabola through the highest point and its neighbours peaks; the end itself if that is highest."""
    top = int(heights.argmax())
    if top in (0, len(places) - 1):
        return float(places[top])
    a, b, c = heights[top - 1 : top + 2]
    return float(places[top] + (places[1] - places[0]) * (a - c) / (2 * (a - 2 * b + c)))
