"""HYPOTHESES: what may be wrong in how a network is called. `check` scores each of them and names what fits better."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_core import adapters
from diffusion_core.adapters import Adapter, FlowTime, LogSigma, Sigma, TableTime, Time
from diffusion_core.adapters.adapter import OF_PROCESS
from diffusion_core.data.dataset import Images
from diffusion_core.schedules.process_time import cosine_betas, scaled_linear_betas, sigmoid_betas

Change = Callable[[Tensor], Tensor]
Read = Callable[[Adapter], Adapter]
Rows = Iterable[tuple[str, Read]]  # what to write instead, and the adapter read so
RANGES = ((-0.5, 0.5), (-1.0, 1.0), (0.0, 1.0))  # values of black and of white that networks are trained on
MNIST = (-0.1307 / 0.3081, (1 - 0.1307) / 0.3081)  # the same for pixels standardised as torchvision's example does
RETURNS = {process: sorted({*names} - {"velocity to data"}) for process, names in OF_PROCESS.items()}  # as users type
TRAINING_STEPS = 1000  # of a discrete VP process, and the factor of times that count to 1000
FEWEST_STEPS = 50  # of a table that other tables are compared with
OFFSET = 0.02  # of a time that is a little wrong, as a share of its range
LATENT_SCALES = (0.18215, 0.13025, 1 / 0.18215, 1 / 0.13025)  # of Stable Diffusion's latents, and of SDXL's
PADDED = 4  # rows by which data sets of 28x28 are padded


class WrappedModel(nn.Module):
    """A network with changes of its `images`, its `time`, its `labels` or its `output`."""

    def __init__(self, net: Callable[..., Tensor], **changes: Change) -> None:
        super().__init__()
        self.net = net
        self.changes = changes
        self.takes_index = getattr(net, "takes_index", False)

    def forward(self, images: Tensor, time: Tensor, *labels: Tensor, **index: Tensor) -> Tensor:
        names = ("images", "time", "labels", "output")
        there, when, which, back = (self.changes.get(name, nn.Identity()) for name in names)
        output: Tensor = back(self.net(there(images), when(time), *map(which, labels), **index))
        return output


@dataclass(frozen=True)
class Hypothesis:
    """A possible mistake, what to write instead, and the adapter read so."""

    aspect: str
    instead: str
    read: Read
    must_fit: bool = False  # whether to name it only if no level stays doubtful, since it is often better by chance

    @property
    def message(self) -> str:
        return f"check its {self.aspect}: it fits {self.instead} better"

    def and_then(self, other: "Hypothesis") -> "Hypothesis":
        """Both mistakes at once."""
        aspect = f"{self.aspect} and {other.aspect}"
        instead = f"{self.instead} with {other.instead}"
        return Hypothesis(aspect, instead, lambda model: other.read(self.read(model)), must_fit=True)


def hypotheses(model: Adapter) -> list[Hypothesis]:
    """All hypotheses about an adapter that differ from what it is. Of equals the first is named."""
    tables = HYPOTHESES | (OF_IMAGES if isinstance(model.data, Images) else OF_VALUES)
    rows = [Hypothesis(aspect, *row) for aspect, table in tables.items() for row in table(model)]
    present = model.net, model.convention, model.scale
    return [row for row in rows if ((new := row.read(model)).net, new.convention, new.scale) != present]


def read_as(**changes: Any) -> Read:
    """The network under a changed convention.

    `predicts`: as in adapters; a velocity counts in the direction of the network's own time.
    """

    def read(model: Adapter) -> Adapter:
        new = {"time": model.convention.time, "predicts": model.convention.predicts.removesuffix(" to data")} | changes
        if new["predicts"] == "velocity" and new["time"] == FlowTime(1):
            new["predicts"] = "velocity to data"
        return model.with_convention(**new)

    return read


def wrap(**changes: Change) -> Read:
    return lambda model: Adapter(WrappedModel(model.net, **changes), model.data, model.convention)


def multiply(factor: float) -> Change:
    return partial(torch.mul, other=factor)


def relabel(labels: Mapping[int, int]) -> Read:
    """The network with other labels for some."""

    def change(old: Tensor) -> Tensor:
        return old.clone().cpu().apply_(lambda label: labels.get(label, label)).to(old.device)

    return wrap(labels=change)


def _ranges(model: Adapter) -> Rows:
    yield from ((f"pixels={pixels}", read_as(pixels=pixels)) for pixels in RANGES)
    yield "pixels=(-0.4242, 2.8215), which is (v / 255 - 0.1307) / 0.3081,", read_as(pixels=MNIST)
    mean, std = model.data.mean, model.data.std
    yield ("pixels standardised by the mean and std of the data", read_as(pixels=(-mean / std, (255 - mean) / std)))


def _times(model: Adapter) -> Rows:
    """Other times, and changes of the time that the network receives."""
    now = model.convention.time
    table = now if isinstance(now, TableTime) else None
    n = len(table.sigmas) if table else TRAINING_STEPS
    first, last = (table.first, table.first + n - 1) if table else (0, 1)

    def clamped(factor: float, offset: float) -> Change:
        return lambda t: (factor * t + offset).clamp(first, last).to(t.dtype)

    if table and n > 2:  # the index stays within the present ones
        yield f"first={first + 1}", read_as(time=replace(table, first=first + 1, sigmas=table.sigmas[:-1]))
    if table and first > 0:
        yield f"first={first - 1}", read_as(time=replace(table, first=first - 1))
    changes: dict[str, Change] = {}
    if isinstance(now, FlowTime):
        yield f"data_at={1 - now.data_at}", read_as(time=FlowTime(1 - now.data_at))
        # a shift by 3, and back: Esser et al. 2024, arXiv 2403.03206, Eq. 23
        changes |= {"3 * t / (1 + 2 * t)": lambda t: 3 * t / (1 + 2 * t), "t / (3 - 2 * t)": lambda t: t / (3 - 2 * t)}
    if isinstance(now, Sigma):
        changes |= {f"{factor:.3g} * t": multiply(factor) for factor in (1 / model.scale, 0.5, 2.0)}
    elif not isinstance(now, LogSigma):
        by = OFFSET * (last - first)
        changes |= {f"{first + last} - t": clamped(-1, first + last), f"t - {by:.3g}": clamped(1, -by)}
        changes |= {f"t + {by:.3g}": clamped(1, by)}
        for count in dict.fromkeys((TRAINING_STEPS, n)) if not (table and table.whole) else ():
            changes |= {f"{count} * t": multiply(count), f"t / {count}": multiply(1 / count)}
    yield from ((f"net(z, {text})", wrap(time=change)) for text, change in changes.items())
    yield from ((f"time={name}", read_as(time=time)) for name, time in _usual_times(model.convention, n).items())


def _usual_times(convention: adapters.Convention, n: int) -> dict[str, Time]:
    """The usual times of networks of a process; tables of n levels, counted as the present one."""
    now = convention.time
    process = convention.process
    times: dict[str, Time] = {"Sigma()": Sigma(), "LogSigma(0.25)": LogSigma(0.25), "LogSigma()": LogSigma()}
    if process != "vp":
        return times if process == "edm" else {}
    times |= {"LinearVP()": adapters.LinearVP(), "CosineVP()": adapters.CosineVP()}
    if n < FEWEST_STEPS:
        return times
    linear = "linear_betas()" if n == TRAINING_STEPS else f"linear_betas({n}, {0.1 / n:g}, {20 / n:g})"
    tables = {
        linear: adapters.linear_betas(n, 0.1 / n, 20 / n),
        "from_betas(...) of a cosine schedule": adapters.from_betas(cosine_betas(n)),
        "from_betas(...) of a sigmoid schedule": adapters.from_betas(sigmoid_betas(n)),
        "from_betas(...) of Stable Diffusion's scaled linear schedule": adapters.from_betas(
            scaled_linear_betas(n, 0.85 / n, 12 / n)
        ),
    }
    if isinstance(now, TableTime):
        tables = {name: replace(now, sigmas=table.sigmas) for name, table in tables.items()}
    return times | tables


def _processes(model: Adapter) -> Rows:
    now = model.convention
    times_of: dict[str, dict[str, Time]] = {
        "vp": {"time=linear_betas()": adapters.linear_betas(), "the same time": now.time},
        "edm": {"time=Sigma()": Sigma(), "the same time": now.time},
        "flow": {"data_at=0": FlowTime(0), "data_at=1": FlowTime(1)},
    }
    for process, times in times_of.items():
        for (name, time), predicts in product(times.items(), RETURNS[process]):
            if process != now.process and (process == "flow") == isinstance(time, FlowTime):
                read = read_as(process=process, time=time, predicts=predicts)
                yield f"{process}(predicts={predicts!r}, {name})", read


def _negative(model: Adapter) -> Adapter:
    low, high = model.convention.pixels
    return wrap(images=torch.neg, output=torch.neg)(model.with_convention(pixels=(-high, -low)))


def _scale(factor: float, model: Adapter) -> Adapter:
    other = model.with_convention()
    other.scale, other.shift = factor * model.scale, factor * model.shift
    return other


def _scales(model: Adapter) -> Rows:
    for factor in (*LATENT_SCALES, 1 / model.scale, 0.5 / model.scale):
        yield f"{factor:.5g} times the numbers of the file", partial(_scale, factor)


def _turn(quarters: int, mirrored: bool = False) -> Read:
    """On images turned by quarters to the left, mirrored left to right before. A mirror is its own inverse."""

    def turn(x: Tensor, quarters: int) -> Tensor:
        return (x.flip(3) if mirrored else x).rot90(quarters, (2, 3))

    back = quarters if mirrored else -quarters
    return wrap(images=partial(turn, quarters=quarters), output=partial(turn, quarters=back))


def _label_shifts(model: Adapter) -> Rows:
    """Labels counted from another number; the label of no class moves too if it is just before or after the classes."""
    n = model.convention.n_classes
    null = model.convention.null_label
    if model.convention.labels is None or n is None:
        return
    first = -(null == -1)
    count = n + (null in (-1, n))

    def shift(labels: Tensor, by: int) -> Tensor:
        counted = (first <= labels) & (labels < first + count)
        return torch.where(counted, (labels - first + by) % count + first, labels)

    yield from ((f"label {by:+d} for each class", wrap(labels=partial(shift, by=by))) for by in (1, -1))


def _sizes(model: Adapter) -> Rows:
    data = model.data
    if isinstance(data, Images) and not model.edge and adapters.border_is_constant(data, PADDED // 2):
        side = data.shape[1] - PADDED
        yield f"side={side}", read_as(side=side)


flip = partial(torch.flip, dims=(1,))
HYPOTHESES: dict[str, Callable[[Adapter], Rows]] = {  # what may be wrong -> what is tried
    "prediction": lambda model: ((f"predicts={p!r}", read_as(predicts=p)) for p in RETURNS[model.convention.process]),
    "time": _times,
    "process": _processes,
    "sign": lambda _: [("the negative", wrap(output=torch.neg))],
    "labels": _label_shifts,
}
OF_VALUES: dict[str, Callable[[Adapter], Rows]] = {"scale": _scales}  # of latents and points
OF_IMAGES: dict[str, Callable[[Adapter], Rows]] = {
    "range": _ranges,
    "black and white": lambda _: [("negative images", _negative)],
    "channel order": lambda _: [("blue, green, red", wrap(images=flip, output=flip))],
    "orientation": lambda _: [
        ("transposed input with the same output", wrap(images=partial(torch.transpose, dim0=2, dim1=3))),
        ("images turned left by 90 degrees", _turn(1)),
        ("images turned by 180 degrees", _turn(2)),
        ("images turned right by 90 degrees", _turn(3)),
        ("images mirrored left to right", _turn(0, mirrored=True)),
        ("images mirrored upside down", _turn(2, mirrored=True)),
        ("images transposed", _turn(1, mirrored=True)),
        ("images transposed along the second diagonal", _turn(3, mirrored=True)),
    ],
    "size": _sizes,
}
