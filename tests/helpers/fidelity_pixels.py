"""What the tests of feature extractors and distances share: torch-fidelity on images of ours."""

from typing import Any

import torch
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics


class Pixels(Dataset[torch.Tensor]):
    """uint8 images as torch-fidelity wants them: bare tensors, no tuples."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.pixels[index]


def fidelity(a: torch.Tensor, b: torch.Tensor, extractor: str = "digits", **options: Any) -> dict[str, float]:
    """torch-fidelity's metrics: FD, KD on all images at once, precision and recall; no worker processes, no cache."""
    options = {"fid": True, "kid": True, "prc": True, "prc_neighborhood": 3} | options
    return dict(
        calculate_metrics(
            input1=Pixels(a), input2=Pixels(b), feature_extractor=extractor, kid_subsets=1, kid_subset_size=len(a),
            cuda=False, cache=False, save_cpu_ram=True, verbose=False, **options,
        )
    )  # fmt: skip
