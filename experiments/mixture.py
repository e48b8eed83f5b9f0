"""A known law that resembles a data set: a mixture of Gaussians fitted to it, whose exact denoiser is closed-form.

mixture_stage  mixtures/ID/  mixture.safetensors (float64), config.json, meta.json

Its draws are not a named data set of `data.py`, on purpose. `Images` holds uint8 pixels, and rounding and clipping
draws to 0..255 makes another law, of which the mixture's denoiser is not exact: the digits' background is black up to
the mixture's isotropic noise, half of which would be cut off (for the default fit 43 % of all pixels would be clipped,
and the standard deviation would fall from 1 to 0.87). So the draws stay float tensors, in the standardised units of the
data that the mixture was fitted to, and `Images.to_pixels` is for looking at them and for scoring.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusion_core.block_noise import block_seed
from diffusion_core.data import Images, check_name
from diffusion_core.exact_fit import fit_mixture
from diffusion_core.exact_mixture import Mixture
from experiments.config import canonical, identity
from experiments.stages import images_of
from experiments.store import Store, write_json

DRAWN_AT_ONCE = 1000


@dataclass(frozen=True)
class MixtureConfig:
    """One fit, see exact_fit.fit_mixture."""

    data: str = "mnist5k"
    n_components: int = 20
    rank: int = 32  # of each covariance beyond its isotropic part
    min_std: float = 0.05  # least isotropic standard deviation, data units
    em_steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.data)
        for name, least in (("n_components", 1), ("rank", 1), ("em_steps", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: it must be at least {least}")
        if not self.min_std > 0:
            raise ValueError(f"min_std={self.min_std}: it must be above 0")


def mixture_stage(config: MixtureConfig, store: Store, data_root: Path | None = None) -> str:
    """Fits a mixture to all training images of a data set and stores its parameters. Returns its identity."""
    name = identity(config)
    if store.has("mixtures", name):
        return name
    x0 = images_of(config.data, data_root).standardised()
    start = time.perf_counter()
    mixture = fit_mixture(
        x0, config.n_components, config.rank, config.seed, min_std=config.min_std, em_steps=config.em_steps
    )
    seconds = time.perf_counter() - start
    with store.writing("mixtures", name) as folder:
        save_file(mixture.state_dict(), folder / "mixture.safetensors")
        write_json(folder / "config.json", canonical(config))
        finished_at = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / "meta.json", {"fit_seconds": seconds, "finished_at": finished_at})
    return name


def load_mixture(config: MixtureConfig, store: Store) -> Mixture:
    """The stored mixture, in float64 on the CPU; `.float().to(device)` for speed. It keeps the model contract.

    Raises:
        ValueError: it has not been fitted yet.
    """
    name = identity(config)
    if not store.has("mixtures", name):
        raise ValueError(f"mixture {name} of data={config.data!r} is not in {store.root}: run mixture_stage first")
    return Mixture(**load_file(store.path("mixtures", name) / "mixture.safetensors"))


def mixture_images(mixture: Mixture, images: Images, n: int, seed: int, *, first: int = 0) -> Tensor:
    """Clean draws `first` to `first + n - 1` of a seed, in standardised units, unrounded and unclipped.

    Draw i of a seed is the same whatever else is drawn. Take training, test and reference draws from different seeds.

    Args:
        mixture: in the dtype and on the device in which to draw; float32 draws differ from float64's.
        images: what it was fitted to, for the shape (C, H, W).

    Returns:
        (n, C, H, W) float32, on the mixture's device.
    """
    device = mixture.means.device
    parts = []
    for block in range(first // DRAWN_AT_ONCE, (first + n - 1) // DRAWN_AT_ONCE + 1):
        generator = torch.Generator(device).manual_seed(block_seed(seed, block))
        parts.append(mixture.sample(DRAWN_AT_ONCE, generator).float())
    start = first % DRAWN_AT_ONCE
    return torch.cat(parts)[start : start + n].view(n, *images.shape)
