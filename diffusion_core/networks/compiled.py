"""A network compiled for sampling: one batch size, frozen weights, no gradients.

On a CPU the gain comes from frozen weights: without freezing, compiled code is slower than eager PyTorch here
(bench/LOG.md).
"""

import os
import shutil
import sys
import warnings
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_core.samplers.sampling import Model

LIMITS = ("recompile_limit", "accumulated_recompile_limit")


def can_compile(device: str) -> bool:
    """Whether TorchInductor has what it needs: a C++ compiler for a CPU, Triton for CUDA."""
    if device == "cuda":
        return find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


class Compiled:
    """eps = model(x, sigma), compiled at the first call for batches of `batch_size`.

    Smaller batches are filled up with zeros. Below half of `batch_size` the uncompiled network is cheaper and is used.
    The first call fixes the autocast mode and the weights of the model, which is in eval mode on its device.

    Raises:
        ValueError: a parameter is a single number without dimensions. PyTorch 2.13 writes its value into the code, and
            then uses the same code for other networks.
    """

    def __init__(self, model: Model, batch_size: int) -> None:
        if isinstance(model, nn.Module):
            for name, value in [*model.named_parameters(), *model.named_buffers()]:
                if value.ndim == 0:
                    raise ValueError(f"parameter {name}: a compiled network needs shape (1,) instead of ()")
        self.model = model
        self.batch_size = batch_size
        self._compiled: Any = None

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        n = len(x)
        if 2 * n < self.batch_size:
            return self.model(x, sigma)
        if n < self.batch_size:
            x = torch.cat([x, x.new_zeros(self.batch_size - n, *x.shape[1:])])
            sigma = torch.cat([sigma, sigma.new_ones(self.batch_size - n)])
        return self._evaluate(x, sigma.contiguous())[:n]  # an expanded level has other strides than (B,) levels

    def _evaluate(self, x: Tensor, sigma: Tensor) -> Tensor:
        if self._compiled is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own modules
                from torch._dynamo import config as dynamo
                from torch._inductor import config as inductor

                # CUDA graphs: a step of small kernels is launched at once, not kernel by kernel
                mode = "reduce-overhead" if x.device.type == "cuda" else None
                self._compiled = torch.compile(self.model, dynamic=False, mode=mode)
                # torch.compile's `options` come too late for freezing. The limits count all networks of a class in the
                # process. Beyond them, by default from the ninth network on, PyTorch only warns and does not compile.
                with inductor.patch(freezing=True), dynamo.patch(dict.fromkeys(LIMITS, sys.maxsize)):
                    self._compiled(x, sigma)
        eps: Tensor = self._compiled(x, sigma)
        return eps.clone() if x.device.type == "cuda" else eps  # the next call of a CUDA graph overwrites it
