"""Files of a user's images that are refused, each with what to do."""

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from user_images import GREY, RGB, npz, save

from diffusion_core.data import load
from diffusion_core.data_files import read_image


def mixed(path: Path) -> str:
    save(path / "c" / "b.png", GREY[1])
    save(path / "c" / "d.png", RGB[0])
    return f"folder:{path}"


def oblong(path: Path) -> str:
    save(path / "a.png", GREY[0, :20])
    save(path / "b.png", GREY[1, :20])
    return f"folder:{path}"


def broken(path: Path, keep: int) -> str:
    save(path / "a.png", RGB[0])
    (path / "a.png").write_bytes((path / "a.png").read_bytes()[:keep])
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


def deep_ppm(path: Path) -> str:
    (path / "a.ppm").write_bytes(b"P6 8 8 65535\n" + bytes(8 * 8 * 6))
    return f"folder:{path}"


def loop(path: Path) -> str:
    save(path / "a" / "1.png", GREY[0])
    (path / "a" / "back").symlink_to(path)
    return f"folder:{path}"


def pipe(path: Path) -> str:
    os.mkfifo(path / "a.png")  # reading it would wait for ever
    return f"folder:{path}"


def circle(path: Path) -> str:
    (path / "a.png").symlink_to(path / "b.png")
    (path / "b.png").symlink_to(path / "a.png")
    return f"folder:{path}"


