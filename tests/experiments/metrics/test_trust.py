"""No verdict on samples that are not yet images."""

import pytest

from experiments.metrics.trust import doubt

REAL = {"precision": 0.9, "recall": 0.8}
IMAGES, STATIC = {"precision": 0.6, "recall": 0.7}, {"precision": 0.5, "recall": 0.0}


@pytest.mark.parametrize(
    ("sides", "starts"),
    [
        ([IMAGES, IMAGES], ""),
        ([IMAGES, STATIC], ""),  # one side made images: that is a result
        ([STATIC, STATIC], "recall is at most 0.000; as many real images reach 0.800"),
        ([{"precision": 0.05, "recall": 0.5}, STATIC], "precision is at most 0.500"),
        ([{"precision": 0.091, "recall": 0.081}], ""),
    ],
)
def test_doubt(sides: list[dict[str, float]], starts: str) -> None:
    text = doubt(sides, REAL)
    assert text.startswith(starts) and bool(text) == bool(starts)
