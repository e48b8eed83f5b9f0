"""A function eps = model(x, sigma) read in other ways: x in another range, or its output as something else.

Its conversions are not known, so these are the ones that usually go wrong.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from diffusion_core.adapters import PREDICTIONS
from diffusion_core.data import Images
from diffusion_core.samplers import Model
from experiments.models.variants import RANGES, Variant


def function_variants(model: Model, images: Images) -> Iterator[Variant]:
    """Other readings of a function; they take an index if it does."""
    for low, high in RANGES:
        for lower, higher in RANGES:
            if (low, high) != (lower, higher):
                yield Variant(
                    f"the images' range may be wrong: it fits better if the network sees {[lower, higher]} where "
                    f"it now sees {[low, high]}",
                    _in_range(model, images, (low, high), (lower, higher)),
                    ("range",),
                )
    says = "its output may have the wrong sign: its negative fits better"
    yield Variant(says, _like(model, lambda x, sigma, **index: -model(x, sigma, **index)), ("sign",))
    for low, high in RANGES:
        scale, shift = (high - low) * images.std / 255, low + (high - low) * images.mean / 255
        for predicts in ("x0", "v"):
            yield Variant(
                f"its output may be read wrongly: it fits better as {predicts} of images in {[low, high]}",
                _as_prediction(model, predicts, scale, shift),
                ("prediction",),
            )
    yield Variant(
        "its output may be read wrongly: it fits better as the clean image in standard deviations of the data",
        _as_prediction(model, "x0", 1.0, 0.0),
        ("prediction",),
    )


def _in_range(model: Model, images: Images, now: tuple[float, float], then: tuple[float, float]) -> Model:
    """The model on images that its conversion to the range `now` brings to the range `then`."""
    factor = (then[1] - then[0]) / (now[1] - now[0])
    offset = 255 * (then[0] - now[0]) / (now[1] - now[0])  # in pixel values
    shift = ((factor - 1) * images.mean + offset) / images.std
    return _like(model, lambda x, sigma, **index: model(factor * x + shift, factor * sigma, **index))


def _as_prediction(model: Model, predicts: str, scale: float, shift: float) -> Model:
    """The model with its output taken for another prediction of a variance-preserving network."""
    convert: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = PREDICTIONS[predicts]

    def eps(x: Tensor, sigma: Tensor, **index: Tensor) -> Tensor:
        theirs = scale * sigma.view(-1, 1, 1, 1)
        s = (1 + theirs.square()).rsqrt()
        return convert(model(x, sigma, **index), (scale * x + shift) * s, s, theirs * s)

    return _like(model, torch.no_grad()(eps))


def _like(model: Model, read: Model) -> Model:
    """`read`, called with an index if the model is, see `at_samples`."""
    read.takes_index = getattr(model, "takes_index", False)  # type: ignore[attr-defined]  # a function made here
    return read
