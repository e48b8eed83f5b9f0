"""An adapter's network read in other ways: another range, output, time or process, or a table shifted by one.

A network whose error falls when it is read in another way was probably wrapped wrongly. Readings of functions are in
function_variants.py.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from diffusion_core.adapters import (
    Adapter,
    Convention,
    CosineVP,
    FlowTime,
    LinearVP,
    LogSigma,
    Sigma,
    TableTime,
    Time,
    from_betas,
    linear_betas,
)
from diffusion_core.samplers import Model

RANGES = ((-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5))  # values of black and of white that networks are trained on
PREDICTIONS = {"vp": ("eps", "x0", "v"), "edm": ("x0", "eps"), "flow": ("velocity", "x0", "eps")}  # as users name them
TRAINING_STEPS = 1000  # of a discrete VP process, and the factor of times that count to 1000
FITS = 0.7  # see Variant
UNITS_FIT = 0.92  # `fits` of a sigma in other units: an error of a factor of 2 changes little, but at all levels
FEWEST_STEPS = 50  # of a table that other tables are compared with


@dataclass(frozen=True)
class Variant:
    """Another reading of a model, and the sentence to say if it fits better."""

    says: str
    model: Model
    kinds: tuple[str, ...] = ()  # what is read in another way, one word each
    fits: float = FITS  # it fits better if its error is below this times the error, as a geometric mean over levels


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


class Rewrapped(nn.Module):
    """A network that is told its time times a factor, and whose output is multiplied by a sign."""

    def __init__(self, net: Callable[..., Tensor], factor: float = 1.0, sign: int = 1) -> None:
        super().__init__()
        self.net, self.factor, self.sign = net, factor, sign

    def forward(self, z: Tensor, time: Tensor, *labels: Tensor) -> Tensor:
        out = self.net(z, time if self.factor == 1 else time * self.factor, *labels)
        return out if self.sign == 1 else -out


@dataclass(frozen=True)
class _Told:
    """A network that is told something else: other images, another time, or both."""

    model: Adapter
    kinds: tuple[str, ...] = ()
    says: str = ""
    process: str = ""  # the adapter to use instead, if it is another one
    fits: float = FITS  # see Variant


def variants(model: Adapter, *, every: bool) -> Iterator[Variant]:
    """Other readings of an adapter's network.

    Args:
        every: also other times and processes, the output's negative, and another output together with another input.
    """
    for told in _told(model, every=every):
        convention = told.model.convention
        for predicts in PREDICTIONS[convention.process]:
            reads = _in_its_time(predicts, convention.time)
            for sign in (1, -1) if every else (1,):
                same, plain = reads == convention.predicts, not told.kinds
                if (plain and same and sign == 1) or not (every or plain or same):
                    continue
                kinds, says = list(told.kinds), [told.says] if told.says else []
                if told.process:
                    says.append(f"it may be of another process: {told.process.format(predicts=predicts)} fits better")
                elif not same:
                    now = _as_users_say(convention.predicts)
                    kinds.append("prediction")
                    says.append(f"its output may be read wrongly: it fits predicts={predicts!r} better than {now!r}")
                read = with_convention(told.model, predicts=reads)
                if sign == -1:
                    kinds.append("sign")
                    says.append("its output may have the wrong sign: its negative fits better")
                    read = Adapter(Rewrapped(read.net, sign=-1), read.data, read.convention)
                yield Variant("; and ".join(says), read, tuple(kinds), told.fits)


def shifted(model: Model) -> Iterator[Variant]:
    """The neighbours of a model with a table of noise levels: its index counted one higher, and one lower.

    The index stays within the present ones and is never negative, because an embedding table may have no more.
    """
    if not (isinstance(model, Adapter) and isinstance(model.convention.time, TableTime)):
        return
    table = model.convention.time
    tables = []
    if len(table.sigmas) > 2:
        tables.append(replace(table, first=table.first + 1, sigmas=table.sigmas[:-1]))
    if table.first > 0:
        tables.append(replace(table, first=table.first - 1))
    for one in tables:
        yield Variant(
            f"its table may be off by one: it fits first={one.first} better than first={table.first}",
            with_convention(model, time=one),
            ("table",),
        )


def with_convention(model: Adapter, **changes: object) -> Adapter:
    """The same network under a convention with these changes."""
    return Adapter(model.net, model.data, replace(model.convention, **changes))  # type: ignore[arg-type]  # any field


def _told(model: Adapter, *, every: bool) -> Iterator[_Told]:
    """The adapter, and the adapter with one change of what its network is told."""
    yield _Told(model)
    convention = model.convention
    for pixels in RANGES:
        if pixels != convention.pixels:
            says = f"the images' range may be wrong: it fits pixels={pixels} better than {convention.pixels}"
            yield _Told(with_convention(model, pixels=pixels), ("range",), says)
    if isinstance(convention.time, FlowTime):
        other = FlowTime(1 - convention.time.data_at)
        predicts = _in_its_time(_as_users_say(convention.predicts), other)
        says = f"its time may run the other way: it fits data_at={other.data_at} better"
        yield _Told(with_convention(model, time=other, predicts=predicts), ("time",), says)
    is_sigma = isinstance(convention.time, Sigma)
    for factor, spelt in _units(model) if every or is_sigma else ():
        says = f"its time may be in other units: it fits better as lambda z, t: net(z, {spelt})"
        told = Adapter(Rewrapped(model.net, factor), model.data, convention)
        yield _Told(told, ("units of time",), says, fits=UNITS_FIT if is_sigma else FITS)
    if not every:
        return
    for name, time in _times(convention):
        if time != convention.time:
            says = f"its time may be another one: it fits time={name} better"
            yield _Told(with_convention(model, time=time), ("time",), says)
    for process, says, time in _processes(convention):
        predicts = _in_its_time(PREDICTIONS[process][0], time)
        yield _Told(with_convention(model, process=process, time=time, predicts=predicts), ("process",), "", says)


def _times(convention: Convention) -> list[tuple[str, Time]]:
    """The usual times of networks of a process; tables as long as the present one, and counted as it is."""
    if convention.process == "edm":
        return [("Sigma()", Sigma()), ("LogSigma(0.25)", LogSigma(0.25)), ("LogSigma()", LogSigma())]
    if convention.process == "flow":
        return []
    now = convention.time
    n = len(now.sigmas) if isinstance(now, TableTime) else TRAINING_STEPS
    times: list[tuple[str, Time]] = [("LinearVP()", LinearVP()), ("CosineVP()", CosineVP())]
    if n >= FEWEST_STEPS:
        linear, cosine = linear_betas(n, 0.1 / n, 20 / n), from_betas(_cosine_betas(n))
        if isinstance(now, TableTime):
            linear, cosine = (replace(table, whole=now.whole, first=now.first) for table in (linear, cosine))
        spelt = "linear_betas()" if n == TRAINING_STEPS else f"linear_betas({n}, {0.1 / n:g}, {20 / n:g})"
        times = [(spelt, linear), ("from_betas(...) of a cosine schedule", cosine), *times]
    return times


def _units(model: Adapter) -> list[tuple[float, str]]:
    """Factors of the time that a network may expect, and how a user writes the time then."""
    time = model.convention.time
    if isinstance(time, TableTime):
        return [(1 / len(time.sigmas), f"t / {len(time.sigmas)}")]
    if isinstance(time, Sigma):
        return [(factor, f"{factor:.3g} * t") for factor in (1 / model.scale, 0.5, 2.0)]
    return [] if isinstance(time, LogSigma) else [(TRAINING_STEPS, f"{TRAINING_STEPS} * t")]


def _processes(convention: Convention) -> Iterator[tuple[str, str, Time]]:
    """Other processes with a time, and how to spell them; the prediction is still open."""
    usual = (("vp", "linear_betas()", linear_betas()), ("edm", "Sigma()", Sigma()))
    for process, name, time in usual:
        if process != convention.process:
            if convention.process != "flow":
                yield process, f"{process}(predicts={{predicts!r}}) with the same time", convention.time
            if time != convention.time:
                yield process, f"{process}(predicts={{predicts!r}}, time={name})", time
    if convention.process != "flow":
        for data_at in (0, 1):
            yield "flow", f"flow(predicts={{predicts!r}}, data_at={data_at})", FlowTime(data_at)


def _cosine_betas(n: int) -> list[float]:
    """The variances per step of Nichol & Dhariwal 2021, arXiv 2102.09672, Eq. 17, clipped at 0.999 as there."""
    abar = [math.cos(math.pi / 2 * (i / n + 0.008) / 1.008) ** 2 for i in range(n + 1)]
    return [min(1 - after / before, 0.999) for before, after in pairwise(abar)]


def _as_users_say(predicts: str) -> str:
    """A prediction as it is given to `adapters.flow`, which knows from `data_at` which velocity it is."""
    return "velocity" if predicts == "velocity to data" else predicts


def _in_its_time(predicts: str, time: Time) -> str:
    """A prediction as conventions name it: a velocity in a time that runs to the data points to the data."""
    to_data = isinstance(time, FlowTime) and time.data_at == 1
    return "velocity to data" if predicts == "velocity" and to_data else predicts
