"""Does a function of noise treat its rows one by one: alike in any batch, as its generator says, the same each time?

rows = function(x), or function(x, generator=...), from x (B, ...) to rows (B, ...): a sampler from noise to samples, or
a policy's step from x to x_next. Its own noise comes from torch's normal draws.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
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
    """Whether it has an argument `generator`."""
    return has_argument(function, "generator")


def has_argument(function: Callable[..., Any], name: str) -> bool:
    """Whether its signature, if it has one, has an argument of this name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # it is not written in Python
        return False


def allclose(rows: Tensor, others: Tensor, tolerance: float = SAME) -> bool:
    """Whether the values agree, up to a share of the largest."""
    largest = float(others.double().nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(rows.double(), others.double(), rtol=0, atol=tolerance * largest, equal_nan=True)


def call_seeded(function: Function, x: Tensor, seed: int, **options: Any) -> Tensor:
    """The rows, with torch's global generator seeded."""
    torch.manual_seed(seed)
    return function(x.clone(), **options)


def call_with_draws(function: Function, x: Tensor, rows: slice, numbers: int, seed: int = 1) -> Tensor:
    """These rows of x alone, with their own draws, which `numbers` seeds. NotAffineError if a draw is not per row."""
    generator = torch.Generator().manual_seed(numbers)
    alone = x[rows]

    def make_row(shared: bool) -> Tensor:
        return torch.randn(x.shape, dtype=torch.float64, generator=generator)[rows]

    with PatchedNormal(lambda shape: answer_draw(make_row, shape, alone.shape), repeats=True):
        return call_seeded(function, alone, seed)


def find_dependence(
    function: Function, x: Tensor, generator: bool, *, per_row: bool = False, tolerance: float = SAME
) -> Iterator[Fault]:
    """Yields the faults of a function on x (MANY, ...), different rows, the worst first. It seeds torch.

    `generator`: whether it has such an argument; `per_row`: whether all its draws must be per row.
    """
    few = x[:FEW]
    agree = partial(allclose, tolerance=tolerance)
    first = call_seeded(function, few, 1)
    state = torch.get_rng_state()
    for call in range(2, CALLS + 1):
        if not agree(call_seeded(function, few, 1), first):
            yield "not reproducible", f"call {call} with the same noise and the same seed differs from the first."
            return
    reseeded = call_seeded(function, few, 2)
    seeds_itself = torch.equal(state, torch.get_rng_state())
    noisy = not agree(reseeded, first)
    try:
        whole = call_with_draws(function, x, slice(None), 1)
        noisy = noisy or not agree(call_with_draws(function, x, slice(None), 2), whole)
        if agree(call_with_draws(function, x, slice(None), 1, seed=2), whole) and (  # otherwise it has other randomness
            fault := compare_batches(function, x, whole, tolerance)
        ):
            yield fault
            return
    except NotAffineError as error:
        if per_row:
            yield "depends on its batch", f"alone or in a batch, {error}."
            return
    equal = call_seeded(function, few[:1].expand_as(few), 1)
    if noisy and agree(reseeded, first):
        yield "ignores its generator", "it draws the same noise in every call, whatever the seed."
    elif noisy and agree(equal, equal[:1].expand_as(equal)):
        yield "depends on its batch", "it draws one noise for all samples of a batch."
    elif seeds_itself:
        yield "touches the global generator", "it seeds torch's global generator."
    elif generator:
        yield from _generator_faults(function, few, noisy, agree)
    else:
        yield "no generator", "its signature names no generator: only torch's global seed repeats a sample."


def compare_batches(function: Function, x: Tensor, whole: Tensor, tolerance: float = SAME) -> Fault | None:
    """The fault if a row alone differs from the same row in the `whole` batch, with the same draws."""
    for rows in (slice(FEW), *(slice(at, at + 1) for at in range(FEW))):
        alone = call_with_draws(function, x, rows, 1)
        if not allclose(alone, whole[rows], tolerance):
            sizes = f"a batch of {len(alone)} and in one of {len(x):,}"
            return "depends on its batch", f"with the same noise and draws, a sample differs in {sizes}."
    return None


def _generator_faults(
    function: Function, few: Tensor, noisy: bool, agree: Callable[[Tensor, Tensor], bool]
) -> Iterator[Fault]:
    """How it uses its argument `generator`. `noisy`: its draws change its rows."""

    def make(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    used = make(1)
    first = call_seeded(function, few, 1, generator=used)
    state = torch.get_rng_state()
    if not agree(call_seeded(function, few, 2, generator=make(1)), first):
        text = "with the same generator two calls differ if torch's global one is seeded anew."
        yield "ignores its generator", text
    elif noisy and agree(call_seeded(function, few, 1, generator=make(2)), first):
        yield "ignores its generator", "two generators give the same samples."
    elif not torch.equal(state, make(1).get_state()):  # before the next, for steps that seed it from the one given
        text = "it is given a generator, but draws from torch's global one, or sets its seed."
        yield "touches the global generator", text
    elif noisy and agree(call_seeded(function, few, 1, generator=used), first):
        yield "ignores its generator", "two calls with one generator give the same samples."
    else:
        try:
            together = call_seeded(function, few, 1, generator=[make(seed) for seed in range(FEW)])
            alone = [call_seeded(function, few[at : at + 1], 1, generator=[make(at)]) for at in range(FEW)]
        except Exception:  # it takes no list
            yield "one generator", "it takes no list of generators: an image depends on the size of its batch."
            return
        if not agree(together, torch.cat(alone)):
            text = "of a list of generators, one per sample, it does not use each for its sample."
            yield "ignores its generator", text
