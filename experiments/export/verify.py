"""Runs exported code as its user would, with our noise, and compares its images with ours."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.export.target import Unsupported
from experiments.own.conventions import WrappedModel
from experiments.own.imports import told
from experiments.run.runs import Run
from experiments.run.stages import draw

N_IMAGES = 8  # that code is checked on
TOLERANCE = 1e-3  # in standard deviations of the data
ROUNDED = 2**-22  # relative change of x, about what another order of the operations gives in float32
MARGIN, MOST = 10, 0.1  # the tolerance for a network that rounds more: times what ROUNDED changes, but at most MOST


def difference(code: str, measured: Run, model: Model) -> float:
    """How far the images of the torch code are from ours, for the same noise, in standard deviations of the data.

    It is the largest difference of a pixel, as the median over images: rounding grows in a few images, and wrong code
    shows in all. Both are in fp32, as the code is run, whatever the setting was measured in.

    Raises Unsupported if the code fails, or if the difference is above TOLERANCE and above what rounding explains.
    """
    measured = replace(measured, machine=replace(measured.machine, precision="fp32", compiled=False))

    def ours(off: float) -> Tensor:
        """Our images if the network reads x with this relative error, as rounding may change it."""
        around = WrappedModel(model, images=partial(torch.mul, other=1 + off))
        x = draw(measured, around, range(N_IMAGES), N_IMAGES)
        return model.inner(x) if isinstance(model, Adapter) else x

    try:
        device = torch.device(measured.machine.device)
        block = BlockNoise(measured.seed, range(N_IMAGES), measured.network.shape, device)
        net, noise, back = as_users_call(model, block)
        images = ours(0.0)
        error = _apart(images, back(run(code)(net, noise)))
        fits = error <= TOLERANCE or error <= min(MARGIN * _apart(images, ours(ROUNDED)), MOST)
    except Exception as reason:  # of a network that we do not know
        raise Unsupported(f"the code fails here: {told(reason)}") from None
    if not fits:
        raise Unsupported(f"the code gives other images, by {error:.2g} standard deviations of the data")
    return error


def run(code: str) -> Callable[..., Tensor]:
    """The function `sample` that our own text defines."""
    defined: dict[str, Any] = {}
    exec(code, defined)
    sampled: Callable[..., Tensor] = defined["sample"]
    return sampled


def as_users_call(
    model: Model, noise: BlockNoise
) -> tuple[Callable[..., Tensor], Callable[[], Tensor], Callable[[Tensor], Tensor]]:
    """The network as the user has it; our noise for its images; and its images in our units."""
    if not isinstance(model, Adapter):
        return model, noise, lambda x: x
    return model.net, lambda: model.inner(noise()), lambda x: (x - model.shift) / model.scale


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of a pixel, median over images."""
    return float((ours - theirs).abs().flatten(1).amax(dim=1).median())
