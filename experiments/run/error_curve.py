"""A cached stage: a network's squared error as a function of sigma, on images that its training did not see."""

from collections.abc import Iterable

import torch
from torch import Tensor

from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in
from experiments.run.cache import Cache, TensorsAndFacts
from experiments.run.compare import Row
from experiments.run.identity import identity
from experiments.run.networks import Network, Trained, data_of

SIGMA_RANGE = (100.0, 0.01)  # data standard deviations
LEVELS = geometric(24, *SIGMA_RANGE)
DENSITY_LEVELS = geometric(200, *SIGMA_RANGE)
MAX_IMAGES, AT_ONCE = 1024, 256


def error_rows(network: Trained, cache: Cache, sigmas: tuple[float, ...] = LEVELS) -> list[Row]:
    """Rows sigma, relative_error, se, n_images on the images that training held out, from the cache or measured now.

    relative_error is the mean of (1 + sigma^2) |eps - noise|^2 per pixel: the squared error of eps over the error
    of the best denoiser that knows only the variance of the data. So 1 means that nothing else was learnt. se is
    the standard error of relative_error over images. ValueError if the network held out fewer than two images.
    """
    if network.held_out < 2:
        raise ValueError(f"held_out={network.held_out}: an error curve needs images that training did not see")
    weights = network.artifact(cache, lambda evaluations: None)

    def make() -> TensorsAndFacts:
        network.machine.pin()
        model = network.load(weights)
        return {"errors": torch.stack([_errors(network, model, *level) for level in enumerate(sigmas)])}, {}

    return [
        {"sigma": sigma, "relative_error": errors.mean().item(), "n_images": len(errors)}
        | {"se": (errors.std() / len(errors) ** 0.5).item()}
        for sigma, errors in zip(sigmas, cache.cached("curves", (network, sigmas), make).tensors["errors"], strict=True)
    ]


@torch.no_grad()
def _errors(network: Trained, model: Model, index: int, sigma: float) -> Tensor:
    """Relative errors (n,) at one level, with one draw of noise per image, the same for all networks."""
    images, device, errors = data_of(network.data), network.machine.device, list[Tensor]()
    x0 = images.standardised()[images.n_training(network.held_out) :][:MAX_IMAGES]
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(block_seed(0, index)))
    for clean, unit in zip(x0.split(AT_ONCE), noise.split(AT_ONCE), strict=True):
        clean, unit = clean.to(device), unit.to(device)
        with computing_in(network.machine.precision, device):
            eps = model(clean + sigma * unit, clean.new_full((len(clean),), sigma))
        errors.append((eps.float() - unit).square().flatten(1).mean(dim=1).cpu())
    return torch.cat(errors).double() * (1 + sigma**2)


def curve_rows(networks: Iterable[Network], cache: Cache) -> list[Row]:
    """Rows of curves.csv."""
    rows = list[Row]()
    for network in (network for network in networks if isinstance(network, Trained)):
        shared: Row = {"model_id": identity(network), "train_noise": network.noise.name, "train_seed": network.seed}
        shared |= {name: getattr(network, name) for name in ("weighting", "parameterisation", "images_seen")}
        rows += [shared | point for point in error_rows(network, cache)]
    return rows


def density_rows(networks: Iterable[Network]) -> list[Row]:
    """Rows of densities.csv: the noise distributions of training, as densities of ln sigma."""
    log_sigmas = torch.tensor(DENSITY_LEVELS, dtype=torch.float64).log()
    return [
        {"train_noise": noise.name, "sigma": sigma, "density": value}
        for noise in dict.fromkeys(network.noise for network in networks if isinstance(network, Trained))
        for sigma, value in zip(DENSITY_LEVELS, noise.log_density(log_sigmas).exp().tolist(), strict=True)
    ]
