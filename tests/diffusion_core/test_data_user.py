"""A user's own images: what is read from folders and .npz files, its fingerprint, and what is refused."""

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
import torch
from numpy.typing import NDArray
from PIL import Image

from diffusion_core.data import load, resolve
from diffusion_core.data_user import random_order

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (4, 28, 28), dtype=np.uint8)
RGB = RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def save(path: Path, pixels: NDArray[np.generic], mode: str | None = None, **how: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image.convert(mode).save(path) if mode else image.save(path, **how)


def npz(path: Path, **arrays: NDArray[np.generic]) -> str:
    np.savez(path / "x.npz", **arrays)  # type: ignore[arg-type]  # numpy's stubs take the arrays for allow_pickle
    return f"npz:{path / 'x.npz'}"


def in_file_order(values: torch.Tensor) -> torch.Tensor:
    """Images or labels as they were before they were put into a random order."""
    return values[np.argsort(random_order(len(values)))]


def test_folder_is_sorted_labelled_by_subfolder_and_padded(tmp_path: Path) -> None:
    for name, pixels in zip(["b/9.png", "a/x/2.PNG", "b/10.bmp", "a/1.png"], GREY, strict=True):
        save(tmp_path / name, pixels)
    save(tmp_path / ".thumbnails" / "1.png", GREY[0, :5, :5])
    (tmp_path / "a" / ".notes.txt").write_text("not an image")
    images = load(f"folder:{tmp_path}")
    assert images.shape == (1, 32, 32) and in_file_order(images.labels).tolist() == [0, 0, 1, 1]
    pixels = in_file_order(images.pixels)[:, 0, 2:30, 2:30]
    assert (pixels.numpy() == GREY[[3, 1, 2, 0]]).all()  # a/1, a/x/2, b/10, b/9
    assert images.pixels[:, :, :2].sum() == 0


@pytest.mark.parametrize("name", ["2.gif", "2.tif", "2.TIFF", "2.pgm", "2.webp", "link.png", "without-suffix"])
def test_every_file_of_a_folder_is_read_and_links_are_followed(name: str, tmp_path: Path) -> None:
    save(tmp_path / "set" / "a" / "1.png", GREY[0])
    real = tmp_path / "elsewhere" / name
    if "." in name:
        save(real, GREY[1], **{"lossless": True} if name.endswith("webp") else {})
    else:
        save(real.with_suffix(".png"), GREY[1])
        real.with_suffix(".png").rename(real)
    (tmp_path / "set" / "b").symlink_to(real.parent)
    images = load(f"folder:{tmp_path / 'set'}")
    assert in_file_order(images.labels).tolist() == [0, 1]
    assert (in_file_order(images.pixels)[:, 0, 2:30, 2:30].numpy() == GREY[:2]).all()


def test_one_coloured_image_makes_all_rgb(tmp_path: Path) -> None:
    save(tmp_path / "1.png", RGB[0, :, :, 0])
    save(tmp_path / "2.png", RGB[1, :, :, 0], mode="RGB")
    assert load(f"folder:{tmp_path}").shape == (1, 32, 32)
    save(tmp_path / "3.webp", RGB[2])
    images = load(f"folder:{tmp_path}")
    assert images.shape == (3, 32, 32)
    assert (in_file_order(images.pixels)[0].numpy() == RGB[0, :, :, 0]).all()
    assert torch.equal(images.to_pixels(images.standardised()), images.pixels)


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    rgba = np.concatenate([RGB[0], np.full((32, 32, 1), 255, dtype=np.uint8)], axis=2)
    rgba[:16, :, 3] = 0
    save(tmp_path / "1.png", rgba)
    pixels = load(f"folder:{tmp_path}").pixels[0].permute(1, 2, 0).numpy()
    assert (pixels[:16] == 0).all() and (pixels[16:] == RGB[0, 16:]).all()


def test_large_images_are_reduced_without_aliasing(tmp_path: Path) -> None:
    stripes = np.zeros((2, 256, 256), dtype=np.uint8)
    stripes[0, :, ::2] = 255  # the finest there are: what is left of them after reduction is aliasing
    stripes[1, :128] = 255
    for index, image in enumerate(stripes):
        save(tmp_path / "folder" / f"{index}.png", image)
    from_folder = in_file_order(load(f"folder:{tmp_path / 'folder'}").pixels)
    assert from_folder.shape == (2, 1, 32, 32)
    assert ((from_folder[0].float() - 127.5).abs() < 5).all()
    assert (from_folder[1, 0, :14] == 255).all() and (from_folder[1, 0, 18:] == 0).all()
    for images in (stripes, stripes[..., None], stripes[:, None]):
        assert torch.equal(in_file_order(load(npz(tmp_path, images=images)).pixels), from_folder)
    coloured = np.stack([stripes, stripes, 255 - stripes], axis=3)
    assert torch.equal(in_file_order(load(npz(tmp_path, images=coloured)).pixels)[:, 0], from_folder[:, 0])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, np.pad(GREY[:, None], ((0, 0), (0, 0), (2, 2), (2, 2)))),
        (GREY[..., None], np.pad(GREY[:, None], ((0, 0), (0, 0), (2, 2), (2, 2)))),
        (RGB, RGB.transpose(0, 3, 1, 2)),
        (RGB.transpose(0, 3, 1, 2), RGB.transpose(0, 3, 1, 2)),
        (RGB[..., [1, 1, 1]], RGB[:, None, :, :, 1]),
    ],
    ids=["n-h-w", "n-h-w-1", "n-h-w-3", "n-3-h-w", "grey-as-rgb"],
)
def test_npz_layouts(array: NDArray[np.uint8], expected: NDArray[np.uint8], tmp_path: Path) -> None:
    images = load(npz(tmp_path, anything=array))
    assert (in_file_order(images.pixels).numpy() == expected).all() and images.labels.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("side", [8, 28, 48, 64])
