"""Images become features in any feature space, by its name: ours (distances/features.py), or python:MODULE:FUNCTION.

    def extract(pixels):            # torch.uint8 (n, C, H, W) with C 1 or 3, on the CPU
        return my_network(pixels)   # a tensor or an array (n, d) of finite numbers

A user's function may be an instance that can be called, such as a network, which is then set to evaluation. An image
must have the same features in any batch.

Every extractor resizes each image itself, as torch-fidelity's do (inception-v3-compat to 299x299 as TensorFlow 1 did).
Only `digits` gets all images as 32x32, like the data sets here: smaller ones are padded, larger ones reduced. `score`
keeps features under the content of the images.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from diffusion_core.data import SIDE
from diffusion_core.data.readers import Pixels, Traits, check_pixel_range, is_coloured, reduce_image
from experiments.console import ProgressCallback, silent
from experiments.distances.feature_spaces import FEATURES, PYTHON, check_feature_space
from experiments.distances.features import check_pixels, load_extractor, weights_file
from experiments.distances.texture import texture
from experiments.run.cache import Cache, TensorsAndFacts
from experiments.run.machine import cores
from experiments.user import imports
from experiments.user.imports import user_code_errors
from experiments.user.repeatable import check_repeatable

SMALL = 64 * 64 * 3  # bytes of an image, below which one thread reads as fast as several, and leaves the cores alone
VERSION = 3  # of what is stored
PART = 8  # items that a thread takes at once: handing over single ones costs as much as reading a small image
ALIKE = 0.001  # of the size of a row: by so much may it differ with the batch, by rounding
ALIKE_BF16 = 0.005  # of the mean row, where a row itself may differ by one unit in the last place, 0.8 %
DOMINANT = 0.99  # of the variance of all features: one that has more decides alone
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
        n = len(features)
        digests = np.array([_digest(row) for row in features])
        return cls(features, np.full(n, np.nan), np.zeros((n, 2), np.int64), digests, np.zeros((n, 4), bool))

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of all images, or None if they differ."""
        height, width = self.sizes[0].tolist()
        return (height, width) if (self.sizes == self.sizes[0]).all() else None

    def at(self, indices: NDArray[np.intp]) -> "ImageFeatures":
        return ImageFeatures(*(values[indices] for values in vars(self).values()))


def dimension(name: str, pixels: Tensor) -> int:
    """The number of features per image. ValueError as in `extract`."""
    check_feature_space(name)
    return FEATURES[name].dimension if name in FEATURES else extract(name, pixels[:1])[0].shape[1]


