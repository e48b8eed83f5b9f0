"""The data sets, and what happens when they cannot be had."""

import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arrays import column
from refusals import refused
from torchvision.datasets import CIFAR10, MNIST, FashionMNIST
from user_images import black, random_pixels

from diffusion_core.data import DATA_SETS
from diffusion_core.data.load import (
    check_content,
    check_name,
    load,
    resolve,
)


def test_mnist5k_is_5000_padded_standardised_digits():
    images = load("mnist5k")
    assert images.pixels.shape == (5000, 1, 32, 32) and images.shape == (1, 32, 32)
    assert images.labels.bincount().tolist() == [500] * 10
    assert (images.labels[:500].bincount(minlength=10) > 25).all()  # in the package they are sorted
    x = images.standardised()
    assert x.dtype == torch.float32 and abs(x.mean()) < 1e-5 and abs(x.std() - 1) < 1e-4
    assert (images.pixels[:, :, :2] == 0).all() and (images.pixels[:, :, 2:30] > 0).any()
    assert torch.equal(images.to_pixels(x), images.pixels)


def test_a_data_set_is_shown_in_one_line():
    images = load("mnist5k")
    assert repr(images) == "Images('mnist5k', 5000 x 1x32x32, 10 classes, mean 25.6, std 70.3)"
    assert repr(black(16, 3)) == "Images('mine', 2 x 3x16x16, 1 class, mean 40.0, std 70.0)"


def test_to_pixels_rounds_and_clips():
    images = replace(black(1), mean=100.0, std=100.0)
    x = column(torch.tensor([-9.0, -0.996, 0.0, 1.0, 9.0]))
    assert images.to_pixels(x).flatten().tolist() == [0, 0, 100, 200, 255]


@pytest.mark.parametrize("name", ["imagenet", "folder:", "folder", "imagenet@0123456789ab", "mnist@x"])
def test_unknown_name_lists_the_names(name: str):
    message = f"data='{name}': unknown data set; the names are mnist5k, .*, folder:PATH, npz"
    with refused(message):
        load(name)


def test_every_name_passes_the_check_without_its_files():
    for name in (*DATA_SETS, "mnist@0123456789ab", "folder:no/such", "npz:no.npz", "folder:a b@0123456789ab"):
        check_name(name)


def test_embedded_digits_are_those_that_everybody_has():
    assert resolve("mnist5k") == "mnist5k"
    check_content(load("mnist5k"))


@pytest.mark.parametrize(
    "name, source, by_hand",
    [
        ("mnist", (MNIST, "mirrors", ["http://127.0.0.1:9/"]), "t10k-labels-idx1-ubyte, gunzipped, into {}/MNIST/raw"),
        ("fashion-mnist", (FashionMNIST, "mirrors", ["http://127.0.0.1:9/"]), "gunzipped, into {}/FashionMNIST/raw"),
        ("cifar10", (CIFAR10, "url", "http://127.0.0.1:9/x.tar.gz"), "(cifar-10-python.tar.gz into {})"),
    ],
)
def test_failed_download_says_what_to_do(
    name: str, source: tuple[type, str, object], by_hand: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(*source)
    with refused(f"^data='{name}': its files could not be downloaded \\(") as caught:
        load(name, root=tmp_path)
    message = str(caught.value)
    assert by_hand.format(tmp_path) in message and "data='mnist5k' needs no download" in message


@pytest.mark.parametrize("name, folder", [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_files_put_there_by_hand_are_read(name: str, folder: str, tmp_path: Path):
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    expected = {"train": random_pixels(8, 28, 28)[:5], "t10k": random_pixels(8, 28, 28)[5:]}
    for split, images in expected.items():
        n = len(images)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, n, 28, 28) + images.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, n) + bytes(range(n)))
    train = load(name, root=tmp_path)
    assert train.shape == (1, 32, 32)
    assert (train.pixels[:, 0, 2:30, 2:30].numpy() == expected["train"]).all()
    assert train.labels.tolist() == [0, 1, 2, 3, 4]
    assert train.mean == pytest.approx(train.pixels.double().mean().item())

    resolved = resolve(name, root=tmp_path)  # not the real data set, so it is named by what it holds
    assert resolved.startswith(f"{name}@") and resolve(resolved, root=tmp_path) == resolved
    with refused(rf"data='{name}': the files found differ from the planned ones"):
        check_content(train)
    file = raw / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert resolve(name, root=tmp_path) != resolved
    with refused("has changed since it was named so"):
        load(resolved, root=tmp_path)


def test_cifar10_is_channels_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    batches = [f"data_batch_{batch}" for batch in range(1, 6)]
    rows = dict(zip((*batches, "test_batch"), random_pixels(6, 2, 3 * 32 * 32), strict=True))
    for name, data in rows.items():
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [3, 9]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # of the real files
    train = load("cifar10", root=tmp_path)
    assert train.shape == (3, 32, 32) and train.labels.tolist() == [3, 9] * 5
    assert (train.pixels.flatten(1).numpy() == np.concatenate([rows[name] for name in batches])).all()
    assert torch.equal(train.to_pixels(train.standardised()), train.pixels)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"pixels": torch.zeros(2, 1, 32, 32)}, "pixels must be uint8"),
        ({"labels": torch.ones(2) / 2}, r"labels must be 2 whole numbers, got torch.float32 \(2,\)"),
        ({"labels": torch.zeros(3, dtype=torch.uint64)}, r"labels must be 2 whole numbers, got torch.uint64 \(3,\)"),
        ({"std": 0.0}, "images that are all alike"),
    ],
)
def test_bad_images_are_named(change: dict[str, Any], message: str):
    with refused(message):
        replace(black(2), **change)


def test_some_images_must_stay_for_training():
    assert black(2).n_training(1) == 1
    with refused("held_out=2: data='mine' has 2 images"):
        black(2).n_training(2)