def test_a_size_in_the_name_is_the_size_of_the_images(side: int, tmp_path: Path) -> None:
    """Larger images are reduced to it, as Pillow does it, and smaller ones are padded."""
    large = np.repeat(np.repeat(GREY[0], 4, axis=0), 4, axis=1)[:96, :96]
    reduced = np.asarray(Image.fromarray(large).resize((side, side), Image.Resampling.BICUBIC))
    plain = npz(tmp_path, images=large[None]).replace("npz:", "npz{}:")
    save(tmp_path / "folder" / "1.png", large)
    for name in (plain.format(side), f"folder{side}:{tmp_path / 'folder'}"):
        assert (load(name).pixels[0, 0].numpy() == reduced).all()
        assert load(resolve(name)).name.startswith(name + "@") and resolve(resolve(name)) == resolve(name)
    if side >= 28:
        edge = (side - 28) // 2
        padded = load(npz(tmp_path, images=GREY).replace("npz:", f"npz{side}:"))
        assert padded.shape == (1, side, side) and padded.pixels.sum() == GREY.sum()
        pixels = in_file_order(padded.pixels)
        assert (pixels[0, 0, edge : edge + 28, edge : edge + 28].numpy() == GREY[0]).all()


@pytest.mark.parametrize("side", [7, 65, 128])
def test_a_size_out_of_range_is_refused(side: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"images of {side}x{side}; the size must be from 8 to 64"):
        load(f"npz{side}:{tmp_path}")


@pytest.mark.parametrize("key", ["images", "x_train", "x", "arr_0"])
def test_npz_prefers_the_usual_names(key: str, tmp_path: Path) -> None:
    pixels = in_file_order(load(npz(tmp_path, **{"a": GREY[[1]], key: GREY[:2], "z": GREY / 255})).pixels)
    assert (pixels[:, 0, 2:30, 2:30].numpy() == GREY[:2]).all()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"labels": np.array([3, 1, 2, 0]), "y": np.arange(4)}, [3, 1, 2, 0]),
        ({"y_train": np.array([3, 1, 2, 0], dtype=np.uint8)}, [3, 1, 2, 0]),
        ({"labels": np.array([3.0, 1, 2, 0])}, [3, 1, 2, 0]),
        ({"labels": np.array([3, 1, 2, 0])[:, None]}, [3, 1, 2, 0]),
        ({"labels": np.array(["cat", "ape", "bee", "ape"])}, [2, 0, 1, 0]),
        ({"labels": np.array([[b"cat"], [b"ape"], [b"bee"], [b"ape"]])}, [2, 0, 1, 0]),
        ({"labels": np.array([True, False, True, True])}, [1, 0, 1, 1]),
        ({"labels": np.eye(5)[[3, 1, 2, 0]]}, [3, 1, 2, 0]),
        ({"masks": GREY}, [0, 0, 0, 0]),
    ],
    ids=["labels", "y_train", "floats", "column", "texts", "bytes", "bool", "one-hot", "none"],
)
def test_npz_labels(arrays: dict[str, NDArray[np.generic]], expected: list[int], tmp_path: Path) -> None:
    assert in_file_order(load(npz(tmp_path, images=GREY, **arrays)).labels).tolist() == expected


def nested(path: Path) -> str:
    for index, name in enumerate(["train/cat", "train/dog", "test/cat"]):
        save(path / name / "1.png", GREY[index])
    return f"folder:{path}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: npz(path, images=GREY, target=np.arange(4), seed=np.arange(2)), "no labels; if target is them,"),
        (lambda path: npz(path, images=GREY, labels=np.array(["8", "9", "10", "11"])), "of their names: 10 is 0, 11"),
        (nested, "are the folders in it, not those below, such as test/cat"),
    ],
    ids=["another-name", "numbers", "nested"],
)
def test_a_loss_of_labels_is_said(make: Callable[[Path], str], message: str, tmp_path: Path) -> None:
    name = make(tmp_path)
    with pytest.warns(UserWarning, match=message):
        load(name)


def test_images_and_labels_that_were_saved_without_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", GREY, np.array([3, 1, 2, 0]))
    assert in_file_order(load(f"npz:{tmp_path / 'x.npz'}").labels).tolist() == [3, 1, 2, 0]


