"""Images of a user, and how they are saved."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffusion_core.data.dataset import Images
from diffusion_core.data.load import load, resolve

MEAN, STD = 40.0, 70.0


def random_pixels(*shape: int) -> NDArray[np.uint8]:
    """Random values of pixels."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


GREY = random_pixels(4, 28, 28)
RGB = random_pixels(4, 32, 32, 3)


def black(side: int, channels: int = 1) -> Images:
    """Two black images. Mean and standard deviation are those of another set, so that no scale is 1."""
    return Images("mine", torch.zeros(2, channels, side, side, dtype=torch.uint8), torch.zeros(2), MEAN, STD)


def save(path: Path, pixels: NDArray[np.generic], **how: Any):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)


def npz(path: Path, **arrays: NDArray[np.generic]) -> str:
    np.savez(path / "x.npz", **arrays)  # type: ignore[arg-type]  # numpy's stubs take the arrays for allow_pickle
    return f"npz:{path / 'x.npz'}"


def few_digits(path: Path) -> str:
    """The name of a data set of 120 real digits, whose features are there at once."""
    return resolve(npz(path, images=load("mnist5k").pixels[:120, 0].numpy()))
