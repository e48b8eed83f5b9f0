"""No verdict on samples that are not yet images."""

import pytest

from experiments.metrics.trust import doubt

REAL = {"precision": 0.9, "recall": 0.8}
IMAGES, STATIC = {"precision": 0.6, "recall": 0.7}, {"precision": 0.5, "recall": 0.0}
BLOB = {"precision": 0.05, "recall": 0.5}


@pytest.mark.parametrize(
    ("sides", "starts"),
    [
        ([IMAGES, IMAGES], ""),
        ([IMAGES, STATIC], ""),  # one side made images: that is a result
        ([STATIC, STATIC], "recall is at most 0.000; as many real images reach 0.800"),
        ([BLOB, {"precision": 0.02, "recall": 0.0}], "precision is at most 0.050; as many real images reach 0.900"),
        (
            [BLOB, STATIC],  # each fails by its own measure: no bound on one measure would be true of both
            "precision is 0.050 on one side and recall is 0.000 on the other; as many real images reach recall 0.800 "
            "and precision 0.900",
        ),
        ([{"precision": 0.091, "recall": 0.081}], ""),
    ],
)
def test_doubt(sides: list[dict[str, float]], starts: str) -> None:
    text = doubt(sides, REAL)
    assert text.startswith(starts) and bool(text) == bool(starts)
