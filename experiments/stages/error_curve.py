"""A denoiser's squared error as a function of sigma, on images that training did not see.

curve_stage   curves/ID/   curve.csv
"""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from diffusion_core.noise import NoiseDistribution
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.schedules import geometric
from experiments.config.denoisers import Machine, ModelConfig
from experiments.config.identity import NOT_IN_IDENTITY, identity
from experiments.stages.common import images_of, load_model
from experiments.stages.hardware import use_threads
from experiments.store.store import Store

N_SIGMAS = 25
SIGMA_RANGE = (100.0, 0.01)  # data standard deviations
MAX_IMAGES = 1024


@dataclass(frozen=True)
class CurveConfig:
    """The error of one network at `sigmas`, on the images that its training held out."""

    model: ModelConfig
    sigmas: tuple[float, ...] = geometric(N_SIGMAS - 1, *SIGMA_RANGE)
    seed: int = 0  # of the noise: the same for all networks
    machine: Machine = field(default_factory=Machine)
    batch_size: int = field(default=256, metadata=NOT_IN_IDENTITY)


def curve_stage(config: CurveConfig, store: Store, data_root: Path | None) -> list[dict[str, float]]:
    """Rows sigma, relative_error, se, n_images, computed once.

    relative_error is the mean of (1 + sigma^2) |eps - noise|^2 per pixel: the squared error of eps over the error of
    the best denoiser that knows only the variance of the data. So 1 means that nothing else was learnt. se is the
    standard error of relative_error over images.

    Raises:
        ValueError: the network held out fewer than two images.
    """
    if not store.has("curves", identity(config)):
        held_out = config.model.held_out
        if held_out < 2:
            raise ValueError(f"held_out={held_out}: an error curve needs images that training did not see")
        use_threads(config.machine.threads)
        images = images_of(config.model.data, data_root)
        x0 = images.standardised()[images.n_training(held_out) :][:MAX_IMAGES]
        model = load_model(config.model, store, data_root, config.machine.device)
        with store.writing("curves", identity(config)) as folder, (folder / "curve.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("sigma", "relative_error", "se", "n_images"))
            for index, sigma in enumerate(config.sigmas):
                errors = _errors(model, x0, sigma, index, config)
                se = errors.std() / len(errors) ** 0.5
                writer.writerow((sigma, errors.mean().item(), se.item(), len(errors)))
    with (store.path("curves", identity(config)) / "curve.csv").open() as file:
        return [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]


@torch.no_grad()
def _errors(model: Model, x0: Tensor, sigma: float, index: int, config: CurveConfig) -> Tensor:
    """Relative errors (n,) at one level, with one draw of noise per image."""
    generator = torch.Generator().manual_seed(block_seed(config.seed, index))
    noise = torch.randn(x0.shape, generator=generator)
    parts = []
    for clean, unit in zip(x0.split(config.batch_size), noise.split(config.batch_size), strict=True):
        clean, unit = clean.to(config.machine.device), unit.to(config.machine.device)
        with computing_in(config.machine.precision, config.machine.device):
            eps = model(clean + sigma * unit, clean.new_full((len(clean),), sigma))
        parts.append((eps.float() - unit).square().flatten(1).mean(dim=1).cpu())
    return torch.cat(parts).double() * (1 + sigma**2)


def density(law: NoiseDistribution, sigmas: tuple[float, ...]) -> list[float]:
    """The noise distribution's density of ln sigma at each level."""
    return law.log_density(torch.tensor(sigmas, dtype=torch.float64).log()).exp().tolist()
