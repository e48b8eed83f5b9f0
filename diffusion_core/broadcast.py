"""One number per sample, in a form that suits all numbers of the sample."""

from torch import Tensor


def along(x: Tensor, values: Tensor) -> Tensor:
    """`values` (B,) with as many dimensions as x (B, ...), so that they can be multiplied with it."""
    return values.view(-1, *[1] * (x.ndim - 1))
