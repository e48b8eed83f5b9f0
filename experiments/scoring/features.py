"""Features and texture of a set of images, kept in the store under the content of the images and of the extractor.

Every extractor resizes images itself, as torch-fidelity's do (inception-v3-compat to 299x299 as TensorFlow 1 did). Only
`digits` gets all images as 32x32, like the data sets here: smaller ones are padded, larger ones reduced. Images of
several sizes are therefore no difficulty: each is resized by itself.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from diffusion_core.data_files import Pixels, check_range
from diffusion_core.networks.small import SIDE
from experiments.distances.spaces import PYTHON
from experiments.distances.texture import RealTexture, texture
from experiments.own.features import check_features_repeatable, features_id, opened, usual_batch
from experiments.run.cache import Cache, TensorsAndFacts
from experiments.run.spot_check import check_same, sample_indices
from experiments.scoring.inputs import ImageSet
from experiments.scoring.progress import ahead, steps

SMALL = 64 * 64 * 3  # bytes of an image, below which one thread reads as fast as several, and leaves the cores alone
CURVE, CURVE_BYTES = 1000, 2**22  # real images of which the texture with noise is measured, and their size


@dataclass(frozen=True)
class Described:
    """What is measured of the images of a set.

    Args:
        features: float32 (n, d).
        texture: float64 (n,), see distances/texture.py; NaN for images that are too small.
        sizes: (n, 2) height and width.
        digests: int64 (n,), of pixels: those of equal images are equal.
    """

    features: NDArray[np.float32]
    texture: NDArray[np.float64]
    sizes: NDArray[np.int64]
    digests: NDArray[np.int64]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of all images, or None if they differ."""
        same = (self.sizes == self.sizes[0]).all()
        return (int(self.sizes[0, 0]), int(self.sizes[0, 1])) if same else None

    def at(self, indices: NDArray[np.intp]) -> "Described":
        """Those of some images."""
        return Described(*(values[indices] for values in vars(self).values()))


@dataclass(frozen=True)
class Extractor:
    """A feature space, its weights file if it is not the usual one, and the device on which it is computed."""

    name: str
    weights: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Measured:
    """What features and texture are of: images and an extractor, by their contents."""

    images: str
    features: str
    features_id: str
    version: int = 2  # of what is stored


def describe(images: ImageSet, extractor: Extractor, store: Cache) -> Described:
    """Features and texture of all images, from the store if a few, computed again, are as they are there.

    ValueError, which names the image, if one cannot be read or does not suit the extractor.
    """
    config = Measured(images.content, extractor.name, features_id(extractor.name, extractor.weights))

    def make() -> TensorsAndFacts:
        described = _measured(images, range(images.n), extractor)
        return {name: torch.from_numpy(value) for name, value in vars(described).items()}, {}

    if (stored := store.read("features", config)) is not None:
        chosen = sample_indices(images.n, 1)
        again = torch.from_numpy(_measured(images, chosen, extractor).features)
        what, remedy = f"features {config.features}", "name another --store"
        check_same(what, images.name, again, stored.tensors["features"][chosen], remedy=remedy)
    file = stored or store.cached("features", config, make)
    return Described(**{name: tensor.numpy() for name, tensor in file.tensors.items()})


def real_texture(images: ImageSet, order: NDArray[np.intp]) -> tuple[RealTexture, float]:
    """The texture of real images of one size with noise, from the first of an order; and their SD in grey levels."""
    first = images.read(int(order[0]))
    n = max(min(CURVE, CURVE_BYTES // first.size), 20)
    ((_, pixels),) = batches(images, order[:n].tolist(), n)
    std = float(pixels.double().std())
    return RealTexture.of(pixels, std), std


def _measured(images: ImageSet, chosen: Sequence[int], extractor: Extractor) -> Described:
    """Features and texture of some images, computed."""
    layers, name = opened(extractor.name, extractor.weights, extractor.device), extractor.name
    features: list[Tensor] = [torch.empty(0)] * len(chosen)
    grain, sizes = np.full(len(chosen), np.nan), np.zeros((len(chosen), 2), dtype=np.int64)
    digests = np.zeros(len(chosen), dtype=np.int64)
    checked, largest = not name.startswith(PYTHON), 0
    with steps(len(chosen) / usual_batch(name)) as step:
        for places, pixels in batches(images, chosen, usual_batch(name)):
            step(f"{name} features of {images.name}")
            suited, largest = suit(pixels, name, images.name), max(largest, int(pixels.max()))
            if not checked:
                check_features_repeatable(name, suited)
                checked = True
            for place, row in zip(places, layers(suited)[0], strict=True):
                features[place] = row
            sizes[places], digests[places] = pixels.shape[2:], [digest(image.tobytes()) for image in pixels.numpy()]
            if min(pixels.shape[2:]) > 1:
                grain[places] = texture(pixels)
    if len(chosen) == images.n:
        check_range(largest, images.name)
    return Described(torch.stack(features).numpy(), grain, sizes, digests)


def digest(content: bytes) -> int:
    """Eight bytes of a hash."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), signed=True)


def batches(images: ImageSet, chosen: Sequence[int], size: int) -> Iterator[tuple[list[int], Tensor]]:
    """Places in `chosen` and the images there, uint8 (b, C, H, W), of one size in each batch. Threads read ahead."""
    waiting: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
    indices = [int(index) for index in chosen]
    threads = 1 if images.read(indices[0]).size < SMALL else 4
    for place, image in enumerate(ahead(images.read, indices, threads)):
        same = waiting.setdefault(image.shape, [])
        same.append((place, image))
        if len(same) == size:
            yield _batch(waiting.pop(image.shape))
    for same in waiting.values():
        yield _batch(same)


def _batch(same: list[tuple[int, Pixels]]) -> tuple[list[int], Tensor]:
    places, images = zip(*same, strict=True)
    stacked = np.stack(images)
    stacked = stacked[..., None] if stacked.ndim == 3 else stacked
    return list(places), torch.from_numpy(np.ascontiguousarray(np.moveaxis(stacked, 3, 1)))


def suit(pixels: Tensor, features: str, name: str) -> Tensor:
    """Pixels (b, C, H, W) as a feature space takes them: `digits` grey 32x32, all others with three channels.

    ValueError for coloured or oblong images if it is `digits`.
    """
    if features != "digits":
        return pixels.expand(-1, 3, -1, -1)
    if (pixels != pixels[:, :1]).any():
        raise ValueError(f"{name}: its images have colours, but features='digits' knows grey digits only; use natural")
    height, width = pixels.shape[2:]
    if height != width:
        raise ValueError(f"{name}: images of {width}x{height}, but features='digits' needs square ones")
    grey = pixels[:, :1]
    if height > SIDE:
        reduced = [
            Image.fromarray(image.numpy()).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for image in grey[:, 0]
        ]
        return torch.from_numpy(np.stack([np.asarray(image) for image in reduced]))[:, None]
    before, after = (SIDE - height) // 2, SIDE - height - (SIDE - height) // 2
    return pad(grey, (before, after, before, after))
