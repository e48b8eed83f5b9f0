"""Helpers of all networks: a number per sample in the shape of the sample, and the precision in which they compute."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

PRECISIONS = ("fp32", "bf16")


def broadcast_like(x: Tensor, values: Tensor) -> Tensor:
    """`values` (B,) with as many dimensions as x (B, ...), so that they can be multiplied with it."""
    return values.view(-1, *[1] * (x.ndim - 1))


def computing_in(precision: str, device: torch.device | str) -> AbstractContextManager[object]:
    """A context for calls of networks: autocast to bfloat16 for "bf16", no autocast for "fp32", whatever surrounds it.

    Args:
        precision: one of `PRECISIONS`.
        device: where the network computes; a device for which torch has no autocast computes in fp32 only.
    """
    device_type = torch.device(device).type
    if precision == "fp32" and not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, torch.bfloat16, enabled=precision == "bf16")
