"""A user's own images: `folder:PATH` (all image files below a folder) and `npz:PATH` (arrays that numpy saved).

Both forms may carry a fingerprint, `folder:PATH@0123456789ab`: a hash of the pixels and labels as they are used. It
changes a run's identity when the files change. Without a fingerprint the name means the current content of the files.

All images must be square and of one size. Images above 32x32 are reduced to 32x32 with Pillow's bicubic filter. The
filter widens with the reduction, so it does not alias (Parmar, Zhang & Zhu 2022, arXiv 2104.11222, compare such
filters). Smaller images are padded with zeros, like the other data sets. `folder64:PATH` and `npz64:PATH` do the same
with 64x64, or any other size from 8 to 64, for networks trained elsewhere. Images are grey if red, green and blue agree
at every pixel of every image, else RGB. Transparent pixels are laid over black, the colour of the padding.

The images come in a random order, always the same (`random_order`), because files are often sorted by class. Then the
first and the last images have all classes. This matters where some images stand for the whole data set: held-out
images, the references of precision and recall, and the images that `check` denoises. Labels move with their images.
"""

import hashlib
import re
import warnings
import zipfile
import zlib
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 32  # of an image in pixels, unless the name has another
SIDES = (8, 64)  # the smallest and the largest
ORDER_SEED = 20_240_229  # of the random order of the images
LARGEST_SIDE = 8192  # of an image file, in pixels: 192 MiB as RGB
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
IMAGE_KEYS = ("images", "x_train", "x", "arr_0")  # preferred in this order
LABEL_KEYS = ("labels", "y_train", "y")
UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)  # by zipfile
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for broken files
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


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
        ValueError: no such path, no images, a file that cannot be read, or images of the wrong size.
    """
    data = parse(name)
    if data is None:
        raise ValueError(f"data={name!r}: expected folder:PATH or npz:PATH")
    path = Path(data.path).expanduser()
    read_files = _read_folder if data.kind.startswith("folder") else _read_npz
    images, labels = read_files(name, path, data.side)
    order = random_order(len(images))
    return _channels_first(images[order]), torch.from_numpy(labels[order])


def random_order(n: int) -> NDArray[np.intp]:
    """The order (n,) in which n images of a user are used: image `order[i]` of the files becomes image i.

    It sorts the raw output of the generator PCG64, which numpy guarantees to be the same on all machines and in all
    versions, as its own permutations are not.
    """
    return np.random.PCG64(ORDER_SEED).random_raw(n).argsort(kind="stable")


def fingerprint(pixels: torch.Tensor, labels: torch.Tensor) -> str:
    """First 12 hex digits of the SHA-256 of the shape and bytes of the pixels and the labels."""
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    digest.update(pixels.numpy().tobytes())
    digest.update(labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()[:12]


def _read_folder(name: str, folder: Path, side: int) -> tuple[Pixels, Labels]:
    """The images (n, H, H, 3) below a folder, by relative path, and their labels (n,). Hidden files are left out.

    The label is the index of the first-level folder in sorted order, if every image is in such a folder. Otherwise all
    labels are 0.
    """
    if not folder.is_dir():
        raise ValueError(f"data={name!r}: {folder} is not a folder")
    try:
        images_below = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise ValueError(f"data={name!r}: {folder} cannot be listed ({error})") from error
    shown = (file for file in images_below if not any(part.startswith(".") for part in file.parts))
    files = sorted(shown, key=PurePath.as_posix)
    if not files:
        raise ValueError(f"data={name!r}: no images below {folder}; it looks for {', '.join(SUFFIXES)}")
    _check_sizes(name, folder, files)
    images = np.stack([_shrunk(_rgb(name, folder / file), side) for file in files])
    tops = [file.parts[0] for file in files]
    classes = sorted(set(tops))
    in_folders = all(len(file.parts) > 1 for file in files)
    labels = [classes.index(top) if in_folders else 0 for top in tops]
    return images, np.array(labels, dtype=np.int64)


def _check_sizes(name: str, folder: Path, files: list[Path]) -> None:
    """Raises ValueError, naming two files, unless all have one square size. Reads the headers only."""
    sizes = {}
    for file in files:
        if not (folder / file).is_file():  # a folder, a broken link, or a pipe, which would never end
            raise ValueError(f"data={name!r}: {file} is not a file")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
                with Image.open(folder / file) as image:
                    sizes[file] = image.size
        except BROKEN as error:
            raise ValueError(f"data={name!r}: {file} cannot be read as an image ({error})") from error
        if max(sizes[file]) > LARGEST_SIDE:
            raise ValueError(
                f"data={name!r}: {file} is {sizes[file][0]}x{sizes[file][1]}; the limit is "
                f"{LARGEST_SIDE}x{LARGEST_SIDE}. Images are reduced here in any case"
            )
    first = files[0]
    other = next((file for file in files if sizes[file] != sizes[first]), None)
    oblong = next((file for file in files if sizes[file][0] != sizes[file][1]), None)
    if other is None and oblong is None:
        return
    second = other or files[min(1, len(files) - 1)]
    shown = " and ".join(f"{file} is {sizes[file][0]}x{sizes[file][1]}" for file in dict.fromkeys((first, second)))
    raise ValueError(
        f"data={name!r}: all images must have one square size, but {shown}; crop or resize the files to one square "
        "size first"
    )


def _rgb(name: str, path: Path) -> Image.Image:
    """An image file as RGB, rotated according to its EXIF data, with transparent pixels over black."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            deep = image.mode.startswith(("I", "F"))
            rgba = image.convert("RGBA") if not deep else image
    except BROKEN as error:
        raise ValueError(f"data={name!r}: {path} cannot be read as an image ({error})") from error
    if deep:
        raise ValueError(f"data={name!r}: {path} has more than 8 bits a channel; convert it to 8 bits first")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")


