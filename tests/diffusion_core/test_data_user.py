"""A user's own images, latents and points: what is read, in which order, its fingerprint, and what is refused."""

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from user_images import GREY, RGB, npz, save

from diffusion_core.data.dataset import Values
from diffusion_core.data.load import load, random_order, resolve
from diffusion_core.data.readers import read_image


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


@pytest.mark.parametrize("name", ["2.gif", "2.tif", "2.TIFF", "2.webp", "link.png", "without-suffix"])
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
    with pytest.warns(UserWarning, match="1 of 3 images of .* have colours among grey ones"):
        images = load(f"folder:{tmp_path}")
    assert images.shape == (3, 32, 32)
    assert (in_file_order(images.pixels)[0].numpy() == RGB[0, :, :, 0]).all()
    assert torch.equal(images.to_pixels(images.standardised()), images.pixels)


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    rgba = np.concatenate([RGB[0], np.full((32, 32, 1), 255, dtype=np.uint8)], axis=2)
    rgba[:16, :, 3] = 0
    save(tmp_path / "1.png", rgba)
    with pytest.warns(UserWarning, match="1 of 1 images of .* have transparent pixels, which are laid over black"):
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


def test_an_array_called_images_is_taken(tmp_path: Path) -> None:
    pixels = in_file_order(load(npz(tmp_path, a=GREY[[1]], images=GREY[:2], z=GREY / 255)).pixels)
    assert (pixels[:, 0, 2:30, 2:30].numpy() == GREY[:2]).all()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"labels": np.array([3, 1, 2, 0], dtype=np.uint8), "y": np.arange(4)}, [3, 1, 2, 0]),
        ({"labels": np.array([3.0, 1, 2, 0])}, [3, 1, 2, 0]),
        ({"labels": np.array(["cat", "ape", "bee", "ape"])}, [2, 0, 1, 0]),
        ({"labels": np.array([[b"cat"], [b"ape"], [b"bee"], [b"ape"]])}, [2, 0, 1, 0]),
        ({"masks": GREY}, [0, 0, 0, 0]),
    ],
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
)
def test_a_loss_of_labels_is_said(make: Callable[[Path], str], message: str, tmp_path: Path) -> None:
    name = make(tmp_path)
    with pytest.warns(UserWarning, match=message):
        load(name)


def test_images_sorted_by_class_come_in_a_random_order_with_their_labels(tmp_path: Path) -> None:
    pixels = np.repeat(np.arange(10, dtype=np.uint8), 40)[:, None, None] + np.zeros((400, 8, 8), dtype=np.uint8)
    images = load(npz(tmp_path, images=20 * pixels, labels=pixels[:, 0, 0].astype(np.int64)).replace("npz:", "npz8:"))
    assert (images.pixels[:, 0, 0, 0] == 20 * images.labels).all() and images.labels.bincount().tolist() == [40] * 10
    for part in (images.labels[:100], images.labels[-100:]):
        assert (part.bincount(minlength=10) >= 3).all()


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
    for call in (load, resolve):
        with pytest.raises(ValueError, match=r"x\.npz has changed since .* its fingerprint is now " + now[-12:]):
            call(resolved)


def test_data_without_a_test_split_are_said(tmp_path: Path) -> None:
    for name in ("mnist5k", npz(tmp_path, images=GREY)):
        with pytest.raises(ValueError, match=f"data='{name}' has no test split; data='mnist' has one"):
            load(name, train=False)
    with pytest.raises(ValueError, match="images of 1025x1025; the size must be from 8 to 1024"):
        load(f"npz1025:{tmp_path}")


def mixed(path: Path) -> str:
    save(path / "c" / "b.png", GREY[1])
    save(path / "c" / "d.png", RGB[0])
    return f"folder:{path}"


def oblong(path: Path) -> str:
    save(path / "a.png", GREY[0, :20])
    return f"folder:{path}"


