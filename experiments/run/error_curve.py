"""A cached step: a network's squared error as a function of sigma, on images that its training did not see."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_core.noise import NoiseDistribution
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in
from experiments.run.cache import Cache, TensorsAndFacts
from experiments.run.compare import Row
from experiments.run.identity import identity
from experiments.run.networks import Network, Trained, data_of

N_SIGMAS = 25
SIGMA_RANGE = (100.0, 0.01)  # data standard deviations
MAX_IMAGES, AT_ONCE = 1024, 256
DENSITY_POINTS = 201


@dataclass(frozen=True)
class Curve:
    """The error of one network at `sigmas`, on the images that its training held out."""

    network: Trained
    sigmas: tuple[float, ...] = geometric(N_SIGMAS - 1, *SIGMA_RANGE)
    seed: int = 0  # of the noise: the same for all networks

    def made(self, cache: Cache) -> list[Row]:
        """Rows sigma, relative_error, se, n_images, from the cache or measured now.

        relative_error is the mean of (1 + sigma^2) |eps - noise|^2 per pixel: the squared error of eps over the error
        of the best denoiser that knows only the variance of the data. So 1 means that nothing else was learnt. se is
        the standard error of relative_error over images.

        Raises:
            ValueError: the network held out fewer than two images.
        """
        weights = self.network.made(cache, lambda evaluations: None)

        def make() -> TensorsAndFacts:
            self.network.machine.pin()
            model = self.network.load(weights)
            errors = torch.stack([self._errors(model, sigma, index) for index, sigma in enumerate(self.sigmas)])
            return {"errors": errors}, {}

        errors = cache.cached("curves", self, make).tensors["errors"]
        return [
            {"sigma": sigma, "relative_error": each.mean().item(), "n_images": len(each)}
            | {"se": (each.std() / len(each) ** 0.5).item()}
            for sigma, each in zip(self.sigmas, errors, strict=True)
        ]

    @torch.no_grad()
    def _errors(self, model: Model, sigma: float, index: int) -> Tensor:
        """Relative errors (n,) at one level, with one draw of noise per image."""
        network, images = self.network, data_of(self.network.data)
        if network.held_out < 2:
            raise ValueError(f"held_out={network.held_out}: an error curve needs images that training did not see")
        x0 = images.standardised()[images.n_training(network.held_out) :][:MAX_IMAGES]
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(block_seed(self.seed, index)))
        device, parts = network.machine.device, list[Tensor]()
        for clean, unit in zip(x0.split(AT_ONCE), noise.split(AT_ONCE), strict=True):
            clean, unit = clean.to(device), unit.to(device)
            with computing_in(network.machine.precision, device):
                eps = model(clean + sigma * unit, clean.new_full((len(clean),), sigma))
            parts.append((eps.float() - unit).square().flatten(1).mean(dim=1).cpu())
        return torch.cat(parts).double() * (1 + sigma**2)


def curves(networks: Iterable[Network], cache: Cache) -> list[Row]:
    """Rows of curves.csv."""
    rows = list[Row]()
    for network in networks:
        assert isinstance(network, Trained)
        shared: Row = {"model_id": identity(network), "train_noise": network.noise.name, "train_seed": network.seed}
        shared |= {name: getattr(network, name) for name in ("weighting", "parameterisation", "images_seen")}
        rows += [shared | point for point in Curve(network).made(cache)]
    return rows


def densities(networks: Iterable[Network]) -> list[Row]:
    """Rows of densities.csv: the noise distributions of training, as densities of ln sigma."""
    sigmas, laws = geometric(DENSITY_POINTS - 1, *SIGMA_RANGE), dict[NoiseDistribution, None]()
    for network in networks:
        assert isinstance(network, Trained)
        laws[network.noise] = None
    return [
        {"train_noise": law.name, "sigma": sigma, "density": value}
        for law in laws
        for sigma, value in zip(sigmas, density(law, sigmas), strict=True)
    ]


def density(law: NoiseDistribution, sigmas: tuple[float, ...]) -> list[float]:
    """The noise distribution's density of ln sigma at each level."""
    return law.log_density(torch.tensor(sigmas, dtype=torch.float64).log()).exp().tolist()
