"""A user's own images, latents and points: what is read, in which order, its fingerprint, and what is refused."""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from refusals import refused
from tables import cells
from torch.testing import assert_close
from user_images import GREY, RGB, random_pixels, save

from diffusion_core.data.dataset import DataSet, Values
from diffusion_core.data.load import load, random_order, resolve
from diffusion_core.data.readers import read_image

pytestmark = pytest.mark.usefixtures("here")
Array = NDArray[Any]
RNG = np.random.default_rng(0)
LATENTS = (3 + 2 * RNG.normal(size=(40, 4, 3, 3))).astype(np.float32)
POINTS = LATENTS[:, :2, 0, 0]


def written(name: str, content: Any) -> str:
    """The name of data such as `npz8:x.npz`, whose file has this content now.

    The content is a dict: arrays of a .npz file, or files of a folder; or bytes, an array of numbers, or an image.
    """
    path = Path(name.partition(":")[2])
    if isinstance(content, bytes):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".npy":
        np.save(path, content)
    elif isinstance(content, dict):
        for inside in content:
            written(f":{path / inside}", content[inside])
    else:
        save(path, content)
    return name


def in_files(data: DataSet) -> tuple[Array, list[int]]:
    """Images (n, C, H, H) and labels as they were before they were put into a random order."""
    order = np.argsort(random_order(len(data)))
    return data.numbers[order].numpy(), data.labels[order].tolist()


def read(name: str, content: Any) -> tuple[Array, list[int]]:
    """Images and labels in the order of the files, of data with this content."""
    return in_files(load(written(name, content)))


def padded(images: Array, edge: int = 2) -> Array:
    """Grey images (n, H, H) as (n, 1, ...) in a black border."""
    return np.pad(images, ((0, 0), (edge, edge), (edge, edge)))[:, None]


def encoded(pixels: Array, file_format: str, **options: Any) -> bytes:
    Image.fromarray(pixels).save(file := io.BytesIO(), file_format, **options)
    return file.getvalue()


def test_folder_is_sorted_labelled_by_subfolder_and_padded():
    files = dict(zip(["b/9.png", "a/x/2.PNG", "b/10.bmp", "a/1.png"], GREY, strict=True))
    hidden = {".thumbnails/1.png": GREY[0, :5, :5], "a/.notes.txt": b"not an image"}
    pixels, labels = read("folder:set", files | hidden)
    assert (pixels == padded(GREY[[3, 1, 2, 0]])).all()  # a/1, a/x/2, b/10, b/9
    assert labels == [0, 0, 1, 1]


