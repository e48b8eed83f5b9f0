"""What to say when a network from elsewhere raises an error: how it was called, and what is probably wrong."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter, TableTime
from diffusion_core.samplers import Model


def reasons(model: Model, error: BaseException, x: Tensor, ask: Callable[[Model], object]) -> str:
    """How the network was called and what is probably wrong, to be put behind an error.

    Args:
        x: the images (B, C, H, W) that the model was given.
        ask: asks a model the same again.
    """
    if not isinstance(model, Adapter):
        takes = ", index=index" if getattr(model, "takes_index", False) else ""
        return f". It was called as model(x, sigma{takes}) with x {_size(x.shape, x.dtype)} and sigma ({len(x)},)"
    convention = model.convention
    classes = "" if convention.labels is None else ", labels"
    n = len(x) if convention.guidance == 1 else 2 * len(x)
    shape = (n, *model.inner(x).shape[1:])
    whole = isinstance(convention.time, TableTime) and convention.time.whole
    dtype = model.dtype or x.dtype
    time = torch.int64 if whole else torch.float64 if dtype == torch.float64 else torch.float32
    call = f". It was called as net(z, time{classes}) with z {_size(shape, dtype)} and time {_size(shape[:1], time)}"
    if classes:
        call += f" and {_labels(model)}"
    if _wants_whole_times(model, ask):
        return f"{call}: its time must be whole, as in time=adapters.linear_betas(whole=True)"
    if classes and isinstance(error, IndexError):
        return f"{call}: does its table of labels have them?"
    return call if classes else f"{call}; for a network with labels, the adapters have labels="


def _wants_whole_times(model: Adapter, ask: Callable[[Model], object]) -> bool:
    time = model.convention.time
    if not isinstance(time, TableTime) or time.whole:
        return False
    try:
        ask(model.with_convention(time=replace(time, whole=True)))
    except KeyboardInterrupt:
        raise
    except BaseException:  # a user's model may raise anything; then this is not the reason, or not the only one
        return False
    return True


def _labels(model: Adapter) -> str:
    convention = model.convention
    n = convention.n_classes
    labels = f"labels 0 to {n - 1}" if convention.labels == "balanced" and n else f"label {convention.labels}"
    return labels if convention.guidance == 1 else f"{labels} and null_label {convention.null_label}"


def _size(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)}) {str(dtype).removeprefix('torch.')}"
