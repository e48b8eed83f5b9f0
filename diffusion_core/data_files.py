"""The files of a user's data: folders of images, and .npz files (see data_user.py, data_values.py)."""

import os
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

DARKEST = 16  # a set whose largest value is no more has another range: 0 and 1, or four bits
LARGEST_SIDE = 8192  # of an image file, in pixels: 192 MiB as RGB
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")  # that are read, by Pillow's names
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)  # what numpy raises for broken files
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for broken files
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def read_folder(folder: Path, side: int) -> tuple[Pixels, Labels]:
    """The images (n, H, H, 3) below a folder, by relative path, and their labels (n,). Links are followed.

    The label is the index of the first-level folder in sorted order; without such folders all labels are 0. Names that
    begin with a dot are left out.
    """
    files = image_files(folder)
    classes = [file.partition("/")[0] for file in files if "/" in file]
    if classes and (beside := [file for file in files if "/" not in file]):
        raise ValueError(f"{beside[0]} lies beside the folder {classes[0]}; move it into the folder of its class")
    below = sorted({"/".join(parts[:2]) for file in files if len(parts := file.split("/")) > 2})
    if len(below) > len({name.partition("/")[0] for name in below}):
        warnings.warn(
            f"the classes of {folder} are the folders in it, not those below, such as {below[0]}", stacklevel=2
        )
    images, sizes = list[Pixels](), dict[tuple[int, int], str]()
    for file in files:
        image = read_image(folder, file)
        sizes.setdefault(image.size, file)
        if len(sizes) > 1 or image.width != image.height:
            shown = " and ".join(f"{name} is {width}x{height}" for (width, height), name in sizes.items())
            raise ValueError(f"all images must have one square size, but {shown}; crop or resize the files first")
        images.append(_shrunk(image, side))
    check_range(max(int(image.max()) for image in images), str(folder))
    return np.stack(images), _numbered(classes or [""] * len(files))


def image_files(folder: Path) -> list[str]:
    """The relative paths of all files below a folder, in order, without hidden ones. ValueError if there are none."""

    def stop(error: OSError) -> None:
        raise error

    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    files = list[str]()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=stop):
        inside = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    if not files:
        raise ValueError(f"there are no images below {folder}")
    return sorted(files)


def _numbered(names: Sequence[str]) -> Labels:
    """The place (n,) of each name in sorted order. It warns if a name is another number."""
    places = {name: index for index, name in enumerate(sorted(set(names)))}
    if other := [f"{name} is {index}" for name, index in places.items() if name.isdecimal() and int(name) != index]:
        warnings.warn(f"classes are numbered from 0 in the order of their names: {', '.join(other[:3])}", stacklevel=2)
    return np.array([places[name] for name in names], dtype=np.int64)


def read_image(folder: Path, file: str) -> Image.Image:
    """An image file as RGB, rotated according to its EXIF data, with transparent pixels over black.

    Raises:
        ValueError: it is no image of at most 8 bits a channel, it is cut or too large, or it holds several images.
    """
    try:
        with Image.open(folder / file, formats=FORMATS) as opened:
            if not (why := _unsuitable(opened)):
                ImageOps.exif_transpose(opened, in_place=True)
                opaque = opened.mode in ("RGB", "L") and "transparency" not in opened.info
                image = opened.convert("RGB" if opaque else "RGBA")
    except BROKEN as error:
        raise ValueError(
            f"{file} cannot be read as an image ({error}). Every file must be one of {', '.join(FORMATS)}; move others "
            "elsewhere, or begin their names with a dot"
        ) from error
    if why:
        raise ValueError(f"{file} {why}")
    return image if opaque else Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")


def _unsuitable(image: Image.Image) -> str:
    """Why an image file, of which only the header was read, is refused; empty if it is not."""
    if max(image.size) > LARGEST_SIDE:
        return f"is {image.width}x{image.height}; the limit is {LARGEST_SIDE}x{LARGEST_SIDE}. Reduce it first"
    if (n_frames := getattr(image, "n_frames", 1)) > 1:
        return f"has {n_frames} images; save each of them as a file"
    if image.mode.startswith(("I", "F")) or ";16" in str(getattr(image, "tile", "")):
        return "has more than 8 bits a channel; convert it to 8 bits first"
    return ""


