"""The one reader of images and arrays: folders of image files, .npz and .npy files; for data sets and for `score`.

Every file below a folder that is not hidden must be one image. Transparent pixels are laid over black, the colour of
the padding, and photos are turned as their EXIF data say.
"""

import io
import math
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

DARKEST = 16  # a set of images with no larger value has another range: 0 and 1, or four bits
LARGEST_SIDE = 8192  # of an image file, in pixels: 192 MiB as RGB
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")  # that are read, by Pillow's names
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)  # what numpy raises for broken files
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for broken files
ROUNDED = 1e-3  # by how many standard deviations numbers may change in float32
END_OF_JPEG = b"\xff\xd9"
TURNED = 0x0112  # the EXIF entry of the orientation; 1 is upright
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Traits = NDArray[np.bool_]  # (4,) of an image, or (n, 4): JPEG, transparent, turned, coloured


# --- image files ---


def read_folder(folder: Path, side: int) -> tuple[Pixels, Labels]:
    """The images (n, H, H, 3) below a folder, by relative path, and their labels (n,). Links are followed.

    The label is the index of the first-level folder in sorted order; without such folders all labels are 0.
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
    images = list[Pixels]()
    traits = list[Traits]()
    sizes = dict[tuple[int, int], str]()  # size -> a file that has it
    for file in files:
        image, image_traits = read_image(folder, file)
        height, width, _ = image.shape
        sizes.setdefault((width, height), file)
        if len(sizes) > 1 or width != height:
            shown = " and ".join(f"{name} is {width}x{height}" for (width, height), name in sizes.items())
            raise ValueError(f"all images must have one square size, but {shown}; crop or resize the files first")
        images.append(reduce_image(image, side))
        traits.append(image_traits)
    check_pixel_range(max(int(image.max()) for image in images), str(folder))
    for note in describe_traits(np.stack(traits), str(folder)):
        warnings.warn(note, stacklevel=2)
    return np.stack(images), _number_labels(classes or [""] * len(files))


def image_files(folder: Path) -> list[str]:
    """The relative paths of all files below a folder, in order, without hidden ones. ValueError if there are none."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")

    def stop(error: OSError) -> None:
        raise error

    files = list[str]()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=stop):
        inside = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    if not files:
        raise ValueError(f"there are no images below {folder}")
    return sorted(files)


def read_image(folder: Path, file: str) -> tuple[Pixels, Traits]:
    """An image file as RGB (H, W, 3), and its traits. ValueError if it is not one whole image of at most 8 bits."""
    try:
        with Image.open(folder / file, formats=FORMATS) as opened:
            reason = _describe_unsuitable(opened)
            if not reason:
                jpeg = opened.format == "JPEG"
                turned = opened.getexif().get(TURNED, 1) in range(2, 9)
                if jpeg and _is_cut_short(folder / file, opened):
                    raise OSError("image file is truncated, though it has an end")
                ImageOps.exif_transpose(opened, in_place=True)
                opaque = opened.mode in ("RGB", "L") and "transparency" not in opened.info
                image = opened.convert("RGB" if opaque else "RGBA")
    except BROKEN as error:
        raise ValueError(
            f"{file} cannot be read as an image ({error}). Every file must be one of {', '.join(FORMATS)}; move others "
            "elsewhere, or begin their names with a dot"
        ) from error
    if reason:
        raise ValueError(f"{file} {reason}")
    transparent = not opaque and int(np.asarray(image)[..., 3].min()) < 255
    if not opaque:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")
    pixels = np.asarray(image)
    return pixels, np.array([jpeg, transparent, turned, is_coloured(pixels)])


def _is_cut_short(path: Path, image: Image.Image) -> bool:
    """Whether a JPEG ends before its image does: the decoder fills the rest with grey, or leaves details out.

    Then bytes in front of its end change pixels; in a whole file nobody reads them.
    """
    content = path.read_bytes()
    end = content.rfind(END_OF_JPEG)
    with Image.open(io.BytesIO(content[:end] + bytes(range(1, 255)) + content[end:])) as longer:
        return not np.array_equal(np.asarray(image), np.asarray(longer))


