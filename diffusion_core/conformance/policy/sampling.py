"""How a step samples: finite ends, batches, generators, the ODE without noise, and the law of the samples."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffusion_core.conformance.checking import check
from diffusion_core.conformance.impulses import NotAffineError
from diffusion_core.conformance.oracle import GAUSSIAN, Oracle
from diffusion_core.conformance.policy.steps import Levels, Step, Transition
from diffusion_core.conformance.policy.verdict import Remark
from diffusion_core.conformance.verdict import Verdict

ALONE = [slice(at, at + 1) for at in range(3)]  # of a batch, an image each
REORDERED = 1e-5  # largest difference of an image that is alone from itself in a batch, by another order of sums
EULER = 1e-4  # largest difference from the Euler step


def ends(step: Step, ones: Sequence[Transition]) -> Iterator[Remark]:
    """Whether everything is finite where t is 1 and where t_next is 0."""
    for one, where in ((ones[0], "first step, t = {0:.3g}"), (ones[-1], "last step, t_next = {1:.3g}")):
        out = vars(step(*one.at))
        if bad := [name for name, y in out.items() if y is not None and not torch.isfinite(torch.as_tensor(y)).all()]:
            names = " and ".join(bad).replace("x ", "x_next ") if bad != ["x"] else "x_next"
            where = where.format(float(one.at[1]), float(one.at[2]))
            text = f"{names} not finite (the noise drawn has std {float(one.std.max()):.3g})."
            yield Remark("ends", f"not finite at the {where}", text)


def draws(ones: Sequence[Transition]) -> Iterator[Remark]:
    """Whether x_next is drawn as it should be, at all steps."""
    for at, one in enumerate(ones):
        if one.strange:
            name, text = one.strange
            yield Remark("draws", name, f"at step {at + 1} {text}" if at else text)
            return


def batch(step: Step, one: Transition) -> Iterator[Remark]:
    """Whether an image alone is the same as in a batch, with the same noise."""
    x, t, after, v = _images(one)
    z = torch.randn(max(one.n_draws, 1), *x.shape, generator=_seeded(4), dtype=torch.float64)
    try:
        whole, alone = step.fed(z, x, t, after, v), [step.fed(z[:, row], x[row], t, after, v[row]) for row in ALONE]
    except NotAffineError as error:
        yield Remark("batch", "depends on its batch", f"alone or in a batch of {len(ALONE)}, {error}.")
        return
    gap = float((torch.cat([out.x for out in alone]) - whole.x).abs().max())
    if not gap <= REORDERED:
        text = f"with the same noise, an image alone differs by {gap:.2g} from itself in a batch of {len(ALONE)}."
        yield Remark("batch", "depends on its batch", text)
    elif all(isinstance(out.log_prob, Tensor) and out.log_prob.shape == (len(out.x),) for out in (whole, *alone)):
        gap = float(
            ((torch.cat([out.log_prob for out in alone]) - whole.log_prob).abs() / (1 + whole.log_prob.abs())).max()
        )
        if not gap <= REORDERED:
            text = f"its log_prob alone is another one than in a batch of {len(ALONE)}, by a share of {gap:.2g}."
            yield Remark("batch", "depends on its batch", text)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(one: Transition) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(x, t, t_next, velocity) of a batch of different images."""
    x, t, after, _ = one.at
    x = x[: len(ALONE)] + torch.randn(len(ALONE), *x.shape[1:], generator=_seeded(3)).to(x.dtype)
    return x, t, after, GAUSSIAN.velocity(x, t)


def generators(step: Step, one: Transition) -> Iterator[Remark]:
    """Whether a generator decides the sample, and leaves the global one alone."""
    if torch.equal(step(*one.at).x, step(*one.at).x):
        text = "without a generator, two calls draw the same noise: it sets a seed."
        yield Remark("generator", "same noise at every call", text)
    if not step.seeded:
        text = "its signature names no generator: only torch's global seed repeats a sample."
        yield Remark("generator", "no generator", text, wrong=False)
        return

    def run(seed: int, outer: int) -> tuple[Tensor, bool]:
        torch.manual_seed(outer)
        before = torch.get_rng_state()
        x_next = step(*one.at, generator=_seeded(seed)).x
        return x_next, torch.equal(before, torch.get_rng_state())

    (a, untouched), (b, _), (c, _) = run(1, 5), run(1, 6), run(2, 6)
    if not torch.equal(a, b):
        yield Remark("generator", "generator ignored", "generators of the same state give two results.")
    elif torch.equal(b, c):
        yield Remark("generator", "generator ignored", "two seeds give the same noise.")
    if not untouched:
        text = "it is given a generator, but draws from torch's global one, or sets its seed."
        yield Remark("generator", "global seed touched", text)
    if torch.equal(a, b) and not torch.equal(b, c):
        yield from _lists(step, one)


def _lists(step: Step, one: Transition) -> Iterator[Remark]:
    """Whether with a list of generators every image has the noise of its own."""
    x, t, after, v = _images(one)
    try:
        many = step(x, t, after, v, generator=[_seeded(row.start) for row in ALONE]).x
    except (TypeError, AttributeError, RuntimeError, ValueError):
        text = "it takes no list of generators: an image depends on the size of its batch."
        yield Remark("generator", "one generator", text, wrong=False)
        return
    alone = torch.cat([step(x[row], t, after, v[row], generator=_seeded(row.start)).x for row in ALONE])
    if not torch.allclose(many, alone, atol=REORDERED):
        text = "with a list of generators, an image is not that of its own generator alone."
        yield Remark("generator", "depends on its batch", text)


def ode(step: Step, ones: Sequence[Transition], noise: str) -> Iterator[Remark]:
    """Whether the step is x + (t_next - t) v where its argument `noise` is 0."""
    quiet: dict[str, Any] = {noise: 0.0}
    for at, one in enumerate(ones):
        x, *_, v = one.at
        try:
            gap = float((step(*one.at, **quiet).x - (x - one.dt * v)).abs().max())
            bad = "" if gap <= EULER else f"step {at + 1} is {gap:.2g} away from x + (t_next - t) v"
        except (ArithmeticError, ValueError, RuntimeError) as error:
            bad = f"step {at + 1} raises {type(error).__name__}: {error}"
        if bad:
            yield Remark("ODE", "not the ODE at noise 0", f"with {noise}=0 {bad}.")
            return


def law(step: Step, levels: Levels) -> Verdict:
    """Whether the samples tend to the law of the data; the noise of a step is a normal draw like any other."""

    def sampler(denoiser: Oracle, n_steps: int, noise: Tensor) -> Tensor:
        x = noise
        for t, after in pairwise(levels(n_steps)):
            x = step(x, t, after, denoiser.velocity(x, t)).x.to(x.dtype)
        return x

    return check(sampler)
