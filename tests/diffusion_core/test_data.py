"""The data sets, and what happens when they cannot be had."""

from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

from diffusion_core.data import DataUnavailableError, Images, default_root, load


def test_mnist5k_is_5000_padded_standardised_digits() -> None:
    images = load("mnist5k")
    assert images.pixels.shape == (5000, 1, 32, 32) and images.shape == (1, 32, 32)
    assert images.labels.bincount().tolist() == [500] * 10
    x = images.standardised()
    assert x.dtype == torch.float32 and abs(x.mean()) < 1e-5 and abs(x.std() - 1) < 1e-4
    assert (images.pixels[:, :, :2] == 0).all() and (images.pixels[:, :, 2:30] > 0).any()
    assert torch.equal(images.to_pixels(x), images.pixels)


def test_mnist5k_is_shuffled_the_same_way_every_time() -> None:
    images = load("mnist5k")
    assert torch.equal(images.labels, load("mnist5k").labels)
    assert (images.labels[:500].bincount(minlength=10) > 25).all()  # in the package they are sorted


def test_to_pixels_rounds_and_clips() -> None:
    images = Images("two", torch.tensor([0, 200], dtype=torch.uint8).view(2, 1, 1, 1), torch.zeros(2), 100.0, 100.0)
    x = torch.tensor([-9.0, -0.996, 0.0, 1.0, 9.0]).view(-1, 1, 1, 1)
    assert images.to_pixels(x).flatten().tolist() == [0, 0, 100, 200, 255]


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(ValueError, match="data='imagenet': unknown data set; the names are mnist5k, mnist"):
        load("imagenet")


def test_no_test_split_is_said() -> None:
    with pytest.raises(ValueError, match="data='mnist5k' has no test split"):
        load("mnist5k", train=False)


def test_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist", root=tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "MNIST" / "raw") in message and "data='mnist5k' needs no download" in message


def test_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGMABENCH_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("SIGMABENCH_DATA")
    assert default_root() == Path.home() / ".cache" / "sigmabench"


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(0, 1, 32, 32, dtype=torch.uint8), "the data set is empty"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "uint8"),
        (torch.zeros(3, 1, 32, 32), "uint8"),
    ],
)
def test_bad_images_are_named(pixels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Images("bad", pixels, torch.zeros(len(pixels)), 0.0, 1.0)
    with pytest.raises(ValueError, match="images that are all alike"):
        Images("flat", torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3), 0.0, 0.0)
