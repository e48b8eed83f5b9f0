"""Copies are one group, and their number does not make an interval narrower."""

import numpy as np
import pytest
import torch

from diffusion_core.data.dataset import Images
from experiments.distances.duplicates import (
    duplicate_mask,
    find_clusters,
    memorisation,
    merge_duplicates,
    squared_nearest,
    tolerance,
)
from experiments.distances.kernels import CPU_BLOCK
from experiments.run.image_features import extract


@pytest.fixture(scope="module")
def features(digits: Images) -> torch.Tensor:
    return extract("digits", digits.pixels[:1500])[0].double()


def test_no_two_real_digits_are_copies(features: torch.Tensor):
    assert len(set(find_clusters(features, tolerance(features)))) == len(features) > CPU_BLOCK


def test_one_changed_pixel_does_not_hide_a_copy(digits: Images, features: torch.Tensor):
    pixels = digits.pixels[:600].clone()
    pixels[:, 0, 5, 5] = (pixels[:, 0, 5, 5].int() + 1).clamp(max=255).to(pixels.dtype)
    changed = extract("digits", pixels)[0].double()
    near = tolerance(features)
    clusters = find_clusters(torch.cat([features[:600], changed]), near)
    assert (clusters[:600] == clusters[600:]).all() and len(set(clusters)) == 600
    assert duplicate_mask(changed, features, near).all()
    assert not duplicate_mask(features[:600], features[600:], near).any()


def test_copies_of_copies_are_one_group():
    line = torch.tensor([0.0, 0.015, 0.03, 1.0, 1.05], dtype=torch.float64)[:, None]
    assert list(find_clusters(line, 0.02)) == [0, 0, 0, 1, 2]
    assert list(merge_duplicates(np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 3]))) == [0, 0, 0, 1, 2]


def test_in_few_dimensions_only_equal_rows_are_copies():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(3000, 2)))
    assert tolerance(rows) == 0 and len(set(find_clusters(rows, 0.0))) == 3000
    assert list(find_clusters(rows[:3].repeat_interleave(2, dim=0), 0.0)) == [0, 0, 1, 1, 2, 2]
    assert list(duplicate_mask(rows[:4], rows[2:], 0.0)) == [False, False, True, True]


@pytest.mark.parametrize("share, found", [(0.0, False), (0.05, True), (1.0, True)], ids=["none", "a few", "all"])
def test_samples_that_repeat_training_images_are_counted(digits: Images, share: float, found: bool):
    """The others are digits that training did not see. All have noise that hides copies from equality."""
    few = 500
    repeated = int(share * 500)
    chosen = torch.cat([digits.pixels[:repeated], digits.pixels[4000 : 4500 - repeated]]).float()
    noisy = (chosen + 4 * torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0))).round().clamp(0, 255)
    samples, training = (extract("digits", images)[0].double() for images in (noisy.byte(), digits.pixels[:1000]))
    real = squared_nearest(training[:few], training, torch.arange(few))
    out = memorisation(squared_nearest(samples, training), real)
    assert (out["memorised"] > 0.01) == found and share - 0.06 < out["memorised"] <= share
    assert out["to_training"] / out["to_training_real"] == pytest.approx(float(share < 1), abs=0.1)


@pytest.mark.parametrize("dimensions", [8, 64])
def test_independent_images_are_no_copies_of_each_other(dimensions: int):
    rng = np.random.default_rng(1)
    real, rows = (torch.from_numpy(rng.normal(size=(n, dimensions))) for n in (500, 5000))
    assert 5000 - len(set(find_clusters(rows, tolerance(real)))) <= 1