def _read_npz(name: str, path: Path, side: int) -> tuple[Pixels, Labels]:
    """The images of a .npz file as (n, H, H) or (n, H, H, C), and its labels or zeros (n,). Nothing is unpickled."""
    arrays = _arrays(name, path)
    fitting = [key for key in (*IMAGE_KEYS, *arrays) if key in arrays and _fits(arrays[key])]
    key = fitting[0] if fitting else None
    if key not in IMAGE_KEYS and len(fitting) > 1:
        raise ValueError(
            f"data={name!r}: {', '.join(fitting)} could all be the images; call the right one {IMAGE_KEYS[0]!r}"
        )
    if key is None:
        described = [f"{key}: {array.dtype} {array.shape}" for key, array in arrays.items()]
        raise ValueError(
            f"data={name!r}: no array of images in it. Images are uint8 (n, H, W), (n, H, W, C) or (n, C, H, W) with "
            f"C 1 or 3; it has {'; '.join(described) or 'no arrays of numbers'}"
        )
    images: Pixels = arrays[key]
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        images = np.moveaxis(images, 1, 3)
    n, height, width = images.shape[:3]
    if n == 0:
        raise ValueError(f"data={name!r}: its array {key!r} has no images; at least one is needed")
    if height != width or height == 0:
        raise ValueError(
            f"data={name!r}: images must be square, but those of {key!r} are {width}x{height}; crop or pad them first"
        )
    if height > side:
        images = images[..., 0] if images.shape[3:] == (1,) else images
        images = np.stack([_shrunk(Image.fromarray(image), side) for image in np.ascontiguousarray(images)])
    for label in LABEL_KEYS:
        if label in arrays and arrays[label].dtype.kind in "iu" and arrays[label].shape == (n,):
            return images, arrays[label].astype(np.int64)
    return images, np.zeros(n, dtype=np.int64)


def _arrays(name: str, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file. Python objects, which would have to be unpickled, are left out."""
    if not path.is_file():
        raise ValueError(f"data={name!r}: no such file: {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"data={name!r}: {path} is not a .npz file, as numpy.savez writes it")
    arrays: dict[str, NDArray[Any]] = {}
    key = ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                try:
                    array = archive[key]
                except ValueError as error:
                    if "allow_pickle" not in str(error):
                        raise
                else:
                    arrays |= {key: array} if isinstance(array, np.ndarray) else {}  # a zip file may hold anything
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"data={name!r}: the array {key!r} of {path} cannot be read ({reason})") from error
    return arrays


def _fits(array: NDArray[Any]) -> bool:
    """Whether an array has the dtype and shape of images."""
    channels = array.shape[3:] + array.shape[1:2]
    return array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and any(c in (1, 3) for c in channels)))


def _shrunk(image: Image.Image, side: int) -> Pixels:
    """An image as an array, reduced to `side` if it is larger."""
    if image.width > side:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _channels_first(images: Pixels) -> torch.Tensor:
    """Images (n, H, H) or (n, H, H, C) as (n, C, H, H), with one channel if all three agree everywhere."""
    if images.ndim == 3:
        images = images[..., None]
    if (images == images[..., :1]).all():
        images = images[..., :1]
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, 3, 1)))
