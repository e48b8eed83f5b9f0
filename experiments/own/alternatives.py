"""Other readings of the same network: what to check if one of them fits better.

To let `check` look for a further mistake, add a line here and a row to the table of wrong adapters in its test.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, permutations, product
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_core.adapters import (
    PREDICTIONS,
    Adapter,
    Convention,
    CosineVP,
    FlowTime,
    LinearVP,
    LogSigma,
    Sigma,
    TableTime,
    Time,
    border_is_constant,
    edm,
    flow,
    from_betas,
    linear_betas,
    units,
    vp,
)
from diffusion_core.data.dataset import DataSet, Images
from diffusion_core.samplers import Model
from diffusion_core.tensors import broadcast_like

RANGES = ((-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5))  # values of black and of white that networks are trained on
RETURNS = {"vp": ("eps", "x0", "v"), "edm": ("x0", "eps"), "flow": ("velocity", "x0", "eps")}  # as users name them
TRAINING_STEPS = 1000  # of a discrete VP process, and the factor of times that count to 1000
FEWEST_STEPS = 50  # of a table that other tables are compared with
SHIFTED = 0.02  # a time that is a little wrong, as a share of its range
LATENT_SCALES = (0.18215, 0.13025)  # of Stable Diffusion's latents, and of SDXL's
PADDED = 4  # rows by which data sets of 28x28 are padded
TURNS = {  # quarter turns to the left, and whether mirrored left to right before
    (1, False): "turned left by 90 degrees",
    (2, False): "turned by 180 degrees",
    (3, False): "turned right by 90 degrees",
    (0, True): "mirrored left to right",
    (2, True): "mirrored upside down",
    (1, True): "transposed",
    (3, True): "transposed along the second diagonal",
}
Change = Callable[[Tensor], Tensor]


def _same(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Alternative:
    """Another reading of a model: what may be wrong, what to write instead, and the model read so."""

    kind: str
    instead: str
    read: Callable[[Any], Model]

    @property
    def says(self) -> str:
        return f"check its {self.kind}: it fits {self.instead} better"


class Around(nn.Module):
    """A network, or a function that is a model, with changes of its `images`, its `time` or its `output`."""

    def __init__(
        self, net: Callable[..., Tensor], images: Change = _same, time: Change = _same, output: Change = _same
    ) -> None:
        super().__init__()
        self.net, self.images, self.time, self.output = net, images, time, output
        self.takes_index = getattr(net, "takes_index", False)

    def forward(self, images: Tensor, time: Tensor, *labels: Tensor, **index: Tensor) -> Tensor:
        return self.output(self.net(self.images(images), self.time(time), *labels, **index))


def around(model: Model, **changes: Change) -> Model:
    """The model with changes around its network, or around itself if it is a function."""
    if isinstance(model, Adapter):
        return Adapter(Around(model.net, **changes), model.data, model.convention)
    return Around(model, **changes)


def alternatives(model: Model, images: DataSet) -> Iterator[Alternative]:
    """All readings of a model that are tried."""
    yield from _of_adapter(model) if isinstance(model, Adapter) else _of_function(images)
    yield Alternative("sign", "the negative", partial(around, output=torch.neg))
    if not isinstance(images, Images):
        return
    transposed = partial(around, images=partial(torch.transpose, dim0=2, dim1=3))
    yield Alternative("orientation", "transposed input with the same output", transposed)
    for (quarters, mirrored), name in TURNS.items():
        there = partial(_turned, quarters=quarters, mirrored=mirrored)
        back = there if mirrored else partial(_turned, quarters=-quarters, mirrored=False)  # a mirror is its inverse
        yield Alternative("orientation", f"images {name}", partial(around, images=there, output=back))


def _of_adapter(model: Adapter) -> Iterator[Alternative]:  # noqa: C901  # one branch per reading
    """Readings of the network under another convention, or with another time."""
    now, mine = model.convention, model.convention.predicts.removesuffix(" to data")

    def under(kind: str, instead: str, **changes: Any) -> Alternative:
        return Alternative(kind, instead, partial(_under, changes))

    for pixels in sorted({*RANGES} - {now.pixels}) if isinstance(model.data, Images) else ():
        yield under("range", f"pixels={pixels}", pixels=pixels)
    for predicts in sorted({*RETURNS[now.process]} - {mine}):
        yield under("prediction", f"predicts={predicts!r}", predicts=predicts)
    if isinstance(table := now.time, TableTime):
        for neighbour in _neighbours(table):
            yield under("time", f"first={neighbour.first}", time=neighbour)
    if isinstance(now.time, FlowTime):
        other = FlowTime(1 - now.time.data_at)
        yield under("time", f"data_at={other.data_at}", time=other)
    for told, change in _told(model):
        yield Alternative("time", f"net(z, {told})", partial(around, time=change))
    for name, time in _times(now).items():
        yield under("time", f"time={name}", time=time)
    for process, more, time in _processes(now):
        for predicts in RETURNS[process]:
            instead = f"{process}(predicts={predicts!r}{more}"
            yield under("process", instead, process=process, time=time, predicts=predicts)
    if isinstance(model.data, Images):
        yield Alternative("black and white", "negative images", _inverted)
        smaller = model.data.shape[1] - PADDED
        if now.side is None and border_is_constant(model.data, PADDED // 2):
            yield under("size", f"side={smaller}", side=smaller)
        return
    for factor in (*LATENT_SCALES, *(1 / scale for scale in LATENT_SCALES), 1 / model.scale, 0.5 / model.scale):
        yield Alternative("scale", f"{factor:.5g} times the numbers of the file", partial(_scaled, factor))


def _of_function(images: DataSet) -> Iterator[Alternative]:
    """Readings of a function. Its conversions are not known, so these are the ones that usually go wrong."""
    ranges = RANGES if isinstance(images, Images) else RANGES[:1]  # other numbers are used as they are
    for now, then in permutations(ranges, 2):
        (a, b), (scale, shift) = units(now, images), units(then, images)
        convert = partial(_linear, factor=scale / a, offset=(shift - b) / a)
        read = partial(around, images=convert, time=partial(torch.mul, other=scale / a))
        yield Alternative("range", f"{list(then)} where its network now sees {list(now)}", read)
    for predicts, pixels in product(("x0", "v"), ranges):
        whose = f"images in {list(pixels)}" if isinstance(images, Images) else "the numbers of the file"
        read = partial(_predicting, predicts, *units(pixels, images))
        yield Alternative("prediction", f"{predicts} of {whose}", read)
    clean = partial(_predicting, "x0", 1.0, 0.0)
    yield Alternative("prediction", "the clean image in standard deviations of the data", clean)
    makes: dict[str, Callable[..., Adapter]] = {"vp": vp, "edm": edm, "flow": flow}
    for (process, make), pixels in product(makes.items(), ranges):
        for predicts in RETURNS[process]:
            for at in ({"data_at": 0}, {"data_at": 1}) if process == "flow" else ({},):
                options = ({"pixels": pixels} if isinstance(images, Images) else {}) | {"predicts": predicts, **at}
                spelt = ", ".join(f"{name}={value!r}" for name, value in options.items())
                read = partial(make, data=images, **options)
                yield Alternative("adapter", f"adapters.{process}(net, data, {spelt})", read)
    scale, shift = units(RANGES[0], images)
    for factor in (scale, 1 / scale, 0.5, 2.0):
        read = partial(around, time=partial(torch.mul, other=factor))
        yield Alternative("units of sigma", f"model(x, {factor:.3g} * sigma)", read)
    if not isinstance(images, Images):
        convert, time = partial(_linear, factor=scale, offset=shift), partial(torch.mul, other=scale)
        yield Alternative("scale", "the numbers of the file", partial(around, images=convert, time=time))
        return
    negative = partial(_linear, factor=-1.0, offset=(255 - 2 * images.mean) / images.std)
    yield Alternative("black and white", "negative images", partial(around, images=negative, output=torch.neg))


def _times(now: Convention) -> dict[str, Time]:
    """The usual times of networks of a process; tables as long as the present one, and counted as it is."""
    if now.process == "flow":
        return {}
    times: dict[str, Time] = {"Sigma()": Sigma(), "LogSigma(0.25)": LogSigma(0.25), "LogSigma()": LogSigma()}
    if now.process == "vp":
        table = now.time if isinstance(now.time, TableTime) else None
        n = len(table.sigmas) if table else TRAINING_STEPS
        times |= {"LinearVP()": LinearVP(), "CosineVP()": CosineVP()}
        if n >= FEWEST_STEPS:
            spelt = "" if n == TRAINING_STEPS else f"{n}, {0.1 / n:g}, {20 / n:g}"
            cosine = [math.cos(math.pi / 2 * (i / n + 0.008) / 1.008) ** 2 for i in range(n + 1)]  # 2102.09672, Eq. 17
            sigmoid = [math.tanh(1.5) - math.tanh((6 * i / n - 3) / 2) for i in range(n + 1)]  # 2301.10972, Algorithm 1
            roots = torch.linspace(math.sqrt(0.85 / n), math.sqrt(12 / n), n, dtype=torch.float64)  # 2112.10752
            tables = {
                f"linear_betas({spelt})": linear_betas(n, 0.1 / n, 20 / n),
                "from_betas(...) of a cosine schedule": _from_abar(cosine),
                "from_betas(...) of a sigmoid schedule": _from_abar(sigmoid),
                "from_betas(...) of Stable Diffusion's scaled linear schedule": from_betas(roots.square().tolist()),
            }
            times |= {name: replace(table, sigmas=new.sigmas) if table else new for name, new in tables.items()}
    return {name: time for name, time in times.items() if time != now.time}


def _neighbours(table: TableTime) -> Iterator[TableTime]:
    """A table counted one higher, and one lower. The index stays within the present ones, and is never negative."""
    if len(table.sigmas) > 2:
        yield replace(table, first=table.first + 1, sigmas=table.sigmas[:-1])
    if table.first > 0:
        yield replace(table, first=table.first - 1)


def _told(model: Adapter) -> Iterator[tuple[str, Change]]:
    """What the network may have to be told in place of its time t, as a user writes it."""
    time = model.convention.time
    if isinstance(time, Sigma):
        yield from ((f"{factor:.3g} * t", partial(torch.mul, other=factor)) for factor in (1 / model.scale, 0.5, 2.0))
    if isinstance(time, Sigma | LogSigma):
        return
    table = time if isinstance(time, TableTime) else None
    first, last = (table.first, table.first + len(table.sigmas) - 1) if table else (0, 1)

    def within(factor: float, offset: float) -> Change:
        return lambda t: (factor * t + offset).clamp(first, last).to(t.dtype)

    yield f"{first + last} - t", within(-1, first + last)
    for offset in (-SHIFTED * (last - first), SHIFTED * (last - first)):
        yield f"t {'+' if offset > 0 else '-'} {abs(offset):.3g}", within(1, offset)
    if isinstance(time, FlowTime):
        # a shift by 3, and back: Esser et al. 2024, arXiv 2403.03206, Eq. 23
        yield "3 * t / (1 + 2 * t)", lambda t: 3 * t / (1 + 2 * t)
        yield "t / (3 - 2 * t)", lambda t: t / (3 - 2 * t)
    if table is None or not table.whole:
        counts = dict.fromkeys((TRAINING_STEPS, len(table.sigmas) if table else TRAINING_STEPS))  # the usual one first
        for n in counts:
            yield from ((f"{n} * t", partial(torch.mul, other=n)), (f"t / {n}", partial(torch.mul, other=1 / n)))


def _processes(now: Convention) -> Iterator[tuple[str, str, Time]]:
    """Other processes, the end of their spelling, and their time."""
    for process, name, time in (("vp", "linear_betas()", linear_betas()), ("edm", "Sigma()", Sigma())):
        if process != now.process:
            yield process, f", time={name})", time
            if now.process != "flow" and time != now.time:
                yield process, ") with the same time", now.time
    if now.process != "flow":
        yield from (("flow", f", data_at={data_at})", FlowTime(data_at)) for data_at in (0, 1))


def _under(changes: dict[str, Any], model: Adapter) -> Adapter:
    """The network under a changed convention. `predicts` is as users name it: a velocity is that in its own time."""
    new = {"time": model.convention.time, "predicts": model.convention.predicts.removesuffix(" to data")} | changes
    if new["predicts"] == "velocity" and isinstance(new["time"], FlowTime) and new["time"].data_at == 1:
        new["predicts"] = "velocity to data"
    return model.with_convention(**new)


def _scaled(factor: float, model: Adapter) -> Adapter:
    """The network on its data times a factor."""
    other = model.with_convention()
    other.scale, other.shift = factor * model.scale, factor * model.shift
    return other


def _inverted(model: Adapter) -> Model:
    low, high = model.convention.pixels
    return around(model.with_convention(pixels=(-high, -low)), images=torch.neg, output=torch.neg)


def _from_abar(abar: list[float]) -> TableTime:
    """The table of abar up to a factor, with variances per step clipped at 0.999 as by Nichol & Dhariwal 2021."""
    return from_betas([min(1 - after / before, 0.999) for before, after in pairwise(abar)])


def _turned(x: Tensor, quarters: int, mirrored: bool) -> Tensor:
    return (x.flip(3) if mirrored else x).rot90(quarters, (2, 3))


def _linear(x: Tensor, factor: float, offset: float) -> Tensor:
    return factor * x + offset


def _predicting(predicts: str, scale: float, shift: float, model: Model) -> Model:
    """A function with its output taken for another prediction of a variance-preserving network."""
    convert = PREDICTIONS[predicts]

    def eps(x: Tensor, sigma: Tensor, **index: Tensor) -> Tensor:
        theirs = scale * broadcast_like(x, sigma)
        s = (1 + theirs.square()).rsqrt()
        return convert(model(x, sigma, **index), (scale * x + shift) * s, s, theirs * s)

    eps.takes_index = getattr(model, "takes_index", False)  # type: ignore[attr-defined]  # a function made here
    return eps