def is_coloured(pixels: Pixels) -> bool:
    """Whether the channels of an image (H, W) or (H, W, C) differ anywhere."""
    return pixels.ndim == 3 and bool((pixels != pixels[..., :1]).any())


def describe_traits(traits: Traits, name: str) -> Iterator[str]:
    """Yields a sentence for each trait of some images of a set that its numbers do not show; `traits`: (n, 4)."""
    n = len(traits)
    _, transparent, turned, coloured = traits.sum(axis=0)
    if transparent:
        yield f"{transparent:,} of {n:,} images of {name} have transparent pixels, which are laid over black"
    if turned:
        yield f"{turned:,} of {n:,} images of {name} were turned as their EXIF data say"
    if 0 < coloured < n / 2:
        yield f"{coloured:,} of {n:,} images of {name} have colours among grey ones; are they meant to be there?"


def _describe_unsuitable(image: Image.Image) -> str:
    """Why an image file, of which only the header was read, is refused; empty if it is not."""
    if max(image.size) > LARGEST_SIDE:
        return f"is {image.width}x{image.height}; the limit is {LARGEST_SIDE}x{LARGEST_SIDE}. Reduce it first"
    if (n_frames := getattr(image, "n_frames", 1)) > 1:
        return f"has {n_frames} images; save each of them as a file"
    if image.mode.startswith(("I", "F")) or ";16" in str(getattr(image, "tile", "")):
        return "has more than 8 bits a channel; convert it to 8 bits first"
    return ""


def reduce_image(image: Pixels, side: int) -> Pixels:
    """An image (H, H) or (H, H, C), reduced to `side` if it is larger."""
    if len(image) <= side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


# --- arrays ---


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file, or the one of a .npy file, which stays on the disk. ValueError for anything else."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    if path.suffix not in (".npy", ".npz") or zipfile.is_zipfile(path) != (path.suffix == ".npz"):
        raise ValueError(f"{path} is neither a .npy nor a .npz file, as numpy.save and numpy.savez write them")
    try:
        if path.suffix == ".npy":
            return {"array": np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))}
        with np.load(path, allow_pickle=False) as arrays:
            return {key: np.asarray(arrays[key]) for key in arrays.files}
    except UNREADABLE as error:
        # of a .npy file numpy's words advise loading it without protection
        reason = "it is no array of numbers that numpy.save wrote" if path.suffix == ".npy" else error
        raise ValueError(f"{path} cannot be read ({reason})") from error


def read_npz(path: Path, side: int) -> tuple[Pixels, Labels]:
    """The images of a file of arrays as (n, H, H) or (n, H, H, C), and its labels or zeros (n,)."""
    arrays = read_arrays(path)
    key, images = images_among(arrays)
    n, height, width = images.shape[:3]
    if height != width:
        raise ValueError(f"images must be square, but those of {key!r} are {width}x{height}; crop or pad them first")
    if height > side:
        images = images[..., 0] if images.shape[3:] == (1,) else images
        images = np.stack([reduce_image(image, side) for image in np.ascontiguousarray(images)])
    unused = [other for other, array in arrays.items() if array.shape[:1] == (n,) and array.ndim < 3]
    if unused and "labels" not in arrays:
        warnings.warn(f"{path} has no labels; if {' or '.join(unused)} is them, call it 'labels'", stacklevel=2)
    return images, labels_among(arrays, n)


def read_values(path: Path, points: bool) -> tuple[NDArray[np.float32], Labels]:
    """The one array of floats in a file, (n, ...), or (n, d) of points; and its labels or zeros (n,)."""
    arrays = read_arrays(path)
    keys = [key for key, array in arrays.items() if array.dtype.kind == "f" and array.ndim > 1]
    if len(keys) != 1 and path.suffix == ".npz":
        raise ValueError(f"{path} must have one array of floats (n, ...); it has {', '.join(keys) or 'none'}")
    values = arrays[keys[0] if keys else next(iter(arrays))]
    _check_values(values, points)
    return values.astype(np.float32), labels_among(arrays, len(values))


