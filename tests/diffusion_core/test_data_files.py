"""Files of a user's images that are refused, each with what to do."""

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from user_images import GREY, RGB, npz, save

from diffusion_core.data.load import load
from diffusion_core.data.readers import read_image


def mixed(path: Path) -> str:
    save(path / "c" / "b.png", GREY[1])
    save(path / "c" / "d.png", RGB[0])
    return f"folder:{path}"


def oblong(path: Path) -> str:
    save(path / "a.png", GREY[0, :20])
    save(path / "b.png", GREY[1, :20])
    return f"folder:{path}"


def cut(path: Path, ending: str) -> str:
    """A file of which the last quarter is missing."""
    save(file := path / f"a.{ending}", RGB[0])
    file.write_bytes((whole := file.read_bytes())[: len(whole) * 3 // 4])
    return f"folder:{path}"


def deep(path: Path) -> str:
    save(path / "a.png", GREY[0].astype(np.uint16) * 256)
    return f"folder:{path}"


def no_archive(path: Path) -> str:
    np.save(path / "x.npy", GREY)
    (path / "x.npy").rename(path / "x.npz")
    return f"npz:{path / 'x.npz'}"


def objects(path: Path) -> str:
    return npz(path, images=GREY, labels=np.array(list("abcd"), dtype=object))


def beside(path: Path) -> str:
    for name, pixels in zip(["a/1.png", "b/1.png", "c.png"], GREY, strict=False):
        save(path / name, pixels)
    return f"folder:{path}"


def no_image(path: Path) -> str:
    save(path / "a" / "1.png", GREY[0])
    (path / "a" / "labels.csv").write_text("1,0")
    return f"folder:{path}"


def film(path: Path) -> str:
    first, *others = map(Image.fromarray, GREY)
    first.save(path / "a.gif", save_all=True, append_images=others)
    return f"folder:{path}"


def png(path: Path, side: int, bits: int, colour: int, rows: bytes = b"") -> str:
    """A PNG written by hand: what its header says of its size, and its rows."""
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    (path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return f"folder:{path}"


def deep_rgb(path: Path) -> str:
    """16 bits a channel, of which Pillow reads 8."""
    return png(path, 8, 16, 2, bytes(8 * (1 + 8 * 6)))


def dark(path: Path) -> str:
    """Images of four bits, as files."""
    for index, pixels in enumerate(GREY):
        save(path / "dark" / f"{index}.png", pixels // 16)
    return f"folder:{path / 'dark'}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: f"folder:{path / 'no'}", "no is not a folder"),
        (lambda path: f"folder:{path}", "there are no images below "),
        (mixed, "one square size, but c/b.png is 28x28 and c/d.png is 32x32; crop or resize the files first"),
        (oblong, "one square size, but a.png is 28x20; crop or resize"),
        (beside, "c.png lies beside the folder a; move it into the folder of its class"),
        (no_image, "a/labels.csv cannot be read as an image (cannot identify image file"),
        (no_image, "Every file must be one of PNG, JPEG, BMP, WEBP, GIF, TIFF; move others elsewhere, or begin their"),
        (lambda path: cut(path, "png"), "a.png cannot be read as an image ("),
        (lambda path: cut(path, "jpg"), "a.jpg cannot be read as an image (image file is truncated"),
        (film, "a.gif has 4 images; save each of them as a file"),
        (deep, "a.png has more than 8 bits a channel; convert it to 8 bits first"),
        (deep_rgb, "a.png has more than 8 bits a channel; convert it to 8 bits first"),
        (lambda path: png(path, 30_000, 1, 0), "a.png cannot be read as an image (Image size (900000000 pixels)"),
        (lambda path: png(path, 9_000, 1, 0), "a.png is 9000x9000; the limit is 8192x8192"),
        (dark, "is 15, but pixels are 0 to 255; multiply them by 17"),
        (lambda path: f"npz:{path / 'no.npz'}", "no such file: "),
        (no_archive, "x.npz is not a .npz file, as numpy.savez writes it"),
        (objects, "x.npz cannot be read (Object arrays cannot be loaded"),
        (lambda path: npz(path, weights=GREY, masks=GREY), "weights, masks could all be the images; call one 'images'"),
        (lambda path: npz(path, images=GREY / 255, masks=GREY), "are called 'images'; it has images: float64 (4, 28,"),
        (lambda path: npz(path, x=RGB[..., :2]), "it has x: uint8 (4, 32, 32, 2)"),
        (npz, "it has no arrays"),
        (lambda path: npz(path, x=GREY[:0]), "its array 'x' has no images; at least one is needed"),
        (lambda path: npz(path, x=GREY[:, :20]), "images must be square, but those of 'x' are 28x20; crop or pad"),
        (lambda path: npz(path, images=GREY.transpose(1, 2, 0)), "(28, 28, 4): the first axis must number the images"),
        (lambda path: npz(path, images=GREY // 128), "the largest value of 'images' is 1, but pixels are 0 to 255"),
        (lambda path: npz(path, x=GREY * 0), "images that are all alike have no scale"),
        (lambda path: npz(path, images=GREY, labels=np.arange(3)), "its array 'labels' is int64 (3,); labels of 4"),
        (lambda path: npz(path, images=GREY, labels=np.arange(4) + 0.5), "are whole numbers from 0 or texts, (4,)"),
        (lambda path: npz(path, images=GREY, labels=np.arange(4) - 1), "are whole numbers from 0 or texts, (4,)"),
        (lambda path: npz(path, images=GREY, labels=np.eye(4)), "is float64 (4, 4); labels of 4 images are whole"),
    ],
    ids=[
        "no-folder", "no-images", "mixed", "oblong", "beside", "no-image", "formats", "truncated", "truncated-jpeg",
        "film", "16-bit", "deep-rgb", "bomb", "large", "four-bits", "no-file", "no-archive", "objects", "several",
        "float-images", "channels", "no-arrays", "empty", "oblong-array", "last-axis", "binary", "flat", "short",
        "fractions", "negative", "one-hot",
    ],
)  # fmt: skip
def test_bad_data_are_named(make: Callable[[Path], str], message: str, tmp_path: Path) -> None:
    name = make(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(name)
    assert str(caught.value).startswith(f"data={name!r}: ")


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_images_are_turned_as_their_exif_data_say(mode: str, tmp_path: Path) -> None:
    pixels, exif = np.arange(12, dtype=np.uint8).reshape(3, 4), Image.Exif()
    for orientation, turned in ((1, pixels), (3, pixels[::-1, ::-1]), (5, pixels.T), (6, pixels[::-1].T)):
        exif[0x0112] = orientation
        Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png", exif=exif)
        assert (read_image(tmp_path, "a.png")[0][..., 0] == turned).all()
