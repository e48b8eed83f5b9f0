"""A user's own images: `folder:PATH` (all files below a folder) and `npz:PATH` (arrays that numpy saved).

Every file that is not hidden must be one image, or all are refused; labels must be labels.

Both forms may carry a fingerprint, `folder:PATH@0123456789ab`: a hash of the pixels and labels as they are used. It
changes a run's identity when the files change. Without a fingerprint the name means the current content of the files.

All images must be square and of one size. Images above 32x32 are reduced to 32x32 with Pillow's bicubic filter. The
filter widens with the reduction, so it does not alias (Parmar, Zhang & Zhu 2022, arXiv 2104.11222, compare such
filters). Smaller images are padded with zeros, like the other data sets. `folder64:PATH` and `npz64:PATH` do the same
with 64x64, or any other size from 8 to 1024, for networks trained elsewhere. Images are grey if red, green and blue
agree at every pixel of every image, else RGB. Transparent pixels are laid over black, the colour of the padding.

The images come in a random order, always the same (`random_order`), because files are often sorted by class. Then the
first and the last images have all classes. This matters where some images stand for the whole data set: held-out
images, the references of precision and recall, and the images that `check` denoises. Labels move with their images.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion_core.data_files import Pixels, read_folder, read_npz
from diffusion_core.networks.small import SIDE

SIDES = (8, 1024)  # the smallest and the largest
ORDER_SEED = 20_240_229  # of the random order of the images


class UserData(NamedTuple):
    """The parts of a name `KIND:PATH` or `KIND:PATH@FINGERPRINT`; `kind` is folder or npz, with a size if one is given.

    `side` is the size: that of the images as they are used.
    """

    kind: str
    path: str
    fingerprint: str | None
    side: int


def parse(name: str) -> UserData | None:
    """The parts of a name of a user's own data; None for any other name. Reads no file.

    Raises:
        ValueError: a size out of range.
    """
    match = re.fullmatch(r"((?:folder|npz)(\d*)):(.+?)(?:@([0-9a-f]{12}))?", name)
    if match is None:
        return None
    side = int(match[2] or SIDE)
    if not SIDES[0] <= side <= SIDES[1]:
        raise ValueError(f"data={name!r}: images of {side}x{side}; the size must be from {SIDES[0]} to {SIDES[1]}")
    return UserData(match[1], match[3], match[4], side)


def read(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The images and labels of a user's data set, in `random_order`; `parse` must accept the name.

    Before that, the order is that of the relative paths in a folder, or that of the array in a .npz file.

    Returns:
        pixels uint8 (n, C, H, H) with C 1 or 3 and H at most the size in the name, and labels int64 (n,).

    Raises:
        ValueError: no such path, no images, a file that cannot be read, images of the wrong size, or bad labels.
    """
    data = parse(name)
    assert data is not None
    read_files = read_folder if data.kind.startswith("folder") else read_npz
    try:
        images, labels = read_files(Path(data.path).expanduser(), data.side)
    except (ValueError, OSError) as error:
        raise ValueError(f"data={name!r}: {error}") from error
    order = random_order(len(images))
    return _channels_first(images[order]), torch.from_numpy(labels[order])


def random_order(n: int) -> NDArray[np.intp]:
    """The order (n,) in which n images of a user are used: image `order[i]` of the files becomes image i.

    It sorts the raw output of the generator PCG64, which numpy guarantees to be the same on all machines and in all
    versions, as its own permutations are not.
    """
    return np.random.PCG64(ORDER_SEED).random_raw(n).argsort(kind="stable")


def fingerprint(pixels: torch.Tensor, labels: torch.Tensor) -> str:
    """First 12 hex digits of the SHA-256 of the shape and bytes of the pixels, or values, and the labels."""
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    digest.update(pixels.numpy().tobytes())
    digest.update(labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()[:12]


def _channels_first(images: Pixels) -> torch.Tensor:
    """Images (n, H, H) or (n, H, H, C) as (n, C, H, H), with one channel if all three agree everywhere."""
    if images.ndim == 3:
        images = images[..., None]
    if (images == images[..., :1]).all():
        images = images[..., :1]
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, 3, 1)))