def read_npz(path: Path, side: int) -> tuple[Pixels, Labels]:
    """The images of a .npz file as (n, H, H) or (n, H, H, C), and its labels or zeros (n,)."""
    arrays = read_arrays(path)
    key, images = images_among(arrays)
    n, height, width = images.shape[:3]
    if height != width:
        raise ValueError(f"images must be square, but those of {key!r} are {width}x{height}; crop or pad them first")
    if height > side:
        images = images[..., 0] if images.shape[3:] == (1,) else images
        images = np.stack([_shrunk(Image.fromarray(image), side) for image in np.ascontiguousarray(images)])
    unused = [other for other, array in arrays.items() if array.shape[:1] == (n,) and array.ndim < 3]
    if unused and "labels" not in arrays:
        warnings.warn(f"{path} has no labels; if {' or '.join(unused)} is them, call it 'labels'", stacklevel=2)
    return images, labels_among(arrays, n)


def images_among(arrays: Mapping[str, NDArray[Any]]) -> tuple[str, Pixels]:
    """The name of the array that holds images, `images` or the only one, and the images, (n, H, W) or (n, H, W, C).

    Raises:
        ValueError: there is none, there are several, it is empty, its images are not along the first axis, or its
            pixels are not 0 to 255.
    """
    keys = [key for key in (["images"] if "images" in arrays else arrays) if _fits(arrays[key])]
    if not keys:
        described = [f"{key}: {array.dtype} {array.shape}" for key, array in arrays.items()]
        floats = any(array.dtype.kind == "f" and array.ndim > 1 for array in arrays.values())
        raise ValueError(
            f"no array of images in it. Images are uint8 (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3, and "
            f"are called 'images'; it has {'; '.join(described) or 'no arrays'}"
            f"{'. Floats are latents:FILE or points:FILE' * floats}"
        )
    if len(keys) > 1:
        raise ValueError(f"{', '.join(keys)} could all be the images; call one 'images', and the others otherwise")
    images: Pixels = arrays[key := keys[0]]
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        images = np.moveaxis(images, 1, 3)
    if images.size == 0:
        raise ValueError(f"its array {key!r} has no images; at least one is needed")
    if images.shape[0] == images.shape[1] != images.shape[2]:  # (H, W, n)
        raise ValueError(
            f"{key!r} is {images.dtype} {images.shape}: the first axis must number the images; move it to the front"
        )
    check_range(int(images.max()), repr(key))
    return key, images


def check_range(largest: int, what: str) -> None:
    """ValueError if the pixels of a set of images, of which this is the largest value, are not 0 to 255."""
    if 0 < largest <= DARKEST:
        raise ValueError(
            f"the largest value of {what} is {largest}, but pixels are 0 to 255; multiply them by {255 // largest}"
        )


def labels_among(arrays: Mapping[str, NDArray[Any]], n: int) -> Labels:
    """The array `labels` as int64 (n,): whole numbers as they are, texts in sorted order. Without it: zeros (n,).

    Raises:
        ValueError: anything else.
    """
    labels = arrays.get("labels", np.zeros(n, dtype=np.int64))
    if labels.size == n and labels.dtype.kind in "US":
        return _numbered(labels.reshape(n).astype(str).tolist())
    whole = labels.dtype.kind in "buif" and (labels >= 0) & (labels < 2**31) & (labels == np.floor(labels))
    if labels.size == n and np.all(whole):
        return labels.reshape(n).astype(np.int64)
    raise ValueError(
        f"its array 'labels' is {labels.dtype} {labels.shape}; labels of {n} images are whole numbers from 0 or texts, "
        f"({n},). Rename it if it holds none"
    )


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file, else ValueError. Nothing is unpickled: Python objects are refused."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a .npz file, as numpy.savez writes it")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: np.asarray(archive[key]) for key in archive.files}
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read ({error})") from error


def _fits(array: NDArray[Any]) -> bool:
    """Whether an array has the dtype and shape of images."""
    channels = array.shape[3:] + array.shape[1:2]
    return array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and any(c in (1, 3) for c in channels)))


def _shrunk(image: Image.Image, side: int) -> Pixels:
    """An image as an array, reduced to `side` if it is larger."""
    if image.width > side:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image)