def _check_values(values: NDArray[Any], points: bool) -> None:
    """ValueError unless they are floats of the right form, which float32 can hold."""
    got = f"{values.dtype} {values.shape}"
    if values.dtype.kind != "f" or values.ndim < 2 or values.size == 0 or (points and values.ndim != 2):
        form = "(n, d), a row for each point" if points else "(n, ...), such as (n, 4, 32, 32)"
        raise ValueError(f"it holds {got}, but {'points' if points else 'latents'} are floats {form}")
    if not np.isfinite(values).all():
        raise ValueError(f"it holds {got} with NaN or infinity")
    with np.errstate(over="ignore", invalid="ignore"):
        std = values.std(dtype=np.float64)
        change = np.abs(values - values.astype(np.float32)).max()
    if not (0 < std < math.inf and change <= ROUNDED * std):
        raise ValueError("its numbers are all alike in float32; subtract their mean, and divide by a scale")
    if points and (constant := np.flatnonzero(np.ptp(values, axis=0) == 0)).size:
        raise ValueError(f"coordinate {constant[0]} is the same in all points; leave it out")


def images_among(arrays: Mapping[str, NDArray[Any]]) -> tuple[str, Pixels]:
    """The name of the array that holds images, `images` or the only one, and the images, (n, H, W) or (n, H, W, C).

    ValueError if there is none, or several, or if the array has other axes or pixels.
    """
    keys = [key for key in (["images"] if "images" in arrays else arrays) if _holds_images(arrays[key])]
    if not keys:
        described = [f"{key}: {array.dtype} {array.shape}" for key, array in arrays.items()]
        floats = any(array.dtype.kind == "f" and array.ndim > 1 for array in arrays.values())
        hint = ". Floats are latents:FILE or points:FILE" if floats else ""
        raise ValueError(
            f"no array of images in it. Images are uint8 (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3, and "
            f"are called 'images'; it has {'; '.join(described) or 'no arrays'}{hint}"
        )
    if len(keys) > 1:
        raise ValueError(f"{', '.join(keys)} could all be the images; call one 'images', and the others otherwise")
    images: Pixels = arrays[key := keys[0]]
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        images = np.moveaxis(images, 1, 3)
    if images.size == 0 or images.shape[0] == images.shape[1] != images.shape[2]:  # (H, W, n)
        raise ValueError(
            f"{key!r} is {images.dtype} {images.shape}: its first axis must number the images, at least one"
        )
    check_pixel_range(int(images.max()), repr(key))
    return key, images


def _holds_images(array: NDArray[Any]) -> bool:
    channels = array.shape[3:] + array.shape[1:2]
    return array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and any(c in (1, 3) for c in channels)))


def check_pixel_range(largest: int, name: str) -> None:
    """ValueError if the pixels of a set of images, of which this is the largest value, are not 0 to 255."""
    if 0 < largest <= DARKEST:
        advice = f"multiply them by {255 // largest}"
        raise ValueError(f"the largest value of {name} is {largest}, but pixels are 0 to 255; {advice}")


def labels_among(arrays: Mapping[str, NDArray[Any]], n: int) -> Labels:
    """The array `labels` as int64 (n,): whole numbers as they are, texts in sorted order. Without it: zeros (n,)."""
    labels = arrays.get("labels", np.zeros(n, dtype=np.int64))
    if labels.size == n and labels.dtype.kind in "US":
        return _number_labels(labels.reshape(n).astype(str).tolist())
    whole = labels.dtype.kind in "buif" and (labels >= 0) & (labels < 2**31) & (labels == np.floor(labels))
    if labels.size == n and np.all(whole):
        return labels.reshape(n).astype(np.int64)
    raise ValueError(
        f"its array 'labels' is {labels.dtype} {labels.shape}; labels of {n} images are whole numbers from 0 or texts, "
        f"({n},). Rename it if it holds none"
    )


def _number_labels(names: Sequence[str]) -> Labels:
    """The place (n,) of each name in sorted order. Warns if a name is a number other than its place."""
    numbers = {name: index for index, name in enumerate(sorted(set(names)))}
    if other := [f"{name} is {index}" for name, index in numbers.items() if name.isdecimal() and int(name) != index]:
        warnings.warn(f"classes are numbered from 0 in the order of their names: {', '.join(other[:3])}", stacklevel=2)
    return np.array([numbers[name] for name in names], dtype=np.int64)
