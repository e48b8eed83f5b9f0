"""How many images are copies of training images."""

import torch
from torch import Tensor

# An image is a copy if its nearest training image is at most this share of the distance to the second nearest away. The
# network's own residue can hide a copy, so near copies are counted too, and compared with those among held-out images.
COPY, NEAR = 1 / 3, 0.9
AT_ONCE = 256


def copies(pixels: Tensor, training: Tensor) -> tuple[float, float]:
    """The shares of images that are copies and near copies of training images, by Euclidean distances of pixels.

    Args:
        pixels: uint8 (n, C, H, W).
        training: uint8 (m, C, H, W), m at least 2.

    Source: Yoon et al. 2023, ICML workshop on structured probabilistic inference (ratio of the distances, 1/3).
    """
    known, verdicts = training.flatten(1).float() / 255, []
    for part in (pixels.flatten(1).float() / 255).split(AT_ONCE):
        nearest = torch.cdist(part, known).topk(2, largest=False).values
        verdicts.append(nearest[:, :1] <= torch.tensor([COPY, NEAR]) * nearest[:, 1:])
    copied, near = torch.cat(verdicts).float().mean(dim=0).tolist()
    return copied, near