def cut(path: Path) -> str:
    """A file of which the last quarter is missing."""
    save(file := path / "a.jpg", RGB[0])
    file.write_bytes((whole := file.read_bytes())[: len(whole) * 3 // 4])
    return f"folder:{path}"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_jpegs_that_are_cut_short_but_have_an_end_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(file := tmp_path / "a.jpg", **options)
    whole = file.read_bytes()
    assert read_image(tmp_path, "a.jpg")[0].shape == pixels.shape
    for size in (len(whole) // 2, len(whole) - 40):
        file.write_bytes(whole[:size] + b"\xff\xd9")
        with pytest.raises(ValueError, match=r"a.jpg cannot be read as an image \(image file is truncated"):
            read_image(tmp_path, "a.jpg")


def deep(path: Path) -> str:
    save(path / "a.png", GREY[0].astype(np.uint16) * 256)
    return f"folder:{path}"


def no_archive(path: Path) -> str:
    np.save(path / "x.npy", GREY)
    (path / "x.npy").rename(path / "x.npz")
    return f"npz:{path / 'x.npz'}"


def beside(path: Path) -> str:
    for name in ("a/1.png", "c.png"):
        save(path / name, GREY[0])
    return f"folder:{path}"


def no_image(path: Path) -> str:
    (path / "labels.csv").write_text("1,0")
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


def dark(path: Path) -> str:
    """Images of four bits, as files."""
    for index, pixels in enumerate(GREY):
        save(path / "dark" / f"{index}.png", pixels // 16)
    return f"folder:{path / 'dark'}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: f"folder:{path / 'no'}", "there is no folder "),
        (lambda path: f"folder:{path}", "there are no images below "),
        (mixed, "one square size, but c/b.png is 28x28 and c/d.png is 32x32; crop or resize the files first"),
        (oblong, "one square size, but a.png is 28x20; crop or resize"),
        (beside, "c.png lies beside the folder a; move it into the folder of its class"),
        (no_image, "Every file must be one of PNG, JPEG, BMP, WEBP, GIF, TIFF; move others elsewhere, or begin their"),
        (cut, "a.jpg cannot be read as an image (image file is truncated"),
        (film, "a.gif has 4 images; save each of them as a file"),
        (deep, "a.png has more than 8 bits a channel; convert it to 8 bits first"),
        (lambda path: png(path, 8, 16, 2, bytes(8 * (1 + 8 * 6))), "a.png has more than 8 bits a channel"),
        (lambda path: png(path, 9_000, 1, 0), "a.png is 9000x9000; the limit is 8192x8192"),
        (dark, "is 15, but pixels are 0 to 255; multiply them by 17"),
        (lambda path: f"npz:{path / 'no.npz'}", "no such file: "),
        (no_archive, "x.npz is neither a .npy nor a .npz file, as numpy.save and numpy.savez write them"),
        (lambda path: npz(path, images=GREY, labels=np.array(list("abcd"), dtype=object)), "x.npz cannot be read (Obj"),
        (lambda path: npz(path, weights=GREY, masks=GREY), "weights, masks could all be the images; call one 'images'"),
        (lambda path: npz(path, images=GREY / 255, masks=GREY), "are called 'images'; it has images: float64 (4, 28,"),
        (npz, "it has no arrays"),
        (lambda path: npz(path, x=GREY[:0]), "(0, 28, 28): its first axis must number the images, at least one"),
        (lambda path: npz(path, x=GREY[:, :20]), "images must be square, but those of 'x' are 28x20; crop or pad"),
        (lambda path: npz(path, images=GREY.transpose(1, 2, 0)), "(28, 28, 4): its first axis must number the images"),
        (lambda path: npz(path, images=GREY // 128), "the largest value of 'images' is 1, but pixels are 0 to 255"),
        (lambda path: npz(path, x=GREY * 0), "images that are all alike have no scale"),
        (lambda path: npz(path, images=GREY, labels=np.arange(3)), "its array 'labels' is int64 (3,); labels of 4"),
        (lambda path: npz(path, images=GREY, labels=np.arange(4) / 2), "is float64 (4,); labels of 4 images are whole"),
        (lambda path: npz(path, images=GREY, labels=np.eye(4)), "is float64 (4, 4); labels of 4 images are whole"),
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


RNG = np.random.default_rng(0)
LATENTS = (3 + 2 * RNG.normal(size=(40, 4, 3, 3))).astype(np.float32)


def values(name: str) -> Values:
    loaded = load(name)
    assert isinstance(loaded, Values)
    return loaded


def test_latents_are_standardised_as_a_whole_and_restored(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LATENTS.astype(np.float64))
    data = values(f"latents:{tmp_path / 'a.npy'}")
    assert data.shape == (4, 3, 3) and len(data) == 40 and not data.labels.any() and not data.are_points
    assert (data.mean, data.std) == pytest.approx((LATENTS.mean(), LATENTS.std()), rel=1e-5)
    order = random_order(40)
    torch.testing.assert_close(data.values, torch.from_numpy(LATENTS[order]))
    torch.testing.assert_close(data.standardised(slice(2)) * data.std + data.mean, data.values[:2])
    with pytest.raises(ValueError, match="only a network turns latents into images: give its adapter decode="):
        data.decode(data.standardised())


def test_points_are_shown_as_they_are_and_compared_in_their_own_deviations(tmp_path: Path) -> None:
    points = (LATENTS[:, :2, 0, 0] * [1, 5]).astype(np.float32)
    np.save(tmp_path / "p.npy", points)
    data = values(f"points:{tmp_path / 'p.npy'}")
    torch.testing.assert_close(data.decode(data.standardised()), data.values)
    features = data.features(data.values)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(dim=0, correction=0), torch.ones(2))


def test_labels_move_with_their_latents_and_a_name_holds_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, anything=LATENTS, labels=np.arange(40))
    name = resolve(f"latents:{path}")
    data = values(name)
    assert data.labels.tolist() == random_order(40).tolist() and resolve(name) == name
    np.savez(path, anything=LATENTS, labels=np.arange(40)[::-1])
    assert resolve(f"latents:{path}") != name


def test_channels_on_different_scales_are_warned_of(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", LATENTS[:, :2, 0, 0] * np.float32([1, 50]))
    with pytest.warns(UserWarning, match=r"coordinate 0 has 0.0\d+ of the standard deviation .*x.std\(axis=0\)"):
        load(f"points:{tmp_path / 'p.npy'}")
    np.save(tmp_path / "p.npy", LATENTS * np.float32([1, 50, 50, 50])[:, None, None])
    with pytest.warns(UserWarning, match=r"channel 0 has .* those of all$"):
        load(f"latents:{tmp_path / 'p.npy'}")
    np.save(tmp_path / "p.npy", LATENTS[:, :2, 0, 0] * np.float32([1, 5]))
    load(f"points:{tmp_path / 'p.npy'}")  # a warning would be an error


@pytest.mark.parametrize(
    ("kind", "file", "saved", "message"),
    [
        ("points", "a.npy", LATENTS, r"it holds float32 \(40, 4, 3, 3\), but points are floats \(n, d\)"),
        ("latents", "a.npy", LATENTS[:, 0, 0, 0], r"latents are floats \(n, \.\.\.\), such as"),
        ("latents", "a.npy", LATENTS.astype(int), "it holds int64"),
        ("latents", "a.npy", np.where(LATENTS > 3, np.nan, LATENTS), "with NaN or infinity"),
        ("latents", "a.npy", np.array([{}], dtype=object), "it is no array of numbers that numpy.save wrote"),
        ("latents", "a.npz", {"a": LATENTS, "b": LATENTS}, r"must have one array of floats .*; it has a, b"),
        ("latents", "a.npz", {"a": np.arange(3)}, "it has none"),
        ("latents", "a.txt", None, "is neither a .npy nor a .npz"),
        ("latents", "a.npy", LATENTS.astype(float) * 1e-4 + 100, "its numbers are all alike in float32; subtract"),
        ("points", "a.npy", LATENTS[:, :2, 0, 0] * np.float32([1, 0]), "coordinate 1 is the same in all points"),
    ],
)
def test_what_holds_no_values_is_refused(kind: str, file: str, saved: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / file
    if isinstance(saved, dict):
        np.savez(path, **saved)
    elif saved is not None:
        np.save(path, saved)
    else:
        path.write_text("1 2 3")
    with pytest.raises(ValueError, match=message):
        load(f"{kind}:{path}")
