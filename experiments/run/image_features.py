"""Images become features, for sweeps and for `score`, which keeps them under the content of the images.

Every extractor resizes each image itself, as torch-fidelity's do (inception-v3-compat to 299x299 as TensorFlow 1 did).
Only `digits` gets all images as 32x32, like the data sets here: smaller ones are padded, larger ones reduced.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from diffusion_core.data import SIDE
from diffusion_core.data.readers import Pixels, Traits, check_pixel_range, is_coloured, reduce_image
from experiments.console import ProgressCallback, silent
from experiments.distances.feature_spaces import PYTHON
from experiments.distances.texture import texture
from experiments.run.cache import Cache, TensorsAndFacts
from experiments.run.machine import cores
from experiments.user.features import batch_size, check_features_repeatable, features_id, open_extractor

SMALL = 64 * 64 * 3  # bytes of an image, below which one thread reads as fast as several, and leaves the cores alone
VERSION = 3  # of what is stored
PART = 8  # items that a thread takes at once: handing over single ones costs as much as reading a small image
X = TypeVar("X")
Y = TypeVar("Y")


@dataclass(frozen=True)
class ImageSet:
    name: str  # what the user called them
    n: int
    content: str  # a hash of all that they hold
    load: Callable[[int], tuple[Pixels, Traits]]  # image i as uint8 (H, W) or (H, W, C), and its traits
    names: tuple[str, ...] | None = None  # of each image: the path of its file without suffix, or its seed and number
    data: str = ""  # the name of the data set that they are
    clips: bool = False  # whether they are frames of clips, named CLIP/FRAME

    @classmethod
    def of_array(cls, name: str, images: Pixels, **more: Any) -> "ImageSet":
        """From uint8 (n, H, W) or (n, H, W, C); `more`: the other fields."""
        digest = hashlib.sha256(repr(images.shape).encode())
        for image in images:
            digest.update(np.ascontiguousarray(image).tobytes())

        def load(index: int) -> tuple[Pixels, Traits]:
            image = np.asarray(images[index])
            return image, np.array([False, False, False, is_coloured(image)])

        return cls(name, len(images), digest.hexdigest(), load, **more)

    def read(self, index: int) -> Pixels:
        """Image i as uint8 (H, W) or (H, W, C)."""
        return self.load(index)[0]


@dataclass(frozen=True)
class FeatureSpace:
    """A feature space, its weights file if it is not the usual one, and the device on which it is computed."""

    name: str
    weights: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class ImageFeatures:
    features: NDArray[np.float32]  # (n, d)
    texture: NDArray[np.float64]  # (n,), see distances/texture.py; NaN for images that are too small
    sizes: NDArray[np.int64]  # (n, 2) height and width
    digests: NDArray[np.int64]  # (n,), of pixels: those of equal images are equal
    traits: Traits  # (n, 4)

    @classmethod
    def of_rows(cls, features: NDArray[np.float32]) -> "ImageFeatures":
        """Of features that the user computed: equal rows count as equal images."""
        digests, n = np.array([_digest(row) for row in features]), len(features)
        return cls(features, np.full(n, np.nan), np.zeros((n, 2), np.int64), digests, np.zeros((n, 4), bool))

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of all images, or None if they differ."""
        same = (self.sizes == self.sizes[0]).all()
        return (int(self.sizes[0, 0]), int(self.sizes[0, 1])) if same else None

    def at(self, indices: NDArray[np.intp]) -> "ImageFeatures":
        return ImageFeatures(*(values[indices] for values in vars(self).values()))


def feature_key(images: ImageSet, space: FeatureSpace) -> tuple[str, str, str, int]:
    """What features of images are stored under: both, by their contents. ValueError as in `features_id`."""
    return images.content, space.name, features_id(space.name, space.weights), VERSION


def stored_features(
    images: ImageSet, space: FeatureSpace, store: Cache, after_batch: ProgressCallback = silent
) -> ImageFeatures:
    """Features and texture of all images, from the store, or computed now.

    ValueError if an image cannot be read or does not suit the feature space, or a user's features are not repeatable.
    """

    def make() -> TensorsAndFacts:
        if space.name.startswith(PYTHON):
            _, pixels, _ = next(batches(images, range(min(images.n, batch_size(space.name))), batch_size(space.name)))
            check_features_repeatable(space.name, prepare_pixels(pixels, space.name, images.name))
        found = compute_features(images, range(images.n), space, after_batch)
        return {name: torch.from_numpy(value) for name, value in vars(found).items()}, {}

    file = store.load_or_make("features", feature_key(images, space), make)
    return ImageFeatures(**{name: tensor.numpy() for name, tensor in file.tensors.items()})


