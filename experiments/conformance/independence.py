"""Does a function of noise treat its rows one by one: alike in any batch, as its generator says, the same each time?

rows = function(x), or function(x, generator=...), from noise x (B, ...) to samples (B, ...). Its own noise comes from
torch's normal draws.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

import torch
from torch import Tensor

from experiments.conformance.impulses import NotAffineError, PatchedNormal, answer_draw

Function = Callable[..., Tensor]
Dependence = Literal[
    "not reproducible", "depends on its batch", "ignores its generator", "touches the global generator",
    "ignores its noise", "no generator", "one generator",
]  # fmt: skip
Fault = tuple[Dependence, str]  # what is wrong, and what shows it
NOTES = ("no generator", "one generator")  # what is no error, but a user should know
CALLS = 32  # equal ones
FEW = 3  # rows of the small batch
MANY = 1000  # rows of the large batch
SAME = 1e-4  # of the largest value: smaller differences may be rounding


def takes_generator(function: Function) -> bool:
    """Whether its signature, if it has one, has an argument `generator`."""
    try:
        return "generator" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # it is not written in Python
        return False


def allclose(rows: Tensor, others: Tensor) -> bool:
    """Whether the values agree, up to a share of the largest."""
    largest = float(others.double().nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(rows.double(), others.double(), rtol=0, atol=SAME * largest, equal_nan=True)


def call_seeded(function: Function, x: Tensor, seed: int, **options: Any) -> Tensor:
    """The rows, with torch's global generator seeded."""
    torch.manual_seed(seed)
    return function(x.clone(), **options)


def _call_with_draws(function: Function, x: Tensor, rows: slice, numbers: int, seed: int = 1) -> Tensor:
    """These rows of x alone, with their own draws, which `numbers` seeds. NotAffineError if a draw is not per row."""
    generator = torch.Generator().manual_seed(numbers)
    alone = x[rows]

    def make_row(shared: bool) -> Tensor:
        return torch.randn(x.shape, dtype=torch.float64, generator=generator)[rows]

    with PatchedNormal(lambda shape: answer_draw(make_row, shape, alone.shape)):
        return call_seeded(function, alone, seed)


def find_dependence(function: Function, x: Tensor, generator: bool) -> Iterator[Fault]:
    """Yields the faults of a function on x (MANY, ...), different rows, the worst first. It seeds torch.

    `generator`: whether it has such an argument.
    """
    few = x[:FEW]
    first = call_seeded(function, few, 1)
    state = torch.get_rng_state()
    for call in range(2, CALLS + 1):
        if not allclose(call_seeded(function, few, 1), first):
            yield "not reproducible", f"call {call} with the same noise and the same seed differs from the first."
            return
    reseeded = call_seeded(function, few, 2)
    seeds_itself = torch.equal(state, torch.get_rng_state())
    noisy = not allclose(reseeded, first)
    with suppress(NotAffineError):
        whole = _call_with_draws(function, x, slice(None), 1)
        noisy = noisy or not allclose(_call_with_draws(function, x, slice(None), 2), whole)
        if allclose(_call_with_draws(function, x, slice(None), 1, seed=2), whole) and (  # else: other randomness
            fault := _compare_batches(function, x, whole)
        ):
            yield fault
            return
    equal = call_seeded(function, few[:1].expand_as(few), 1)
    if noisy and allclose(reseeded, first):
        yield "ignores its generator", "it draws the same noise in every call, whatever the seed."
    elif noisy and allclose(equal, equal[:1].expand_as(equal)):
        yield "depends on its batch", "it draws one noise for all samples of a batch."
    elif seeds_itself:
        yield "touches the global generator", "it seeds torch's global generator."
    elif generator:
        yield from _generator_faults(function, few, noisy)
    else:
        yield "no generator", "its signature names no generator: only torch's global seed repeats a sample."


def _compare_batches(function: Function, x: Tensor, whole: Tensor) -> Fault | None:
    """The fault if a row alone differs from the same row in the `whole` batch, with the same draws."""
    for rows in (slice(FEW), *(slice(at, at + 1) for at in range(FEW))):
        alone = _call_with_draws(function, x, rows, 1)
        if not allclose(alone, whole[rows]):
            sizes = f"a batch of {len(alone)} and in one of {len(x):,}"
            return "depends on its batch", f"with the same noise and draws, a sample differs in {sizes}."
    return None


def _generator_faults(function: Function, few: Tensor, noisy: bool) -> Iterator[Fault]:
    """How it uses its argument `generator`. `noisy`: its draws change its rows."""

    def make(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    used = make(1)
    first = call_seeded(function, few, 1, generator=used)
    state = torch.get_rng_state()
    if not allclose(call_seeded(function, few, 2, generator=make(1)), first):
        text = "with the same generator two calls differ if torch's global one is seeded anew."
        yield "ignores its generator", text
    elif noisy and allclose(call_seeded(function, few, 1, generator=make(2)), first):
        yield "ignores its generator", "two generators give the same samples."
    elif not torch.equal(state, make(1).get_state()):  # before the next, for steps that seed it from the one given
        text = "it is given a generator, but draws from torch's global one, or sets its seed."
        yield "touches the global generator", text
    elif noisy and allclose(call_seeded(function, few, 1, generator=used), first):
        yield "ignores its generator", "two calls with one generator give the same samples."
    else:
        try:
            together = call_seeded(function, few, 1, generator=[make(seed) for seed in range(FEW)])
            alone = [call_seeded(function, few[at : at + 1], 1, generator=[make(at)]) for at in range(FEW)]
        except Exception:  # it takes no list
            yield "one generator", "it takes no list of generators: an image depends on the size of its batch."
            return
        if not allclose(together, torch.cat(alone)):
            text = "of a list of generators, one per sample, it does not use each for its sample."
            yield "ignores its generator", text