FILES: dict[str, Any] = {  # names, with what Pillow is told to write them
    "2.gif": {},
    "2.tif": {},
    "2.TIFF": {},
    "2.webp": {"lossless": True},
    "2.png": {},
    "without-suffix": {"format": "PNG"},
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_a_folder_is_read_and_links_are_followed(name: str):
    data = written("folder:set", {"a/1.png": GREY[0]})
    save(Path("elsewhere") / name, GREY[1], **FILES[name])
    Path("set/b").symlink_to("../elsewhere")
    pixels, labels = in_files(load(data))
    assert labels == [0, 1] and (pixels == padded(GREY[:2])).all()


def test_one_coloured_image_makes_all_rgb():
    grey = RGB[..., [0, 0, 0]]
    name = written("folder:set", {"1.png": grey[0, :, :, 0], "2.png": grey[1]})
    assert load(name).shape == (1, 32, 32)
    written(name, {"3.webp": RGB[2]})
    with pytest.warns(UserWarning, match="1 of 3 images of .* have colours among grey ones"):
        images = load(name)
    assert images.shape == (3, 32, 32) and (in_files(images)[0][0] == grey[0, :, :, 0]).all()


def test_transparent_pixels_are_black():
    opaque = np.repeat(np.uint8([0, 1]), 512).reshape(32, 32, 1)
    name = written("folder:set", {"1.png": np.dstack([RGB[0], 255 * opaque])})
    with pytest.warns(UserWarning, match="1 of 1 images of .* have transparent pixels, which are laid over black"):
        pixels = load(name).numbers[0].permute(1, 2, 0).numpy()
    assert (pixels == RGB[0] * opaque).all()


def test_large_images_are_reduced_without_aliasing():
    stripes = np.zeros((2, 256, 256), dtype=np.uint8)
    stripes[0, :, ::2] = 255  # the finest there are: what is left of them after reduction is aliasing
    stripes[1, :128] = 255
    reduced, _ = read("folder:set", {"0.png": stripes[0], "1.png": stripes[1]})
    assert reduced.shape == (2, 1, 32, 32)
    assert (abs(reduced[0] - 127.5) < 5).all()
    assert (reduced[1, 0, :14] == 255).all() and (reduced[1, 0, 18:] == 0).all()
    coloured = np.stack([stripes, stripes, 255 - stripes], axis=3)
    for images in (stripes, stripes[..., None], stripes[:, None], coloured):
        pixels, _ = read("npz:x.npz", {"images": images})
        assert (pixels[:, :1] == reduced).all()


@pytest.mark.parametrize("side", [8, 28, 48, 64])
def test_a_size_in_the_name_is_the_size_of_the_images(side: int):
    """Larger images are reduced to it, as Pillow does it, and smaller ones are padded."""
    large = GREY[0].repeat(4, 0).repeat(4, 1)[:96, :96]
    reduced = np.asarray(Image.fromarray(large).resize((side, side), Image.Resampling.BICUBIC))
    for name, content in ((f"npz{side}:x.npz", {"images": large[None]}), (f"folder{side}:set", {"1.png": large})):
        name = written(name, content)
        assert (load(name).numbers[0, 0].numpy() == reduced).all()
        assert load(resolve(name)).name.startswith(name + "@") and resolve(resolve(name)) == resolve(name)
    if side >= 28:
        pixels, _ = read(f"npz{side}:x.npz", {"images": GREY})
        assert pixels.shape[1:] == (1, side, side) and (pixels == padded(GREY, (side - 28) // 2)).all()


CHANNELS_FIRST = RGB.transpose(0, 3, 1, 2)
NAMES = ["cat", "ape", "bee", "ape"]


@pytest.mark.parametrize(
    "arrays, images",
    [
        ({"anything": GREY}, padded(GREY)),
        ({"anything": GREY[..., None]}, padded(GREY)),
        ({"anything": RGB}, CHANNELS_FIRST),
        ({"anything": CHANNELS_FIRST}, CHANNELS_FIRST),
        ({"anything": RGB[..., [1, 1, 1]]}, CHANNELS_FIRST[:, [1]]),
        ({"a": GREY[[1]], "images": GREY[:2], "z": GREY / 255}, padded(GREY[:2])),
        ({"images": GREY, "masks": GREY}, padded(GREY)),
    ],
)
def test_images_of_npz(arrays: dict[str, Any], images: Array):
    pixels, labels = read("npz:x.npz", arrays)
    assert (pixels == images).all() and labels == [0] * len(images)


@pytest.mark.parametrize(
    "labels, numbers",
    [
        (np.uint8([3, 1, 2, 0]), [3, 1, 2, 0]),
        ([3.0, 1, 2, 0], [3, 1, 2, 0]),
        (NAMES, [2, 0, 1, 0]),
        (np.array(NAMES, dtype="S")[:, None], [2, 0, 1, 0]),
    ],
)
def test_labels_of_npz_are_numbers_or_names_in_their_order(labels: Any, numbers: list[int]):
    pixels, found = read("npz:x.npz", {"images": GREY, "labels": labels, "y": range(4)})
    assert (pixels == padded(GREY)).all() and found == numbers


WARNED: dict[str, Any] = {  # a name -> what the warning says (a pattern) -> the content of the file
    "folder:set": {
        "are the folders in it, not those below, such as test/cat": {
            "train/cat/1.png": GREY[0], "train/dog/1.png": GREY[1], "test/cat/1.png": GREY[2]},
    },
    "npz:x.npz": {
        "no labels; if target is them,": {"images": GREY, "target": range(4), "seed": range(2)},
        "of their names: 10 is 0, 11": {"images": GREY, "labels": ["8", "9", "10", "11"]},
    },
    "points:a.npy": {
        r"coordinate 0 has 0.0\d+ of the standard deviation .*x.std\(axis=0\)": POINTS * np.float32([1, 50])},
    "latents:a.npy": {"channel 0 has .* those of all$": LATENTS * np.float32([1, 50, 50, 50])[:, None, None]},
}  # fmt: skip


@cells(WARNED)
def test_lost_labels_and_uneven_scales_are_warned_of(row: str, cell: str):
    with pytest.warns(UserWarning, match=cell):
        load(written(row, WARNED[row][cell]))


def test_images_sorted_by_class_come_in_a_random_order_with_their_labels():
    classes = np.arange(10, dtype=np.uint8).repeat(40)
    pixels = np.full((8, 8, 400), 20 * classes).T
    images = load(written("npz8:x.npz", {"images": pixels, "labels": classes.astype(np.int64)}))
    labels = images.labels
    assert (images.numbers[:, 0, 0, 0] == 20 * labels).all() and labels.bincount().tolist() == [40] * 10
    for part in (labels[:100], labels[-100:]):
        assert (part.bincount(minlength=10) >= 3).all()


def test_the_random_order_is_the_same_everywhere():
    assert random_order(12).tolist() == [9, 3, 0, 11, 6, 8, 1, 2, 4, 7, 5, 10]
    assert sorted(random_order(1000)) == list(range(1000)) and random_order(1).tolist() == [0]


def test_fingerprint_names_the_pixels_and_labels_and_nothing_else():
    folder = written("folder:set", {f"{index}.png": pixels for index, pixels in enumerate(GREY)})
    resolved = resolve(folder)
    assert re.fullmatch(re.escape(folder) + "@[0-9a-f]{12}", resolved)
    assert resolve(resolved) == resolved and load(resolved).name == resolved
    assert resolve(written("npz:x.npz", {"images": GREY}))[-12:] == resolved[-12:]
    Path("set/0.png").rename("set/00.png")
    assert resolve(folder) == resolved
    assert resolve(written("npz:x.npz", {"images": GREY, "labels": range(4)}))[-12:] != resolved[-12:]


def test_changed_files_are_noticed():
    resolved, now = (resolve(written("npz:x.npz", {"images": images})) for images in (GREY, GREY[::-1]))
    for call in (load, resolve):
        with refused(r"x\.npz has changed since .* its fingerprint is now " + now[-12:]):
            call(resolved)


def test_a_size_out_of_range_is_refused():
    with refused("images of 1025x1025; the size must be from 8 to 1024"):
        load("npz1025:.")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_jpegs_that_are_cut_short_but_have_an_end_are_refused(options: dict[str, Any]):
    image = random_pixels(12, 12, 3).repeat(8, 0).repeat(8, 1)
    whole = encoded(image, "jpeg", **options)
    written(":a.jpg", whole)
    assert read_image(Path(), "a.jpg")[0].shape == image.shape
    for size in (len(whole) // 2, len(whole) - 40):
        written(":a.jpg", whole[:size] + b"\xff\xd9")
        with refused(r"a.jpg cannot be read as an image \(image file is truncated"):
            read_image(Path(), "a.jpg")


IHDR = b"IHDR" + struct.pack(">IIBB3x", 8, 8, 16, 2)  # of a PNG of 8x8 with 16 bits a channel, as RGB
DEEP = b"\x89PNG\r\n\x1a\n\0\0\0\r" + IHDR + zlib.crc32(IHDR).to_bytes(4, "big") + b"\0\0\0\0IDAT"
FILM = encoded(GREY[0], "gif", save_all=True, append_images=[Image.fromarray(GREY[1])])
NOT_NUMBERS = np.array(list("abcd"), dtype=object)
REFUSED: dict[str, Any] = {  # a name -> what the error says -> the content of the file
    "folder:.": {"there are no images below ": {}},
    "folder:set": {
        "one square size, but c/b.png is 28x28 and c/d.png is 32x32; crop or resize the files first": {
            "c/b.png": GREY[1], "c/d.png": RGB[0]},
        "one square size, but a.png is 28x20; crop or resize": {"a.png": GREY[0, :20]},
        "c.png lies beside the folder a; move it into the folder of its class": {"a/1.png": GREY[0], "c.png": GREY[0]},
        "Every file must be one of PNG, JPEG, BMP, WEBP, GIF, TIFF; move others elsewhere, or begin their": {
            "labels.csv": b"1,0"},
        "a.jpg cannot be read as an image (image file is truncated": {"a.jpg": encoded(RGB[0], "jpeg")[:-300]},
        "a.gif has 2 images; save each of them as a file": {"a.gif": FILM},
        "a.png has more than 8 bits a channel; convert it to 8 bits first": {"a.png": GREY[0].astype(np.uint16) * 256},
        "a.png has more than 8 bits a channel": {"a.png": DEEP},
        "a.png is 9000x1; the limit is 8192x8192": {"a.png": np.zeros((1, 9000), dtype=bool)},
        "is 15, but pixels are 0 to 255; multiply them by 17": {"1.png": GREY[0] // 16, "2.png": GREY[0] // 128},
    },
    "folder:no": {"there is no folder ": {}},
    "npz:no": {"no such file: ": {}},
    "npz:x.npz": {
        "x.npz is neither a .npy nor a .npz file, as numpy.save and numpy.savez write them": b"\x93NUMPY",
        "x.npz cannot be read (Obj": {"images": GREY, "labels": NOT_NUMBERS},
        "weights, masks could all be the images; call one 'images'": {"weights": GREY, "masks": GREY},
        "are called 'images'; it has images: float64 (4, 28,": {"images": GREY / 255, "masks": GREY},
        "it has no arrays": {},
        "(0, 28, 28): its first axis must number the images, at least one": {"x": GREY[:0]},
        "images must be square, but those of 'x' are 28x20; crop or pad": {"x": GREY[:, :20]},
        "(28, 28, 4): its first axis must number the images": {"images": GREY.T},
        "the largest value of 'images' is 1, but pixels are 0 to 255": {"images": GREY // 128},
        "images that are all alike have no scale": {"x": GREY * 0},
        "its array 'labels' is int64 (3,); labels of 4": {"images": GREY, "labels": range(3)},
        "is float64 (4,); labels of 4 images are whole": {"images": GREY, "labels": np.arange(4) / 2},
        "is float64 (4, 4); labels of 4 images are whole": {"images": GREY, "labels": np.eye(4)},
    },
    "points:a.npy": {
        "it holds float32 (40, 4, 3, 3), but points are floats (n, d)": LATENTS,
        "coordinate 1 is the same in all points": POINTS * np.float32([1, 0]),
    },
    "latents:a.npy": {
        "latents are floats (n, ...), such as": LATENTS[:, 0, 0, 0],
        "it holds int64": LATENTS.astype(int),
        "with NaN or infinity": np.where(LATENTS > 3, np.nan, LATENTS),
        "it is no array of numbers that numpy.save wrote": NOT_NUMBERS,
        "its numbers are all alike in float32; subtract": LATENTS.astype(float) * 1e-4 + 100,
    },
    "latents:a.npz": {
        "must have one array of floats (n, ...); it has a, b": {"a": LATENTS, "b": LATENTS},
        "it has none": {"a": range(3)},
    },
    "latents:a.txt": {"is neither a .npy nor a .npz": b"1 2 3"},
}  # fmt: skip


@cells(REFUSED)
def test_bad_data_are_named(row: str, cell: str):
    data = written(row, REFUSED[row][cell])
    with refused(re.escape(cell)) as caught:
        load(data)
    assert str(caught.value).startswith(f"data={data!r}: ")


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_images_are_turned_as_their_exif_data_say(mode: str):
    pixels, exif = np.arange(12, dtype=np.uint8).reshape(3, 4), Image.Exif()
    for orientation, turned in ((1, pixels), (3, pixels[::-1, ::-1]), (5, pixels.T), (6, pixels[::-1].T)):
        exif[0x0112] = orientation
        Image.fromarray(pixels).convert(mode).save("a.png", exif=exif)
        assert (read_image(Path(), "a.png")[0][..., 0] == turned).all()


def test_latents_are_standardised_as_a_whole_and_restored():
    data = load(written("latents:a.npy", LATENTS.astype(np.float64)))
    assert isinstance(data, Values) and not data.are_points
    assert data.shape == (4, 3, 3) and len(data) == 40 and not data.labels.any()
    assert (data.mean, data.std) == pytest.approx((LATENTS.mean(), LATENTS.std()), rel=1e-5)
    assert (in_files(data)[0] == LATENTS).all()
    assert_close(data.standardised(slice(2)) * data.std + data.mean, data.values[:2])
    with refused("only a network turns latents into images: give its adapter decode="):
        data.decode(data.standardised())


def test_points_are_shown_as_they_are_and_compared_in_their_own_deviations():
    data = load(written("points:p.npy", POINTS * np.float32([1, 5])))  # a warning would be an error
    assert isinstance(data, Values)
    assert_close(data.decode(data.standardised()), data.values)
    features = data.features(data.values)
    assert_close(features.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    assert_close(features.std(dim=0, correction=0), torch.ones(2))


def test_labels_move_with_their_latents_and_a_name_holds_the_content():
    names = []
    for labels in (range(40), range(39, -1, -1)):
        name = resolve(written("latents:a.npz", {"anything": LATENTS, "labels": labels}))
        assert in_files(load(name))[1] == [*labels] and resolve(name) == name
        names.append(name)
    assert names[0] != names[1]