def boasting(path: Path) -> str:
    """An array of four images whose header says that it has a terabyte."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**30, 32, 32)})
    with zipfile.ZipFile(path / "x.npz", "w") as archive:
        archive.writestr("images.npy", buffer.getvalue() + RGB.tobytes())
    return f"npz:{path / 'x.npz'}"


def twice(path: Path) -> str:
    with zipfile.ZipFile(path / "x.npz", "w") as archive:
        for name in ("images", "images.npy"):
            buffer = io.BytesIO()
            np.save(buffer, GREY)
            archive.writestr(name, buffer.getvalue())
    return f"npz:{path / 'x.npz'}"


def encrypted(path: Path) -> str:
    """A file whose members are marked as encrypted."""
    name = npz(path, images=GREY)
    content = bytearray((path / "x.npz").read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + flags] |= 1
    (path / "x.npz").write_bytes(content)
    return name


def damaged(path: Path) -> str:
    """A file with one wrong byte among the pixels."""
    name = npz(path, images=np.tile(GREY, (100, 1, 1)))
    content = bytearray((path / "x.npz").read_bytes())
    content[100_000] ^= 1
    (path / "x.npz").write_bytes(content)
    return name


def dark(path: Path) -> str:
    """Images of four bits, as files."""
    for index, pixels in enumerate(GREY):
        save(path / "dark" / f"{index}.png", pixels // 16)
    return f"folder:{path / 'dark'}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pipe, "a.png is not a file"),
        (lambda path: npz(path, weights=GREY, masks=GREY), "weights, masks could all be the images; call one 'images'"),
        (circle, "a.png is not a file"),
        (lambda path: png(path, 30_000, 1, 0), "a.png cannot be read as an image (Image size (900000000 pixels)"),
        (lambda path: png(path, 9_000, 1, 0), "a.png is 9000x9000; the limit is 8192x8192"),
        (lambda path: npz(path, images=GREY[:2], x_train=GREY), "images, x_train could all be the images; call one"),
        (lambda path: npz(path, x=GREY, y=GREY), "x, y could all be the images; call one 'images'"),
        (lambda path: npz(path, images=GREY // 128), "the largest value of 'images' is 1, but pixels are 0 to 255"),
        (lambda path: npz(path, images=GREY // 16), "the largest value of 'images' is 15, but pixels are 0 to 255"),
        (dark, "is 15, but pixels are 0 to 255; multiply them by 17"),
        (lambda path: npz(path, images=GREY.transpose(1, 2, 0)), "(28, 28, 4): the first axis must number the images"),
        (lambda path: npz(path, images=RGB.transpose(1, 2, 0, 3)), "(32, 32, 4, 3): the first axis must number the"),
        (twice, "the array 'images' of "),
        (lambda path: npz(path, images=GREY[:1], labels=np.array(3)), "its array 'labels' is int64 (); labels of 1"),
        (lambda path: "folder:~nobody-of-this-name", "Could not determine home directory"),
        (lambda path: f"npz:{path}/{'x' * 5000}", "File name too long"),
        (boasting, "the array 'images' of "),
        (encrypted, "cannot be read (File 'images.npy' is encrypted"),
        (damaged, "the array 'images' of "),
        (lambda path: f"folder:{path / 'no'}", "no is not a folder"),
        (lambda path: f"folder:{path}", "there are no images below "),
        (mixed, "one square size, but c/b.png is 28x28 and c/d.png is 32x32; crop or resize the files first"),
        (oblong, "one square size, but a.png is 28x20; crop or resize"),
        (lambda path: broken(path, 5), "a.png cannot be read as an image (cannot identify image file"),
        (lambda path: broken(path, 500), "a.png cannot be read as an image ("),
        (deep, "a.png has more than 8 bits a channel; convert it to 8 bits first"),
        (lambda path: f"npz:{path / 'no.npz'}", "no such file: "),
        (no_archive, "x.npz is not a .npz file, as numpy.savez writes it"),
        (objects, "the array 'labels' of "),
        (beside, "c.png lies beside the folder a; move it into the folder of its class"),
        (no_image, "a/labels.csv cannot be read as an image (cannot identify image file"),
        (no_image, "Every file must be one of PNG, JPEG, BMP, WEBP, GIF, TIFF, PPM; move others elsewhere, or begin"),
        (film, "a.gif has 4 images; save each of them as a file"),
        (deep_rgb, "a.png has more than 8 bits a channel; convert it to 8 bits first"),
        (deep_ppm, "a.ppm has more than 8 bits a channel; convert it to 8 bits first"),
        (loop, "a/back is a link to a folder that it lies in; remove it"),
        (lambda path: npz(path, images=GREY / 255, masks=GREY), "are called 'images'; it has images: float64 (4, 28,"),
        (lambda path: npz(path, x_train=GREY / 255, x=GREY), "are called 'x_train'; it has x_train: float64 (4, 28,"),
        (lambda path: npz(path, images=GREY, labels=np.arange(3)), "its array 'labels' is int64 (3,); labels of 4"),
        (lambda path: npz(path, images=GREY, labels=np.arange(4) + 0.5), "are whole numbers from 0 or texts, (4,)"),
        (lambda path: npz(path, images=GREY, labels=np.arange(4) - 1), "are whole numbers from 0 or texts, (4,)"),
        (lambda path: npz(path, images=GREY, y=np.full(4, np.nan)), "its array 'y' is float64 (4,); labels of 4"),
        (lambda path: npz(path, images=GREY, labels=np.ones((4, 3))), "or one-hot, (4, k). Rename it if it holds"),
        (lambda path: npz(path, images=GREY, labels=np.full(4, 2**63, "u8")), "'labels' is uint64"),
        (lambda path: npz(path, x=RGB[..., :2]), "it has x: uint8 (4, 32, 32, 2)"),
        (npz, "it has no arrays"),
        (lambda path: npz(path, x=GREY[:0]), "its array 'x' has no images; at least one is needed"),
        (lambda path: npz(path, x=GREY[:, :20]), "images must be square, but those of 'x' are 28x20; crop or pad"),
        (lambda path: npz(path, x=GREY * 0), "images that are all alike have no scale"),
    ],
    ids=[
        "pipe", "several", "circle", "bomb", "large", "two-names", "labels-alike", "binary", "four-bits",
        "four-bits-files", "last-axis", "last-axis-rgb", "twice", "no-dimension",
        "no-user", "too-long", "boasting", "encrypted", "damaged", "no-folder", "no-images",
        "mixed", "oblong", "no-header", "truncated", "16-bit", "no-file", "no-archive",
        "objects", "beside", "no-image", "formats", "film", "deep-rgb", "deep-ppm", "loop", "float-images",
        "float-x_train", "short", "fractions", "negative", "nan", "no-one-hot", "huge", "channels",
        "no-arrays", "empty", "oblong-array", "flat",
    ],
)  # fmt: skip
def test_bad_data_are_named(make: Callable[[Path], str], message: str, tmp_path: Path) -> None:
    name = make(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(name)
    assert str(caught.value).startswith(f"data={name!r}: ")


@pytest.mark.parametrize("content", [b"P1 1 1 0", b"P2 1 1 15 15", b"P3 1 1 255 255 255 255", b"P6 1 1 100 ddd"])
def test_ppm_of_at_most_8_bits_is_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(content)
    assert (np.asarray(read_image(tmp_path, "a.ppm")) == 255).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_was_cut_and_closed_again_is_refused(mode: str, progressive: bool, tmp_path: Path) -> None:
    """Pillow fills the rest with grey, and says nothing."""
    path, noise = tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path, progressive=progressive)
    assert read_image(tmp_path, "a.jpg").size == (64, 64)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 5] + b"\xff\xd9")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as an image \(a part of its data is missing\)"):
        read_image(tmp_path, "a.jpg")


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_images_are_turned_as_their_exif_data_say(mode: str, tmp_path: Path) -> None:
    pixels, exif = np.arange(12, dtype=np.uint8).reshape(3, 4), Image.Exif()
    for orientation, turned in ((1, pixels), (3, pixels[::-1, ::-1]), (5, pixels.T), (6, pixels[::-1].T)):
        exif[0x0112] = orientation
        Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png", exif=exif)
        assert (np.asarray(read_image(tmp_path, "a.png"))[..., 0] == turned).all()
