"""Doubts about the number of classes and the label of no class, with a network that denoises to the mean of a class."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_core import adapters, load
from experiments.user.denoising_check import check_labels

DATA = load("mnist5k")
PIXELS = DATA.pixels.float() / 127.5 - 1
MEANS = torch.stack([*(PIXELS[DATA.labels == label].mean(dim=0) for label in range(10)), PIXELS.mean(dim=0)])
GUIDED: dict[str, Any] = {"labels": "balanced", "n_classes": 10, "guidance": 2.0}


def mean(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    return MEANS[labels]


def nearly(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """Its labels change little, and that of no class least: it is between those of the classes."""
    return torch.lerp(MEANS[10], MEANS[labels], 0.05)


def shifted(z: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    """Label 0 is that of no class."""
    return MEANS[labels - 1]


CLASS_9 = "null_label=-2 behaves like class 9, not like the label of no class"


@pytest.mark.parametrize(
    ("net", "options", "doubts"),
    [
        (mean, GUIDED | {"null_label": 10}, []),
        (nearly, GUIDED | {"null_label": 10}, []),
        (lambda z, t, y: shifted(z, t, y + 1), GUIDED | {"null_label": -1}, []),
        (nearly, GUIDED | {"null_label": -2}, [CLASS_9]),
        (mean, GUIDED | {"null_label": -2, "labels": 3}, [CLASS_9]),
        (mean, GUIDED | {"null_label": -2, "guidance": 1.0}, []),
        (mean, {"labels": 2, "n_classes": 3, "guidance": 2.0, "null_label": 5},
         ["n_classes=3, but the data have 10 classes"]),
        (mean, {"labels": "balanced", "n_classes": 10}, []),
        (mean, {"labels": 3, "n_classes": 11}, []),
    ],
    ids=["right", "right, weak", "right, below 0", "a class, weak", "a class, one label", "not used",
         "a class that is not counted", "no guidance", "one label"],
)  # fmt: skip
def test_labels_are_doubted_where_they_are_wrong(net: Any, options: dict[str, Any], doubts: list[str]) -> None:
    assert check_labels(adapters.edm(net, DATA, **options), DATA, "cpu")[1] == doubts


def test_data_without_labels_say_nothing_about_the_number_of_classes() -> None:
    unlabelled = replace(DATA, labels=torch.zeros_like(DATA.labels))
    model = adapters.edm(mean, unlabelled, **GUIDED, null_label=10)
    assert check_labels(model, unlabelled, "cpu") == ({}, [])
