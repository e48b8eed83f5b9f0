"""How a function of noise behaves, whatever its law: row by row, as its generator says, and the same in each call.

The function is rows = function(noise), or function(noise, generator=...), from noise (B, ...) to rows (B, ...).
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from diffusion_core.conformance.impulses import Draws, NotAffineError, answered

Function = Callable[..., Tensor]
Behaviour = Literal[
    "not reproducible", "depends on its batch", "ignores its generator", "touches the global generator",
    "ignores its noise",
]  # fmt: skip
Fault = tuple[Behaviour, str]  # the fault, and what shows it
CALLS, FEW, MANY = 32, 3, 1000  # equal calls; rows of the small and of the large batch
SAME = 1e-4  # of the largest value: smaller differences may be rounding


def takes_generator(function: Function) -> bool:
    """Whether it has an argument `generator`."""
    try:
        return "generator" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # it is not written in Python
        return False


def same(rows: Tensor, others: Tensor) -> bool:
    """Whether the values agree, up to rounding."""
    largest = float(others.double().nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(rows.double(), others.double(), rtol=0, atol=SAME * largest, equal_nan=True)


def seeded(function: Function, noise: Tensor, seed: int, **options: Any) -> Tensor:
    """The rows, with torch's global generator seeded."""
    torch.manual_seed(seed)
    return function(noise.clone(), **options)


def with_draws(function: Function, noise: Tensor, rows: slice, numbers: int, seed: int = 1) -> Tensor:
    """These rows alone, each with its own noise and draws, which `numbers` seeds.

    NotAffineError if a draw is not per row.
    """
    generator, part = torch.Generator().manual_seed(numbers), noise[rows]

    def draw(shared: bool) -> Tensor:
        return torch.randn(noise.shape, dtype=torch.float64, generator=generator)[rows]

    with Draws(lambda shape: answered(draw, shape, part.shape), repeats=True):
        return seeded(function, part, seed)


def fault(function: Function, noise: Tensor, generator: bool) -> Fault | None:
    """What is wrong with the function's behaviour. It seeds torch.

    Args:
        noise: (MANY, ...) noise of many rows.
        generator: whether it has an argument `generator`.
    """
    few, all_rows, regular = noise[:FEW], slice(None), False
    first, state = seeded(function, few, 1), torch.get_rng_state()
    for call in range(2, CALLS + 1):
        if not same(seeded(function, few, 1), first):
            return "not reproducible", f"call {call} with the same noise and the same seed differs from the first."
    reseeded = seeded(function, few, 2)
    noisy = not same(reseeded, first)
    seeds_itself = torch.equal(state, torch.get_rng_state())
    try:
        whole = with_draws(function, noise, all_rows, 1)
        noisy = noisy or not same(with_draws(function, noise, all_rows, 2), whole)
        regular = same(with_draws(function, noise, all_rows, 1, seed=2), whole)  # else it has other randomness
        for rows in (slice(FEW), *(slice(at, at + 1) for at in range(FEW))) if regular else ():
            part = with_draws(function, noise, rows, 1)
            if not same(part, whole[rows]):
                sizes = f"a batch of {len(part)} and in one of {len(noise):,}"
                return "depends on its batch", f"with the same noise and draws, a sample differs in {sizes}."
    except NotAffineError:  # a draw of another shape
        pass
    if noisy and same(reseeded, first):
        return "ignores its generator", "it draws the same noise in every call, whatever the seed."
    equal = seeded(function, few[:1].expand_as(few), 1)
    if noisy and same(equal, equal[:1].expand_as(equal)):
        return "depends on its batch", "it draws one noise for all samples of a batch."
    if seeds_itself:
        return "touches the global generator", "it seeds torch's global generator."
    return _generator_fault(function, few, noisy) if generator else None


def _generator_fault(function: Function, few: Tensor, noisy: bool) -> Fault | None:
    """What is wrong with how it uses its argument `generator`. `noisy`: its draws change its rows."""

    def generator(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    given = generator(1)
    first, state = seeded(function, few, 1, generator=given), torch.get_rng_state()
    if not same(seeded(function, few, 2, generator=generator(1)), first):
        return "ignores its generator", "with the same generator two calls differ if torch's global one is seeded anew."
    if noisy and same(seeded(function, few, 1, generator=generator(2)), first):
        return "ignores its generator", "two generators give the same samples."
    if noisy and same(seeded(function, few, 1, generator=given), first):
        return "ignores its generator", "two calls with one generator give the same samples."
    if not torch.equal(state, torch.Generator().manual_seed(1).get_state()):
        return "touches the global generator", "it is given a generator, but draws from torch's global one too."
    try:
        together = seeded(function, few, 1, generator=[generator(seed) for seed in range(FEW)])
        alone = [seeded(function, few[at : at + 1], 1, generator=[generator(at)]) for at in range(FEW)]
    except Exception:  # it takes no list
        return None
    if not same(together, torch.cat(alone)):
        return "ignores its generator", "of a list of generators, one per sample, it does not use each for its sample."
    return None


def ignored_noise(function: Function, noise: Tensor) -> Fault | None:
    """Whether its result is the same for any noise."""
    parts = [seeded(function, noise[at : at + FEW], 1) for at in (0, FEW)]
    return ("ignores its noise", "the noise that it is given changes nothing.") if torch.equal(*parts) else None
