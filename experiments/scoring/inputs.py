"""Inputs that can be scored: folders, .npz and .npy files, arrays, data sets, and samples of this project.

Images come in the order of their files or of their array, and are read when they are needed.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffusion_core.data import DATA_SETS, check_name
from diffusion_core.data.dataset import Images
from diffusion_core.data.load import load
from diffusion_core.data.readers import Pixels, Traits, image_files, images_among, read_arrays, read_image
from experiments.console import progress_bar
from experiments.run.cache import Cache, read_tensors
from experiments.run.image_features import ImageSet, prefetch
from experiments.user.json_io import read_json

SAMPLES = "samples:"  # prefix of the identity of samples in the store
ROUNDED = 1e-3  # of a column's standard deviation
OVER = 0.1  # of their range, by which images in floats may exceed it
CONSTANT = 1e-12  # of a column's largest value: a standard deviation below this is rounding


@dataclass(frozen=True)
class FeatureSet:
    """Features (n, d) that the user computed, or latents, flattened."""

    name: str
    features: NDArray[np.float32]
    names: None = None
    shape: tuple[int, ...] = ()  # (C, H, W) of latents
    hint: str = ""  # how to save them if they are images

    @property
    def n(self) -> int:
        return len(self.features)


Input = ImageSet | FeatureSet
Source = str | Path | NDArray[Any] | Tensor


def open_input(source: Source, store: Cache, name: str = "") -> Input:
    """The images or features that a user names; `name` is that of an array. Samples of this project lie in the store.

    ValueError, which names the file, if there is no such thing, or if it holds no images.
    """
    if np.ma.isMaskedArray(source):
        raise ValueError(f"{name}: it is a masked array, whose mask would be ignored; fill it first")
    if isinstance(source, Tensor):  # numpy reads it on the CPU, without gradients, and knows no bf16
        source = source.detach().cpu()
        source = (source.float() if source.is_floating_point() else source).numpy()
    if not isinstance(source, str | Path):
        return _of_array(name, np.asarray(source))
    text = str(source)
    try:
        if (images := _of_path(text, Path(source).expanduser(), store)) is not None:
            return images
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{text}: {' '.join(str(error).split()).removeprefix(f'{text}: ')}") from error
    try:
        check_name(text)
    except ValueError:
        raise ValueError(
            f"{text}: there is no such folder or file, and no data set of this name ({', '.join(DATA_SETS)})"
        ) from None
    data = load(text)
    if not isinstance(data, Images):
        raise ValueError(f"{text}: these are no images; score compares images")
    return ImageSet.of_array(text, data.pixels.permute(0, 2, 3, 1).numpy(), data=text)


def _of_path(text: str, path: Path, store: Cache) -> Input | None:
    """The images or features of a folder, a file, or samples; None if there are none of this name."""
    if text.startswith(SAMPLES):
        return _samples(text, {text.removeprefix(SAMPLES): ""}, store)
    if (path / "table.csv").is_file():
        return _samples(text, _samples_of_result(path), store)
    if path.is_dir():
        return _folder(text, path.absolute())  # wherever code of the user's goes
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    if path.suffix == ".npz":
        return ImageSet.of_array(text, images_among(arrays)[1])
    return _of_array(text, arrays["array"])


def has_no_images(source: Source, store: Cache) -> bool:
    """Whether it is a folder that `runs/*/` has beside the samples: the store, or the result of an earlier score."""
    if not isinstance(source, str | Path):
        return False
    folder = Path(source).expanduser()
    try:
        if folder.resolve() == store.root.resolve():
            return True
        return read_json(folder / "run.json").get("experiment") in ("score", "harmless")
    except (OSError, ValueError):
        return False


def _of_array(name: str, array: NDArray[Any]) -> Input:
    """Features if it holds floats in two dimensions, latents in four, else images, or frames of clips in five."""
    if array.ndim == 5 and array.dtype == np.uint8 and array.size:
        frames = images_among({"images": array.reshape(-1, *array.shape[2:])})[1]
        names = tuple(f"clip {clip}/frame {frame}" for clip, frame in np.ndindex(array.shape[:2]))
        return ImageSet.of_array(name, frames, names=names, clips=True)
    shape = array.shape[1:] if array.ndim == 4 and array.dtype.kind == "f" and array.size else ()
    array = array.reshape(len(array), -1) if shape else array
    if array.ndim != 2 or array.dtype.kind != "f":
        if array.dtype != np.uint8:
            raise ValueError(
                f"{name}: it is {array.dtype} {array.shape}; features are floats (n, d), images uint8 (n, H, W), "
                "(n, H, W, C) or (n, C, H, W), clips uint8 (n, T, H, W, C), latents floats (n, C, H, W)"
                f"{pixels_hint(array, array.shape[1:])}"
            )
        return ImageSet.of_array(name, images_among({"images": array})[1])
    with np.errstate(over="ignore"):  # it becomes infinite, and is refused
        features = np.asarray(array, dtype=np.float32)
    if not (finite := np.isfinite(features).all(axis=1)).all():
        raise ValueError(f"{name}: row {int(np.argmin(finite))} has a feature that is not finite in float32")
    if array.dtype.itemsize > 4:
        rounding = np.abs(features - array).max(axis=0)
        spread = array.std(axis=0)
        varies = spread > CONSTANT * np.abs(array).max(axis=0)
        if (rounding > ROUNDED * spread)[varies].any():
            raise ValueError(
                f"{name}: features are compared in float32, which rounds some by over {ROUNDED:g} standard deviations "
                "of their column; subtract the mean of the real features from all sets"
            )
    return FeatureSet(name, features, shape=shape, hint=pixels_hint(features, shape))


def standardise_latents(inputs: Sequence[Input], before: Input) -> tuple[tuple[Input, ...], str]:
    """Latents as features: flattened, each channel minus its mean in `before`, over its standard deviation there.

    Also what a reader should know; other inputs stay as they are, with "". ValueError if shapes differ, or a channel of
    `before` is constant.
    """
    latents = [source for source in inputs if isinstance(source, FeatureSet)]
    shapes = [source.shape if isinstance(source, FeatureSet) else () for source in inputs]
    if not any(shapes):
        return tuple(inputs), ""
    if len(set(shapes)) > 1 or not isinstance(before, FeatureSet):
        found = ", ".join(f"{source.name} {shape or 'none'}" for source, shape in zip(inputs, shapes, strict=True))
        hint = next((source.hint for source in latents if source.hint), "")
        raise ValueError(f"latents must have one shape (C, H, W); it is {found}{hint}")
    if before.hint:
        raise ValueError(f"{before.name}: by range and channels it holds images{before.hint}; multiply latents by 100")
    channels = before.shape[0]
    rows = before.features.reshape(before.n, channels, -1).swapaxes(0, 1).reshape(channels, -1).astype(np.float64)
    mean = rows.mean(axis=1, keepdims=True)
    std = rows.std(axis=1, keepdims=True)
    if not (std > 0).all():
        raise ValueError(f"{before.name}: channel {int(np.argmin(std))} of its latents is constant; leave it out")
    standardised = list[FeatureSet]()
    for source in latents:
        values = (source.features.reshape(source.n, channels, -1) - mean) / std
        features = values.reshape(source.n, -1).astype(np.float32)
        standardised.append(FeatureSet(source.name, features))
    size = "x".join(map(str, before.shape))
    return tuple(standardised), (
        f"latents of {size} are compared, each channel in standard deviations of {before.name}: copies are those of "
        "latents"
    )


def pixels_hint(values: NDArray[Any], shape: tuple[int, ...]) -> str:
    """How images of that shape that are floats are saved as pixels, if these may be some; else ""."""
    channels = (1,) if len(shape) == 2 else (shape[0], shape[-1], shape[-3]) if len(shape) > 2 else ()
    if not values.size or values.dtype.kind != "f" or not {1, 3}.intersection(channels):
        return ""
    low, high = float(values.min()), float(values.max())
    for black, white, pixels in ((0, 1, "x * 255"), (-1, 1, "(x + 1) * 127.5"), (0, 255, "x")):
        over = OVER * (white - black)  # as decoders overshoot
        if black - over <= low <= high <= white + over:
            return f'; images are saved by np.save("pixels.npy", ({pixels}).clip(0, 255).round().astype("uint8"))'
    return ""


def _folder(name: str, folder: Path) -> ImageSet:
    files = image_files(folder)

    def digest(file: str) -> bytes:
        return hashlib.sha256((folder / file).read_bytes()).digest()

    def read(index: int) -> tuple[Pixels, Traits]:
        try:
            return read_image(folder, files[index])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    content = hashlib.sha256()
    with progress_bar(len(files)) as advance:
        for file_digest in prefetch(digest, files):
            advance(f"reading {name}")
            content.update(file_digest)
    names = tuple(file.rpartition(".")[0] or file for file in files)
    return ImageSet(name, len(files), content.hexdigest(), read, names)


def _samples_of_result(folder: Path) -> dict[str, str]:
    """The samples of the one setting of a result folder, one for each network: identity -> sampling seed."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("status") == "ok" and row.get("samples_id")]
    if not rows:
        raise ValueError("its table.csv has no run that succeeded")
    settings = {(row.get("section"), row.get("setting"), row.get("budget")): row["samples_id"] for row in rows}
    if len(settings) > 1:
        raise ValueError(
            f"it has {len(settings)} settings; name the samples of one, such as {SAMPLES}{rows[0]['samples_id']} (the "
            "column samples_id of its table.csv)"
        )
    return {row["samples_id"]: row.get("sample_seed", "") for row in rows}


def _samples(name: str, seeds: Mapping[str, str], store: Cache) -> ImageSet:
    """Samples of this project. Their names are seed and number: samples that share both share their initial noise."""
    pixels = list[Pixels]()
    names = list[str]()
    for identity, seed in seeds.items():
        path = store.root / "samples" / f"{identity}.safetensors"
        if not path.is_file():
            raise ValueError(
                f"the store {store.root} has no samples {identity}; run their command again, or name another one with "
                "--store"
            )
        samples = read_tensors(path)["samples"]
        if samples.is_floating_point():
            raise ValueError(f"samples {identity} are {tuple(samples.shape)} floats, no images")
        pixels.append(samples.permute(0, 2, 3, 1).numpy())
        names += [f"seed {seed}, sample {index}" for index in range(len(pixels[-1]))]
    return ImageSet.of_array(name, np.concatenate(pixels), names=tuple(names) if all(seeds.values()) else None)
