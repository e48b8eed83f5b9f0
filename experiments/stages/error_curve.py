"""A probe (see probe.py): a denoiser's squared error as a function of sigma, on images that training did not see."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion_core.noise import NoiseDistribution
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.schedules import geometric
from experiments.config.denoisers import Loader, Machine, ModelConfig

N_SIGMAS = 25
SIGMA_RANGE = (100.0, 0.01)  # data standard deviations
MAX_IMAGES, AT_ONCE = 1024, 256


@dataclass(frozen=True)
class CurveConfig:
    """The error of one network at `sigmas`, on the images that its training held out."""

    model: ModelConfig
    sigmas: tuple[float, ...] = geometric(N_SIGMAS - 1, *SIGMA_RANGE)
    seed: int = 0  # of the noise: the same for all networks
    machine: Machine = field(default_factory=Machine)

    @property
    def cost(self) -> float:
        return float(len(self.sigmas) * min(self.model.held_out, MAX_IMAGES))

    def rows(self, loader: Loader) -> Iterator[dict[str, float]]:
        """Rows sigma, relative_error, se, n_images.

        relative_error is the mean of (1 + sigma^2) |eps - noise|^2 per pixel: the squared error of eps over the error
        of the best denoiser that knows only the variance of the data. So 1 means that nothing else was learnt. se is
        the standard error of relative_error over images.

        Raises:
            ValueError: the network held out fewer than two images.
        """
        held_out = self.model.held_out
        if held_out < 2:
            raise ValueError(f"held_out={held_out}: an error curve needs images that training did not see")
        images, model = loader.images(self.model.data), loader.model(self.model)
        x0 = images.standardised()[images.n_training(held_out) :][:MAX_IMAGES]
        for index, sigma in enumerate(self.sigmas):
            errors = self._errors(model, x0, sigma, index)
            se = errors.std() / len(errors) ** 0.5
            numbers = {"sigma": sigma, "relative_error": errors.mean().item(), "se": se.item()}
            yield numbers | {"n_images": len(errors)}

    @torch.no_grad()
    def _errors(self, model: Model, x0: Tensor, sigma: float, index: int) -> Tensor:
        """Relative errors (n,) at one level, with one draw of noise per image."""
        generator = torch.Generator().manual_seed(block_seed(self.seed, index))
        noise = torch.randn(x0.shape, generator=generator)
        device, parts = self.machine.device, []
        for clean, unit in zip(x0.split(AT_ONCE), noise.split(AT_ONCE), strict=True):
            clean, unit = clean.to(device), unit.to(device)
            with computing_in(self.machine.precision, device):
                eps = model(clean + sigma * unit, clean.new_full((len(clean),), sigma))
            parts.append((eps.float() - unit).square().flatten(1).mean(dim=1).cpu())
        return torch.cat(parts).double() * (1 + sigma**2)


def density(law: NoiseDistribution, sigmas: tuple[float, ...]) -> list[float]:
    """The noise distribution's density of ln sigma at each level."""
    return law.log_density(torch.tensor(sigmas, dtype=torch.float64).log()).exp().tolist()
