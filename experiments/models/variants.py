"""The same network read in other ways: another range of images, another meaning of its output, a shifted table.

A network whose error falls when it is read in another way was probably wrapped wrongly.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from diffusion_core.adapters import PREDICTIONS, Adapter, FlowTime, TableTime
from diffusion_core.data import Images
from diffusion_core.samplers import Model

RANGES = ((-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5))  # values of black and of white that networks are trained on


@dataclass(frozen=True)
class Variant:
    """Another reading of a model, and the sentence to say if it fits better."""

    says: str
    model: Model


class Remembering(nn.Module):
    """A network that answers the same question from memory: readings that differ in the output only cost no pass."""

    def __init__(self, net: Callable[..., Tensor]) -> None:
        super().__init__()
        self.net = net
        self.known: list[tuple[tuple[Tensor, ...], Tensor]] = []

    def forward(self, *asked: Tensor) -> Tensor:
        for before, answer in self.known:
            if len(before) == len(asked) and all(map(torch.equal, before, asked)):
                return answer.clone()
        copies = tuple(part.clone() for part in asked)  # the network may change its input
        answer = self.net(*asked)
        self.known.append((copies, answer.clone()))
        return answer


def variants(model: Model, images: Images) -> Iterator[Variant]:
    """Other readings of a model; for an adapter by its own arguments, else by what usually goes wrong."""
    if not isinstance(model, Adapter):
        yield from _of_function(model, images)
        return
    convention = model.convention
    for pixels in RANGES:
        if pixels != convention.pixels:
            yield Variant(
                f"the images' range may be wrong: it fits pixels={pixels} better than {convention.pixels}",
                with_convention(model, pixels=pixels),
            )
    for predicts in PREDICTIONS:
        if predicts != convention.predicts:
            yield Variant(
                f"its output may be read wrongly: it fits predicts={predicts!r} better than {convention.predicts!r}",
                with_convention(model, predicts=predicts),
            )
    if isinstance(convention.time, FlowTime):
        time, other = FlowTime(1 - convention.time.data_at), {"velocity": "velocity to data"}
        other |= {value: key for key, value in other.items()}
        for predicts in {convention.predicts, other.get(convention.predicts, convention.predicts)}:
            yield Variant(
                f"its time may run the other way: it fits data_at={time.data_at} better",
                with_convention(model, time=time, predicts=predicts),
            )


def shifted(model: Model) -> Iterator[Variant]:
    """The neighbours of a model with a table of noise levels: its index counted one higher, and one lower."""
    if isinstance(model, Adapter) and isinstance(model.convention.time, TableTime):
        table = model.convention.time
        for first in (table.first + 1, table.first - 1):
            yield Variant(
                f"its table may be off by one: it fits first={first} better than first={table.first}",
                with_convention(model, time=replace(table, first=first)),
            )


def with_convention(model: Adapter, **changes: object) -> Adapter:
    """The same network under a convention with these changes."""
    return Adapter(model.net, model.data, replace(model.convention, **changes))  # type: ignore[arg-type]  # any field


def _of_function(model: Model, images: Images) -> Iterator[Variant]:
    """Readings of a function whose conversions are not known: x in another range, the output as something else."""
    for low, high in RANGES:
        for lower, higher in RANGES:
            if (low, high) != (lower, higher):
                yield Variant(
                    f"the images' range may be wrong: it fits better if the network sees {[lower, higher]} where "
                    f"it now sees {[low, high]}",
                    _in_range(model, images, (low, high), (lower, higher)),
                )
    yield Variant("its output may have the wrong sign: its negative fits better", lambda x, sigma: -model(x, sigma))
    for low, high in RANGES:
        scale, shift = (high - low) * images.std / 255, low + (high - low) * images.mean / 255
        for predicts in ("x0", "v"):
            yield Variant(
                f"its output may be read wrongly: it fits better as {predicts} of images in {[low, high]}",
                _as_prediction(model, predicts, scale, shift),
            )
    yield Variant(
        "its output may be read wrongly: it fits better as the clean image in standard deviations of the data",
        _as_prediction(model, "x0", 1.0, 0.0),
    )


def _in_range(model: Model, images: Images, now: tuple[float, float], then: tuple[float, float]) -> Model:
    """The model on images that its conversion to the range `now` brings to the range `then`."""
    factor = (then[1] - then[0]) / (now[1] - now[0])
    offset = 255 * (then[0] - now[0]) / (now[1] - now[0])  # in pixel values
    shift = ((factor - 1) * images.mean + offset) / images.std
    return lambda x, sigma: model(factor * x + shift, factor * sigma)


def _as_prediction(model: Model, predicts: str, scale: float, shift: float) -> Model:
    """The model with its output taken for another prediction of a variance-preserving network."""
    convert: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = PREDICTIONS[predicts]

    def eps(x: Tensor, sigma: Tensor) -> Tensor:
        theirs = scale * sigma.view(-1, 1, 1, 1)
        s = (1 + theirs.square()).rsqrt()
        return convert(model(x, sigma), (scale * x + shift) * s, s, theirs * s)

    return torch.no_grad()(eps)
