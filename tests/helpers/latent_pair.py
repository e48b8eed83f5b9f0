"""An autoencoder of digits of 32x32 to latents of 4x8x8, and the exact network of these latents: as users have them.

`write` makes the file; this module is then named as --network python:latent_pair:NAME in its folder.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion_core import adapters, load
from diffusion_core.data.dataset import Values
from diffusion_core.exact import Empirical

FILE = "latents.npz"
N_IMAGES = 1_500  # digits, of which there are 5,000


class Autoencoder(nn.Module):
    """Images uint8 of latents: 3 times the means of 2x2 pixels in [-1, 1], and 1 more."""

    def encode(self, images: Tensor) -> Tensor:
        return 3 * functional.pixel_unshuffle(functional.avg_pool2d(images, 2), 2) + 1

    def forward(self, latents: Tensor) -> Tensor:
        small = functional.pixel_shuffle((latents - 1) / 3, 2)
        return ((functional.interpolate(small, scale_factor=2) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def write(folder: Path):
    """Writes the latents of the digits, with their classes."""
    data = load("mnist5k")
    latents = Autoencoder().encode(data.pixels[:N_IMAGES].float() / 127.5 - 1)
    np.savez(folder / FILE, latents=latents.numpy(), labels=data.labels[:N_IMAGES].numpy())


@cache
def _loaded() -> tuple[Values, Empirical]:
    data = load(f"latents:{FILE}")
    assert isinstance(data, Values)
    return data, Empirical(data.standardised())


def __getattr__(name: str) -> adapters.Adapter:
    """The adapters, made in the folder of the file when they are asked for."""
    data, exact = _loaded()

    def net(z: Tensor, sigma: Tensor) -> Tensor:
        """eps of latents z in their own units, told the noise level in these units."""
        return exact((z - data.mean) / data.std, sigma / data.std)

    made = {
        "right": lambda: adapters.edm(net, data, predicts="eps", decode=Autoencoder()),
        "unscaled": lambda: adapters.edm(lambda z, t: net(z / 0.18215, t / 0.18215), data, predicts="eps"),
        "bare": lambda: adapters.edm(net, data, predicts="eps"),
        "floats": lambda: adapters.edm(net, data, predicts="eps", decode=lambda z: z),
    }
    if name not in made:
        raise AttributeError(name)
    return made[name]()
