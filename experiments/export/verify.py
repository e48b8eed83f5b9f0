"""Runs exported code as its user would, with our noise, and compares its images with ours."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.export.target import Target, Unsupported
from experiments.export.torch_loop import torch_loop
from experiments.own.alternatives import Around
from experiments.own.form import shape_of
from experiments.own.user_code import told
from experiments.run.runs import Run
from experiments.run.stages import draw

N_IMAGES = 8  # that code is checked on
TOLERANCE = 1e-3  # in standard deviations of the data
ROUNDED = 2**-22  # relative change of x, about what another order of the operations gives in float32
MARGIN, MOST = 10, 0.1  # the tolerance for a network that rounds more: times what ROUNDED changes, but at most MOST


class Mismatch(Unsupported):
    """Code was run, and it fails or gives other images. The message says which."""


def difference(code: str, measured: Run, model: Model) -> float:
    """How far the images of the torch code are from ours, for the same noise, as in `_compared`. Raises Mismatch.

    Both in fp32, as the code is run, whatever the setting was measured in.
    """
    measured = replace(measured, machine=replace(measured.machine, precision="fp32", compiled=False))

    def ours(off: float) -> Tensor:
        x = draw(measured, _reading(model, off), range(N_IMAGES), N_IMAGES)
        return model.inner(x) if isinstance(model, Adapter) else x

    def theirs() -> Tensor:
        device = torch.device(measured.machine.device)
        net, noise, back = as_users_call(
            model, BlockNoise(measured.seed, range(N_IMAGES), measured.network.shape, device)
        )
        return back(run(code)(net, noise))

    how = "the code fails here", "the code gives other images, by {:.2g} standard deviations of the data"
    return _compared(ours, theirs, *how)


def check_with_diffusers(code: str, target: Target, device: torch.device) -> None:
    """Runs the code for diffusers on a device and compares its images with those of the torch code.

    Raises Mismatch if it fails, or if the images differ: then this version of diffusers is not the one the code is for.
    """
    net, block, back = as_users_call(
        target.model, BlockNoise(0, range(N_IMAGES), shape_of(target.model, target.data), device)
    )
    shape = block().shape

    def sampled(text: str, off: float, *more: object) -> Tensor:
        generator = torch.Generator().manual_seed(0)  # on the CPU, from which diffusers draws too, in the same order
        drawn = (generator,) if more else ()
        noise = partial(torch.randn, shape, generator=generator)
        asked = _reading(net, off) if off else net  # as it is, because it may change its input
        return back(run(text)(asked, *more, lambda: noise().to(device), *drawn))

    def theirs() -> Tensor:
        with warnings.catch_warnings(action="ignore"):  # its own, about numpy and others
            from diffusers import DDPMScheduler

            kind = {"eps": "epsilon", "v": "v_prediction"}[target.convention.predicts]
            return sampled(code, 0, dict(DDPMScheduler(prediction_type=kind).config))

    how = "the installed diffusers fails", "the installed diffusers gives other images, by {:.2g}; use the torch code"
    _compared(lambda off: sampled(torch_loop(target), off), theirs, *how)


def _compared(ours: Callable[[float], Tensor], theirs: Callable[[], Tensor], fails: str, differs: str) -> float:
    """How far images are from ours, in our units: the largest difference of a pixel, as the median over images.

    Rounding grows in a few images, and wrong code shows in all.

    `ours`: our images if the network reads x with this relative error. Raises Mismatch that says `fails` if there is an
    error, and `differs` if the difference is above TOLERANCE and above what rounding explains.
    """
    try:
        images = ours(0.0)
        error = _apart(images, theirs())
        fits = error <= TOLERANCE or error <= min(MARGIN * _apart(images, ours(ROUNDED)), MOST)
    except Exception as reason:  # of a network or a library that we do not know
        raise Mismatch(f"{fails}: {told(reason)}") from None
    if not fits:
        raise Mismatch(differs.format(error))
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


def _reading(net: Callable[..., Tensor], off: float) -> Around:
    """The network or model, which reads its images with a relative error, as rounding may change them."""
    return Around(net, images=partial(torch.mul, other=1 + off))


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of a pixel, median over images."""
    return float((ours - theirs).abs().flatten(1).amax(dim=1).median())
