"""A feature space of the user's: `python:package.module:function`, from images to one row of numbers each.

    def extract(pixels):            # torch.uint8 (n, C, H, W) with C 1 or 3, on the CPU
        return my_network(pixels)   # a tensor or an array (n, d) of finite numbers

The function may be an instance that can be called, such as a network, which is then set to evaluation. An
image must have the same features in any batch. The identity is a hash of the source of the module. What that imports or
reads, such as weights, is met by the spot check of features that are stored.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.config import modules
from experiments.config.names import PYTHON
from experiments.config.user_code import of_user

CHECKED = 25  # images that are tried in one batch: as many as a run takes at a time
ALIKE = 0.01  # of the size of a row: by so much may it differ with the batch, by rounding


def content(name: str) -> str:
    """First 12 hex digits of the SHA-256 of the source of the module. ValueError as in `modules.source_file`."""
    place = name.removeprefix(PYTHON)
    source = modules.source_file(place, PYTHON).read_bytes()
    return hashlib.sha256(source + modules.names(place, PYTHON)[1].encode()).hexdigest()[:12]


def load(name: str) -> Any:
    """The function. ValueError as in `modules.function`."""
    function = modules.function(name.removeprefix(PYTHON), PYTHON, of="features ")
    return function.eval() if isinstance(function, nn.Module) else function


def rows(name: str, function: Any, pixels: Tensor) -> Tensor:
    """What the function makes of uint8 pixels (n, C, H, W): float32 (n, d) on the CPU.

    ValueError if it raises an error, or if what it returns is not one row of finite numbers for each image.
    """
    with of_user(f"features {name}", ValueError):
        returned = function(pixels.clone())
        out = torch.as_tensor(returned).detach().float().cpu()
    if out.ndim != 2 or len(out) != len(pixels) or out.shape[1] == 0:
        raise ValueError(
            f"features {name}: it returned {tuple(out.shape)} for pixels {tuple(pixels.shape)}; it must be (n, d), one "
            "row for each image"
        )
    if not out.isfinite().all():
        at = int(np.argmin(out.isfinite().all(dim=1).numpy()))
        raise ValueError(f"features {name}: the row of image {at} of a batch has a number that is not finite")
    return out


def check_batches(name: str, function: Any, pixels: Tensor) -> None:
    """Raises ValueError if the first of some images has other features alone than with the others."""
    together, alone = rows(name, function, pixels)[:1], rows(name, function, pixels[:1])
    if together.shape != alone.shape or (together - alone).norm() > ALIKE * alone.norm():
        raise ValueError(
            f"features {name}: an image has other features in a batch of {len(pixels)} than alone; they must not "
            "depend on the batch"
        )