def features_id(name: str, weights: Path | None = None) -> str:
    """First 12 hex digits of the SHA-256 of the extractor's weights file, or of the text of a user's code."""
    if name.startswith(PYTHON):
        if weights is not None:
            raise ValueError(f"feature_weights={str(weights)!r}: {name} reads its own weights")
        return imports.code_hash(name.removeprefix(PYTHON), PYTHON)
    with weights_file(name, weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def extract(name: str, pixels: Tensor, *, weights: Path | None = None) -> tuple[Tensor, Tensor | None]:
    """Features of images float32 (n, d), and for `digits` class logits float32 (n, 10), both on the CPU.

    Args:
        name: one of `FEATURES`, or python:MODULE:FUNCTION.
        pixels: uint8 (n, C, H, W) with C 1 or 3, on any device; grey is repeated to three channels. `digits` needs
            (n, 1, 32, 32).
        weights: a weights file in the extractor's own format, instead of the committed, installed or downloaded file.

    ValueError for an unknown name, a wrong dtype or shape, no images, weights that are missing or not the extractor's,
    a package that is not installed, or a user's function that fails.
    """
    check_feature_space(name)
    check_pixels(pixels, name)
    if len(pixels) == 0:
        raise ValueError("pixels has 0 images; at least one is needed")
    batches_of_layers = map(open_extractor(name, weights), pixels.split(batch_size(name)))
    layers = [torch.cat(layer) for layer in zip(*batches_of_layers, strict=True)]
    return layers[0], layers[1] if name == "digits" else None


def batch_size(name: str, device: str = "cpu") -> int:
    """Images per batch. All but `digits` work at 64x64 and above: on a CPU, small batches stay in the cache."""
    return 25 if device == "cpu" and name != "digits" else 500


def open_extractor(
    name: str, weights: Path | None = None, device: torch.device | str = "cpu"
) -> Callable[[Tensor], list[Tensor]]:
    """The extractor as a function from pixels to its layers on the device. Arguments and errors as `extract`."""
    from_user = name.startswith(PYTHON)
    network: Any = load_function(name) if from_user else load_extractor(name, weights_file(name, weights)).to(device)

    def layers(pixels: Tensor) -> list[Tensor]:
        check_pixels(pixels, name)
        # TF32 convolutions (PyTorch's default on CUDA) keep 10 bits, and their rounding differs with the batch size.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            if from_user:
                return [feature_rows(name, network, pixels.cpu()).to(device)]
            if name != "digits":
                pixels = pixels.expand(-1, 3, -1, -1)
            return list(network(pixels.to(device)))

    return layers


def load_function(name: str) -> Any:
    """The user's function, or network in evaluation, of python:MODULE:FUNCTION."""
    function = imports.load_object(name.removeprefix(PYTHON), PYTHON, of="features ")
    return function.eval() if isinstance(function, nn.Module) else function


def feature_rows(name: str, function: Any, pixels: Tensor) -> Tensor:
    """Calls the function on uint8 pixels (n, C, H, W), and returns its features, float32 (n, d) on the CPU.

    ValueError if it raises an error, or if what it returns is not one row of finite numbers for each image.
    """
    with user_code_errors(f"features {name}", ValueError):
        out = torch.as_tensor(function(pixels.clone())).detach().float().cpu()
    if out.ndim != 2 or len(out) != len(pixels) or out.shape[1] == 0:
        returned = f"it returned {tuple(out.shape)} for pixels {tuple(pixels.shape)}"
        raise ValueError(f"features {name}: {returned}; it must be (n, d), one row for each image")
    if not out.isfinite().all():
        raise ValueError(f"features {name}: a row has a number that is not finite")
    return out


def check_features_repeatable(name: str, pixels: Tensor) -> Tensor:
    """The rows of pixels (n, C, H, W). ValueError if a user's features depend on more than their image.

    Of features that are rounded to bf16, means over images are compared, which rounding hardly changes.
    """
    rows_of = partial(feature_rows, name, load_function(name))
    rows = rows_of(pixels)
    rounded = torch.equal(rows.bfloat16().float(), rows)
    tolerance = ALIKE_BF16 if rounded else ALIKE
    return check_repeatable(
        f"features {name}", lambda which: rows_of(pixels[which]), len(pixels), tolerance, of_means=rounded
    )


def dominant_feature(features: NDArray[np.float32]) -> str:
    """A warning if one of features (n, d) varies so much more than all others that it decides alone; else ""."""
    variances = features.var(axis=0, dtype=np.float64)
    largest = int(variances.argmax())
    total = float(variances.sum())
    if len(variances) == 1 or variances[largest] <= DOMINANT * total:
        return ""
    return (
        f"feature {largest} has {100 * variances[largest] / total:.4g} % of the variance of all {len(variances)}, "
        "so it decides alone: divide each feature by its standard deviation over real images"
    )


def feature_key(images: ImageSet, space: FeatureSpace) -> tuple[str, str, str, int]:
    """The key that features are stored under: the contents of images and extractor. ValueError as in `features_id`."""
    return images.content, space.name, features_id(space.name, space.weights), VERSION


def stored_features(
    images: ImageSet, space: FeatureSpace, store: Cache, after_batch: ProgressCallback = silent
) -> ImageFeatures:
    """Features and texture of all images, from the store, or computed now.

    ValueError if an image cannot be read or does not suit the feature space, or a user's features are not repeatable.
    """

    def make() -> TensorsAndFacts:
        if space.name.startswith(PYTHON):
            size = batch_size(space.name)
            _, pixels, _ = next(batches(images, range(min(images.n, size)), size))
            check_features_repeatable(space.name, prepare_pixels(pixels, space.name, images.name))
        measured = compute_features(images, range(images.n), space, after_batch)
        return {name: torch.from_numpy(values) for name, values in vars(measured).items()}, {}

    file = store.load_or_make("features", feature_key(images, space), make)
    return ImageFeatures(**{name: tensor.numpy() for name, tensor in file.tensors.items()})


def compute_features(
    images: ImageSet, chosen: Sequence[int], space: FeatureSpace, after_batch: ProgressCallback = silent
) -> ImageFeatures:
    """Features and texture of some images. `after_batch`: called with the number of images of each batch."""
    layers = open_extractor(space.name, space.weights, space.device)
    n = len(chosen)
    features: list[Tensor] = [torch.empty(0)] * n
    grain = np.full(n, np.nan)
    sizes = np.zeros((n, 2), dtype=np.int64)
    digests = np.zeros(n, dtype=np.int64)
    traits = np.zeros((n, 4), dtype=bool)
    largest = 0
    for indices, pixels, of_batch in batches(images, chosen, batch_size(space.name, space.device)):
        rows = layers(prepare_pixels(pixels, space.name, images.name))[0].cpu()
        for index, row in zip(indices, rows, strict=True):
            features[index] = row
        sizes[indices] = pixels.shape[2:]
        digests[indices] = [_digest(image) for image in pixels.numpy()]
        traits[indices] = of_batch
        largest = max(largest, int(pixels.max()))
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
    for index, (image, traits) in enumerate(prefetch(images.load, indices, threads)):
        batch = waiting.setdefault(image.shape, [])
        batch.append((index, image, traits))
        if len(batch) == size:
            yield _stack(waiting.pop(image.shape))
    yield from map(_stack, waiting.values())


def _stack(batch: list[tuple[int, Pixels, Traits]]) -> tuple[list[int], Tensor, Traits]:
    indices, images, traits = zip(*batch, strict=True)
    stacked = np.stack(images)
    stacked = stacked[..., None] if stacked.ndim == 3 else stacked
    pixels = torch.from_numpy(np.moveaxis(stacked, 3, 1))  # of other strides a convolution rounds differently
    return list(indices), pixels.clone(memory_format=torch.contiguous_format), np.stack(traits)


def prefetch(work: Callable[[X], Y], items: Sequence[X], most: int = 4) -> Iterator[Y]:
    """work(item) for each item, in their order. At most `most` threads work ahead, and one for each core."""
    threads = min(most, cores())
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, len(items), PART)
        futures = (pool.submit(lambda some: list(map(work, some)), items[start : start + PART]) for start in starts)
        under_way = deque(islice(futures, 2 * threads + 2))
        try:
            while under_way:
                yield from under_way.popleft().result()
                under_way.extend(islice(futures, 1))
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
    before = (SIDE - height) // 2
    after = SIDE - height - before
    return pad(grey, (before, after, before, after))
