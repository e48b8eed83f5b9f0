"""What the tests of feature extractors and distances share: torch-fidelity on images of ours."""

from typing import Any

import torch
from torch.utils.data import Subset
from torch_fidelity import calculate_metrics

import experiments.distances.fidelity  # noqa: F401  # registers our extractors


def fidelity(a: torch.Tensor, b: torch.Tensor, extractor: str = "digits", **options: Any) -> dict[str, float]:
    """torch-fidelity's metrics: FD, KD on all images at once, precision and recall; no worker processes, no cache."""
    sets = [Subset(pixels, range(len(pixels))) for pixels in (a, b)]  # type: ignore[arg-type]  # bare tensors
    options = {"fid": True, "kid": True, "prc": True, "prc_neighborhood": 3} | options
    return dict(
        calculate_metrics(
            input1=sets[0], input2=sets[1], feature_extractor=extractor, kid_subsets=1, kid_subset_size=len(a),
            cuda=False, cache=False, save_cpu_ram=True, verbose=False, **options,
        )
    )  # fmt: skip
