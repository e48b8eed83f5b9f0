"""A user's own images: what is read from folders and .npz files, in which order, and its fingerprint."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from user_images import GREY, RGB, npz, save

from diffusion_core.data.load import load, random_order, resolve


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


@pytest.mark.parametrize("side", [7, 1025, 2048])
def test_a_size_out_of_range_is_refused(side: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"images of {side}x{side}; the size must be from 8 to 1024"):
        load(f"npz{side}:{tmp_path}")


def test_an_array_called_images_is_taken(tmp_path: Path) -> None:
    pixels = in_file_order(load(npz(tmp_path, a=GREY[[1]], images=GREY[:2], z=GREY / 255)).pixels)
    assert (pixels[:, 0, 2:30, 2:30].numpy() == GREY[:2]).all()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"labels": np.array([3, 1, 2, 0], dtype=np.uint8), "y": np.arange(4)}, [3, 1, 2, 0]),
        ({"labels": np.array([3.0, 1, 2, 0])}, [3, 1, 2, 0]),
        ({"labels": np.array([3, 1, 2, 0])[:, None]}, [3, 1, 2, 0]),
        ({"labels": np.array(["cat", "ape", "bee", "ape"])}, [2, 0, 1, 0]),
        ({"labels": np.array([[b"cat"], [b"ape"], [b"bee"], [b"ape"]])}, [2, 0, 1, 0]),
        ({"labels": np.array([True, False, True, True])}, [1, 0, 1, 1]),
        ({"masks": GREY}, [0, 0, 0, 0]),
    ],
    ids=["labels", "floats", "column", "texts", "bytes", "bool", "none"],
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
    assert now != resolved
    for call in (load, resolve):
        with pytest.raises(ValueError, match=r"x\.npz has changed since .* its fingerprint is now " + now[-12:]):
            call(resolved)


def test_data_without_a_test_split_are_said(tmp_path: Path) -> None:
    for name in ("mnist5k", npz(tmp_path, images=GREY)):
        with pytest.raises(ValueError, match=f"data='{name}' has no test split; data='mnist' has one"):
            load(name, train=False)
