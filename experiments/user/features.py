"""Features of images in any feature space, by its name: ours (distances/features.py), or python:MODULE:FUNCTION.

    def extract(pixels):            # torch.uint8 (n, C, H, W) with C 1 or 3, on the CPU
        return my_network(pixels)   # a tensor or an array (n, d) of finite numbers

A user's function may be an instance that can be called, such as a network, which is then set to evaluation. An image
must have the same features in any batch.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.distances.feature_spaces import FEATURES, PYTHON, check_feature_space
from experiments.distances.features import check_pixels, load_extractor, weights_file
from experiments.user import imports
from experiments.user.imports import user_code_errors
from experiments.user.repeatable import check_repeatable

ALIKE = 0.001  # of the size of a row: by so much may it differ with the batch, by rounding
ALIKE_BF16 = 0.005  # of the mean row, where a row itself may differ by one unit in the last place, 0.8 %
DOMINANT = 0.99  # of the variance of all features: one that has more decides alone


def dimension(name: str, pixels: Tensor) -> int:
    """The number of features per image. ValueError as in `extract`."""
    check_feature_space(name)
    return FEATURES[name] if name in FEATURES else extract(name, pixels[:1])[0].shape[1]


def features_id(name: str, weights: Path | None = None) -> str:
    """First 12 hex digits of the SHA-256 of the extractor's weights file, or of the text of a user's code."""
    if name.startswith(PYTHON):
        if weights is not None:
            raise ValueError(f"feature_weights={str(weights)!r}: {name} reads its own weights")
        return imports.code_hash(name.removeprefix(PYTHON), PYTHON)
    with weights_file(name, weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def extract(name: str, pixels: Tensor, *, weights: Path | None = None) -> tuple[Tensor, Tensor | None]:
    """Features of images float32 (n, d), and for `digits` class logits float32 (n, 10), both on the CPU.

    Args:
        name: one of `FEATURES`, or python:MODULE:FUNCTION.
        pixels: uint8 (n, C, H, W) with C 1 or 3, on any device; grey is repeated to three channels. `digits` needs
            (n, 1, 32, 32).
        weights: a weights file in the extractor's own format, instead of the committed, installed or downloaded file.

    ValueError for an unknown name, a wrong dtype or shape, no images, weights that are missing or not the extractor's,
    a package that is not installed, or a user's function that fails.
    """
    check_feature_space(name)
    check_pixels(pixels, name)
    if len(pixels) == 0:
        raise ValueError("pixels has 0 images; at least one is needed")
    parts = map(open_extractor(name, weights), pixels.split(batch_size(name)))
    layers = [torch.cat(layer) for layer in zip(*parts, strict=True)]
    return layers[0], layers[1] if name == "digits" else None


def batch_size(name: str, device: str = "cpu") -> int:
    """Images per batch. All but `digits` work at 64x64 and above: on a CPU, small batches stay in the cache."""
    return 25 if device == "cpu" and name != "digits" else 500


def open_extractor(
    name: str, weights: Path | None = None, device: torch.device | str = "cpu"
) -> Callable[[Tensor], list[Tensor]]:
    """The extractor as a function from pixels to its layers on the device. Arguments and errors as `extract`."""
    users = name.startswith(PYTHON)
    network: Any = load_function(name) if users else load_extractor(name, weights_file(name, weights)).to(device)

    def layers(pixels: Tensor) -> list[Tensor]:
        check_pixels(pixels, name)
        if name != "digits" and not users:
            pixels = pixels.expand(-1, 3, -1, -1)
        # TF32 convolutions (PyTorch's default on CUDA) keep 10 bits, and their rounding differs with the batch size.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            if users:
                return [feature_rows(name, network, pixels.cpu()).to(device)]
            return list(network(pixels.to(device)))

    return layers


def load_function(name: str, of: str = "features ") -> Any:
    """The user's function, or network in evaluation, of python:MODULE:FUNCTION; `of` as in `load_object`."""
    function = imports.load_object(name.removeprefix(PYTHON), PYTHON, of=of)
    return function.eval() if isinstance(function, nn.Module) else function


def feature_rows(name: str, function: Any, pixels: Tensor) -> Tensor:
    """What the function makes of uint8 pixels (n, C, H, W): float32 (n, d) on the CPU.

    ValueError if it raises an error, or if what it returns is not one row of finite numbers for each image.
    """
    with user_code_errors(f"features {name}", ValueError):
        out = torch.as_tensor(function(pixels.clone())).detach().float().cpu()
    if out.ndim != 2 or len(out) != len(pixels) or out.shape[1] == 0:
        returned = f"it returned {tuple(out.shape)} for pixels {tuple(pixels.shape)}"
        raise ValueError(f"features {name}: {returned}; it must be (n, d), one row for each image")
    if not out.isfinite().all():
        raise ValueError(f"features {name}: a row has a number that is not finite")
    return out


def check_features_repeatable(name: str, pixels: Tensor) -> Tensor:
    """The rows of pixels (n, C, H, W). ValueError if features of a user's depend on more than their image.

    Of features that are rounded to bf16, means over images are compared, which rounding hardly changes.
    """
    rows = partial(feature_rows, name, load_function(name))
    first = rows(pixels)
    rounded = torch.equal(first.bfloat16().float(), first)
    tolerance = ALIKE_BF16 if rounded else ALIKE
    return check_repeatable(
        f"features {name}", lambda which: rows(pixels[which]), len(pixels), tolerance, of_means=rounded
    )


def dominant_feature(features: NDArray[np.float32]) -> str:
    """A warning if one of features (n, d) varies so much more than all others that it decides alone; else ""."""
    variances = features.var(axis=0, dtype=np.float64)
    largest = int(variances.argmax())
    total = float(variances.sum())
    if len(variances) == 1 or variances[largest] <= DOMINANT * total:
        return ""
    return (
        f"feature {largest} has {100 * variances[largest] / total:.4g} % of the variance of all {len(variances)}, "
        "so it decides alone: divide each feature by its standard deviation over real images"
    )