def test_images_sorted_by_class_come_in_a_random_order_with_their_labels(tmp_path: Path) -> None:
    pixels = np.repeat(np.arange(10, dtype=np.uint8), 40)[:, None, None] + np.zeros((400, 8, 8), dtype=np.uint8)
    images = load(npz(tmp_path, images=pixels, labels=pixels[:, 0, 0].astype(np.int64)).replace("npz:", "npz8:"))
    assert (images.pixels[:, 0, 0, 0] == images.labels).all() and images.labels.bincount().tolist() == [40] * 10
    for part in (images.labels[:100], images.labels[-100:]):
        assert (part.bincount(minlength=10) >= 3).all()


def test_a_folder_and_an_array_of_the_same_images_have_the_same_order(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    for index in reversed(range(20)):  # the order in which files were written does not count
        save(tmp_path / "folder" / str(index // 10) / f"{index:02}.png", pixels[index])
    folder = load(f"folder8:{tmp_path / 'folder'}")
    file = load(npz(tmp_path, images=pixels, labels=np.arange(20) // 10).replace("npz:", "npz8:"))
    assert torch.equal(folder.pixels, file.pixels) and torch.equal(folder.labels, file.labels)
    assert not (file.pixels[:, 0].numpy() == pixels).all()


def test_the_random_order_is_the_same_everywhere() -> None:
    assert random_order(12).tolist() == [9, 3, 0, 11, 6, 8, 1, 2, 4, 7, 5, 10]
    assert sorted(random_order(1000)) == list(range(1000)) and random_order(1).tolist() == [0]


def test_fingerprint_names_the_pixels_and_labels_and_nothing_else(tmp_path: Path) -> None:
    for index, pixels in enumerate(GREY):
        save(tmp_path / "folder" / f"{index}.png", pixels)
    folder, file = f"folder:{tmp_path / 'folder'}", npz(tmp_path, images=GREY)
    resolved = resolve(folder)
    assert re.fullmatch(re.escape(folder) + "@[0-9a-f]{12}", resolved)
    assert resolve(resolved) == resolved and load(resolved).name == resolved
    assert resolved.rpartition("@")[2] == resolve(file).rpartition("@")[2]
    (tmp_path / "folder" / "0.png").rename(tmp_path / "folder" / "00.png")
    assert resolve(folder) == resolved
    relabelled = resolve(npz(tmp_path, images=GREY, labels=np.arange(4)))
    assert relabelled.rpartition("@")[2] != resolved.rpartition("@")[2]


def test_changed_files_are_noticed(tmp_path: Path) -> None:
    resolved = resolve(npz(tmp_path, images=GREY))
    now = resolve(npz(tmp_path, images=GREY[::-1]))
    assert now != resolved
    for call in (load, resolve):
        with pytest.raises(ValueError, match=r"x\.npz has changed since .* its fingerprint is now " + now[-12:]):
            call(resolved)


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


def deep_rgb(path: Path) -> str:
    """A PNG of 16 bits a channel, of which Pillow reads 8."""
    save(path / "a.png", GREY[0, :8, :8])
    content = (path / "a.png").read_bytes()
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(8 * (1 + 8 * 6)))), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    (path / "a.png").write_bytes(content[:8] + b"".join(chunks))
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


def bomb(path: Path) -> str:
    Image.new("1", (30_000, 30_000)).save(path / "a.png")  # 900 million pixels in a file of 110 kB
    return f"folder:{path}"


def large(path: Path) -> str:
    Image.new("1", (9_000, 9_000)).save(path / "a.png")
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pipe, "a.png is not a file"),
        (lambda path: npz(path, weights=GREY, masks=GREY), "weights, masks could all be the images; call one 'images'"),
        (circle, "a.png is not a file"),
        (bomb, "a.png cannot be read as an image (Image size (900000000 pixels) exceeds limit"),
        (large, "a.png is 9000x9000; the limit is 8192x8192"),
        (lambda path: npz(path, images=GREY[:2], x_train=GREY), "images, x_train could all be the images; call one"),
        (lambda path: npz(path, images=GREY // 128), "the largest value of 'images' is 1, but pixels are 0 to 255"),
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
        "pipe", "several", "two-names", "binary", "twice", "no-dimension", "no-user", "too-long",
        "circle", "bomb", "large", "boasting", "encrypted", "damaged", "no-folder", "no-images",
        "mixed", "oblong", "no-header", "truncated", "16-bit", "no-file", "no-archive",
        "objects", "beside", "no-image", "formats", "film", "deep-rgb", "loop", "float-images", "float-x_train",
        "short", "fractions", "negative", "nan", "no-one-hot", "huge", "channels",
        "no-arrays", "empty", "oblong-array", "flat",
    ],
)  # fmt: skip
def test_bad_data_are_named(make: Callable[[Path], str], message: str, tmp_path: Path) -> None:
    name = make(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(name)
    assert str(caught.value).startswith(f"data={name!r}: ")


def test_no_test_split_of_users_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no test split; data='mnist' has one"):
        load(npz(tmp_path, images=GREY), train=False)
