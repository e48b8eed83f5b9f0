"""What the tests of feature extractors share: images in the form that torch-fidelity takes."""

import torch
from torch.utils.data import Dataset


class Pixels(Dataset[torch.Tensor]):
    """uint8 images as torch-fidelity wants them: bare tensors, no tuples."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.pixels[index]