def compute_features(
    images: ImageSet, chosen: Sequence[int], space: FeatureSpace, after_batch: ProgressCallback = silent
) -> ImageFeatures:
    """Features and texture of some images. `after_batch`: called with the number of images of each batch."""
    layers, name, n = open_extractor(space.name, space.weights, space.device), space.name, len(chosen)
    features: list[Tensor] = [torch.empty(0)] * n
    grain, sizes = np.full(n, np.nan), np.zeros((n, 2), dtype=np.int64)
    digests, traits, largest = np.zeros(n, dtype=np.int64), np.zeros((n, 4), dtype=bool), 0
    for indices, pixels, own in batches(images, chosen, batch_size(name, space.device)):
        for index, row in zip(indices, layers(prepare_pixels(pixels, name, images.name))[0].cpu(), strict=True):
            features[index] = row
        sizes[indices], digests[indices] = pixels.shape[2:], [_digest(image) for image in pixels.numpy()]
        traits[indices], largest = own, max(largest, int(pixels.max()))
        if min(pixels.shape[2:]) > 1:
            grain[indices] = texture(pixels)
        after_batch(len(indices))
    if n == images.n:
        check_pixel_range(largest, images.name)
    return ImageFeatures(torch.stack(features).numpy(), grain, sizes, digests, traits)


def _digest(values: NDArray[np.generic]) -> int:
    return int.from_bytes(hashlib.blake2b(values.tobytes(), digest_size=8).digest(), signed=True)


def batches(images: ImageSet, chosen: Sequence[int], size: int) -> Iterator[tuple[list[int], Tensor, Traits]]:
    """Places in `chosen` and the images there, uint8 (b, C, H, W), of one size in each batch, with their traits."""
    waiting: dict[tuple[int, ...], list[tuple[int, Pixels, Traits]]] = {}
    indices = [int(index) for index in chosen]
    threads = 1 if images.read(indices[0]).size < SMALL else 4
    for number, (image, traits) in enumerate(prefetch(images.load, indices, threads)):
        same = waiting.setdefault(image.shape, [])
        same.append((number, image, traits))
        if len(same) == size:
            yield _stack(waiting.pop(image.shape))
    for same in waiting.values():
        yield _stack(same)


def _stack(same: list[tuple[int, Pixels, Traits]]) -> tuple[list[int], Tensor, Traits]:
    indices, images, traits = zip(*same, strict=True)
    stacked = np.stack(images)
    stacked = stacked[..., None] if stacked.ndim == 3 else stacked
    pixels = torch.from_numpy(np.moveaxis(stacked, 3, 1))  # of other strides a convolution rounds differently
    return list(indices), pixels.clone(memory_format=torch.contiguous_format), np.stack(traits)


def prefetch(work: Callable[[X], Y], items: Sequence[X], most: int = 4) -> Iterator[Y]:
    """work(item) for each item, in their order. At most `most` threads work ahead, and one for each core."""
    threads = min(most, cores())
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, len(items), PART)
        parts = (pool.submit(lambda part: list(map(work, part)), items[start : start + PART]) for start in starts)
        under_way = deque(islice(parts, 2 * threads + 2))
        try:
            while under_way:
                yield from under_way.popleft().result()
                under_way.extend(islice(parts, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def prepare_pixels(pixels: Tensor, features: str, images: str, from_user: bool = True) -> Tensor:
    """Pixels (b, C, H, W) as a feature space takes them: `digits` grey 32x32, others three channels if `from_user`.

    `images`: their name. A user's grey images are RGB, since other sets may have colours. ValueError for coloured or
    oblong images if it is `digits`.
    """
    if features != "digits":
        return pixels.expand(-1, 3, -1, -1) if from_user else pixels
    if (pixels != pixels[:, :1]).any():
        raise ValueError(
            f"{images}: its images have colours, but features='digits' knows grey digits only; use natural"
        )
    height, width = pixels.shape[2:]
    if height != width:
        raise ValueError(f"{images}: images of {width}x{height}, but features='digits' needs square ones")
    grey = pixels[:, :1]
    if height > SIDE:
        return torch.from_numpy(np.stack([reduce_image(image.numpy(), SIDE) for image in grey[:, 0]]))[:, None]
    before, after = (SIDE - height) // 2, SIDE - height - (SIDE - height) // 2
    return pad(grey, (before, after, before, after))
