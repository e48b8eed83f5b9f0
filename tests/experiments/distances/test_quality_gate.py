"""No verdict on samples that are no images."""

import numpy as np
import pytest
import torch

from diffusion_core import load
from experiments.distances.quality_gate import MEASURES, no_images
from experiments.distances.reference import precision_recall
from experiments.user.features import extract

REAL = {"precision": 0.9, "recall": 0.8}
IMAGES, FAR, STATIC = ({"precision": p, "recall": r} for p, r in ((0.6, 0.7), (0.02, 0.0), (0.01, 0.004)))


@pytest.mark.parametrize(("sides", "real", "gross"), [
    ([IMAGES, IMAGES], REAL, False), ([FAR, FAR], REAL, False), ([STATIC, STATIC], REAL, True), ([STATIC], REAL, True),
    ([IMAGES, STATIC], REAL, False),  # one side made images: that is a result
    ([STATIC, STATIC], {"precision": 0.9, "recall": 0.5}, False),  # a floor that says nothing
    ([STATIC, STATIC], {"precision": 0.0, "recall": 0.0}, False),  # unknown
])  # fmt: skip
def test_the_rule(sides: list[dict[str, float]], real: dict[str, float], gross: bool) -> None:
    assert bool(no_images(sides, real)) == gross


@pytest.mark.slow
def test_static_is_no_image_and_a_grainy_digit_is_one() -> None:
    images, n, noise = load("mnist5k"), 300, torch.Generator().manual_seed(0)
    digits = images.standardised()[:n]
    static = torch.randn(digits.shape, generator=noise)
    blurred = torch.nn.functional.avg_pool2d(static, 5, 1, 2)

    def quality(x: torch.Tensor) -> dict[str, float]:
        features = extract("digits", images.to_pixels(x))[0].double().numpy()
        return dict(zip(MEASURES, precision_recall(features, reference), strict=True))

    reference = extract("digits", images.pixels[n:2500])[0].double().numpy()
    real = quality(digits)
    for x in (static, 30 * static, 3 * blurred, torch.zeros_like(digits)):
        assert no_images([quality(x)], real)
    for x in (digits, digits + 0.5 * static):
        assert not no_images([quality(x)], real) and np.isfinite(list(quality(x).values())).all()
