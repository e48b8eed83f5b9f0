"""What a network works on: the shape of its x, and how x becomes what is compared with real images.

Both are those of the data, unless the network says otherwise, as adapters do: `decode(x)` gives images uint8
(n, C, H, W), and `shape` is a tuple.
"""

from typing import Any

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data.dataset import DataSet, Values
from diffusion_core.samplers import Model
from experiments.user.imports import user_code_errors

AT_ONCE = 64  # samples that are decoded at a time


def shape_of(model: Model, data: DataSet) -> tuple[int, ...]:
    """The shape of x without the batch: that of the data, unless a network with `decode` says otherwise."""
    if not callable(getattr(model, "decode", None)) or (shape := getattr(model, "shape", None)) is None:
        return data.shape
    with user_code_errors("shape", ValueError):
        shape = tuple(shape)
    if not all(type(side) is int and side > 0 for side in shape):
        raise ValueError(f"shape={shape!r}: it must be a tuple of whole numbers, that of x without the batch")
    return shape


def has_decode(model: Model | None) -> bool:
    """Whether the network itself says what its samples show."""
    return model.decoder is not None if isinstance(model, Adapter) else callable(getattr(model, "decode", None))


@torch.no_grad()
@user_code_errors("decode")
def decoded(model: Model | None, data: DataSet, x: Tensor) -> Tensor:
    """What samples x (n, *shape) show, on the CPU: images uint8 (n, C, H, W), or points float32 (n, d).

    `model`: None for a network that works on the data as they are. ValueError for latents that no network decodes.
    """
    decode: Any = getattr(model, "decode") if has_decode(model) else data.decode  # noqa: B009  # mypy knows none
    parts = [decode(part) for part in x.split(AT_ONCE)]
    if wrong := [type(part).__name__ for part in parts if not isinstance(part, Tensor)]:
        raise ValueError(f"decode: it gave {wrong[0]}; it must be a tensor, uint8 (n, C, H, W)")
    return torch.cat([part.cpu() for part in parts])


def check_decoded(out: Tensor, n: int) -> None:
    """Raises ValueError unless it is n images uint8 (n, C, H, W), or n finite points float32 (n, d)."""
    images = out.ndim == 4 and out.dtype == torch.uint8 and out.shape[1] in (1, 3)
    points = out.ndim == 2 and out.dtype == torch.float32 and bool(out.isfinite().all())
    if len(out) != n or not (images or points):
        raise ValueError(
            f"decode: it gave {out.dtype} {tuple(out.shape)} for {n} samples; it must be uint8 (n, C, H, W) with C 1 "
            "or 3, or finite float32 (n, d)"
        )


def check_size(shape: tuple[int, ...], data: DataSet) -> None:
    """Raises ValueError unless samples that show this, without the batch, can be compared with the data."""
    if shape == data.shape:
        return
    if isinstance(data, Values):
        raise ValueError(f"decode: it gives points of shape {shape}, but those of data={data.name!r} have {data.shape}")
    colours = len(shape) == len(data.shape) and shape[1:] == data.shape[1:]
    raise ValueError(
        f"decode: it gives images of shape {shape}, but those of data={data.name!r} have {data.shape}; "
        + ("images are grey, with one channel, if red, green and blue agree in all of them" if colours else
           "another size is --images folder256:PATH or npz256:PATH, with any number from 8 to 1024")
    )  # fmt: skip


def clean(model: Model, data: DataSet, which: Tensor) -> Tensor:
    """Clean x (n, *shape) from the data at these indices; zeros if the network does not work on these data."""
    shape = shape_of(model, data)
    return data.standardised(which) if shape == data.shape else torch.zeros(len(which), *shape)
