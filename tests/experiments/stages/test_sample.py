"""A run that continues a shorter one: what its meta.json says of both parts."""

from typing import Any

import pytest
import torch

from experiments.stages.sample import Begun

META = {
    "seconds": 2.0,
    "others_busy_cores": 0.0,
    "film_sigmas": [1.0],
    "shared_device": False,
    "nfe": 10,
    "retries": None,
    "batch_size": 64,
}


def joined(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Of 30 samples and 10 further ones."""
    begun = Begun(30, {"pixels": torch.zeros(30, 1, 2, 2)}, META | before)
    tensors, meta = begun.joined({"pixels": torch.zeros(10, 1, 2, 2)}, META | after)
    assert len(tensors["pixels"]) == 40
    return meta


@pytest.mark.parametrize(("before", "after", "nfe"), [(10, 12, 10.5), (10.5, 12, 10.875), (8, 12, 9), (66, 66, 66)])
def test_evaluations_are_the_mean_over_all_samples(before: float, after: float, nfe: float) -> None:
    """Samplers that measure their noise level take as many evaluations as their samples need."""
    found = joined({"nfe": before}, {"nfe": after})["nfe"]
    assert found == nfe and isinstance(found, type(nfe))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, None, None),
        ("batch 128 -> 64", None, "batch 128 -> 64"),
        (None, "batch 64 -> 32", "batch 64 -> 32"),
        ("batch 128 -> 64", "batch 128 -> 64", "batch 128 -> 64"),
        ("batch 128 -> 64", "batch 64 -> 32", "batch 128 -> 64; batch 64 -> 32"),
    ],
)
def test_smaller_batches_of_both_parts_are_said(before: str | None, after: str | None, said: str | None) -> None:
    assert joined({"retries": before}, {"retries": after})["retries"] == said
