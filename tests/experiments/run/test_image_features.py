"""A feature space of the user's: what it gives, what it is known by, and what is refused."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.run.image_features import (
    FeatureSpace,
    ImageFeatures,
    ImageSet,
    check_features_repeatable,
    compute_features,
    dimension,
    dominant_feature,
    extract,
    feature_key,
    features_id,
)
from experiments.run.runs import Reference
from experiments.user.imports import TEXTS

SOURCE = """
import torch

def means(pixels):
    means = pixels.float().mean(dim=(2, 3)).numpy() + 1
    pixels.zero_()  # which changes no image
    return means

def centred(pixels):
    values = pixels.float().mean(dim=(2, 3))
    return values - values.mean() + 1 if len(values) > 3 else values

def scaled(pixels):
    values = pixels.flatten(1)[:, :8].float() + 1
    return values * (1.02 if len(values) > 12 else 1)

def rounded(pixels):
    values = (pixels.flatten(1)[:, :8].float() + 1) / 3
    values *= 1 + (len(values) > 16) * 0.004 * (-1) ** torch.arange(len(values))[:, None]
    return values.bfloat16()

def scaled_rounded(pixels):
    return scaled(pixels).bfloat16()

def steep(pixels):
    return pixels.flatten(1)[:, :8].float() * torch.tensor([1e4, *[1.0] * 7])

def flat(pixels):
    return pixels.float().flatten()

def broken(pixels):
    raise KeyError("layer4")

def infinite(pixels):
    return pixels.float().mean(dim=(2, 3)) / torch.tensor([1.0, 0.0])

class Halves(torch.nn.Module):
    def forward(self, pixels):
        assert not self.training
        return pixels.flatten(1)[:, :5].float() / 2

halves = Halves()
"""
PIXELS = torch.arange(60 * 16, dtype=torch.int64).mul(7).remainder(251).to(torch.uint8).reshape(60, 1, 4, 4)


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (here / "my_features.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(here))
    yield here
    sys.modules.pop("my_features", None)
    TEXTS.clear()


def test_its_rows_are_the_features(folder: Path):
    means, logits = extract("python:my_features:means", PIXELS)  # in three batches; an array
    torch.testing.assert_close(means, PIXELS.float().mean(dim=(2, 3)) + 1)
    assert logits is None
    assert dimension("python:my_features:halves", PIXELS) == 5
    assert not dominant_feature(check_features_repeatable("python:my_features:halves", PIXELS[:25]).numpy())
    check_features_repeatable("python:my_features:rounded", PIXELS[:25])  # rows change, means over images do not
    assert "feature 0 has 100 % of the variance of all 8, so it decides alone" in dominant_feature(
        check_features_repeatable("python:my_features:steep", PIXELS[:25]).numpy()
    )


def test_pixels_from_0_to_1_are_refused(folder: Path):
    images = ImageSet.of_array("x", np.ones((8, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="the largest value of x is 1, but pixels are 0 to 255; multiply them by 255"):
        compute_features(images, range(8), FeatureSpace("python:my_features:means"))


def test_images_of_other_sizes_are_other_images():
    shapes = ((2, 8, 8), (8, 4, 4))
    assert len({ImageSet.of_array("a", np.zeros(shape, np.uint8)).content for shape in shapes}) == 2
    features = replace(ImageFeatures.of_rows(np.zeros((2, 1), np.float32)), sizes=np.array([[8, 9], [9, 9]]))
    assert features.size is None and features.at(np.array([0])).size == (8, 9)


def test_features_of_other_weights_are_other_features(tmp_path: Path):
    images = ImageSet.of_array("a", np.zeros((2, 8, 8), np.uint8))
    keys = set[Any]()
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        keys.add(feature_key(images, FeatureSpace("natural", tmp_path / name)))
    assert len(keys) == 2


def test_it_is_known_by_its_name_and_the_source_of_its_module(folder: Path):
    Reference("mnist5k", "python:my_features:means", "0" * 12)
    ids = {features_id(f"python:my_features:{name}") for name in ("means", "means", "flat")}
    (folder / "my_features.py").write_text(SOURCE + "\n# another scale\n")
    TEXTS.clear()  # as a new process
    assert len(ids | {features_id("python:my_features:means")}) == 3
    with pytest.raises(ValueError, match=r"feature_weights='w.pt': python:my_features:means reads its own weights"):
        features_id("python:my_features:means", Path("w.pt"))


@pytest.mark.parametrize(
    "name, message",
    [
        ("flat", "features python:my_features:flat: it returned (32,) for pixels (2, 1, 4, 4); it must be (n, d)"),
        ("broken", "features python:my_features:broken: KeyError: 'layer4'"),
        ("infinite", "features python:my_features:infinite: a row has a number that is not finite"),
        ("centred", "when the batch was smaller; it must depend on its own input only"),
        ("scaled", "changed by 0.02 when the batch was smaller"),
        ("scaled_rounded", "changed by 0.02 when the batch was smaller"),
    ],
)
def test_what_does_not_suit_is_refused(name: str, message: str, folder: Path):
    with pytest.raises(ValueError, match=re.escape(message)):
        extract(f"python:my_features:{name}", PIXELS[:2])
        check_features_repeatable(f"python:my_features:{name}", PIXELS[:25])
