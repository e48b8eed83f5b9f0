"""Copies of training images are found, also behind a residue."""

import torch

from experiments.metrics.copies import copies


def test_copies_and_near_copies_are_counted() -> None:
    training = torch.randint(0, 256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    other = torch.randint(0, 256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert copies(training[:10] // 2 * 2, training) == (1, 1) and copies(other, training)[0] == 0
    assert copies(torch.cat([training[:25], other[:25]]), training)[0] == 0.5
    faded = (0.55 * training[:25].float() + 0.45 * other[:25].float()).to(torch.uint8)  # a residue hides the copies
    copied, near = copies(faded, training)
    assert copied == 0 and near > 0.9 and copies(other, training)[1] < 0.1
