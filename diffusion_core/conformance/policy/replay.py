"""log_prob of stored samples: is the ratio 1 before any update, and does its gradient reach the velocity?"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from diffusion_core.conformance.policy.density import HALF_LOG_2PI, parabola, span
from diffusion_core.conformance.policy.steps import CLOSE, EPS, Levels, Step, Transition, measure
from diffusion_core.conformance.policy.verdict import Remark

FAR = 0.7  # standard deviations from the mean, where the gradient is taken
OTHERS = (-1, 1, -2, 2)  # numbers of steps that a replay may have instead


def replay(
    step: Step,
    trainer: Step,
    ones: Sequence[Transition],
    levels: Levels,
    replayed: Levels,
    factor: float,
    is_density: bool,
) -> Iterator[Remark]:
    """Whether the trainer's log_prob of the stored x_next is that of the sampler, in float32 and in bfloat16.

    Args:
        levels, replayed: of the sampler and of the trainer.
        factor: of log_prob over the log density.
        is_density: whether it is that in float32, but for the factor.
    """
    times, wider = replayed(len(ones)), False
    gaps, halves = list[tuple[float, float, float]](), list[tuple[float, float, float]]()
    for at, one in enumerate(ones):
        if not one.noisy:
            continue
        (x, t, after, v), pair = one.at, times[min(at, len(times) - 2) :][:2]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(at)
            out = step(x, t, after, v)
            gap = (trainer(x, *pair, v, x_next=out.x).log_prob - out.log_prob).double()
        gaps.append((float(gap.abs().max()), float(gap.mean()), _rounding(one, out.x, factor)))
        x, v = x.bfloat16(), v.bfloat16()
        exact = measure(step, x.double(), t, after, v.double())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(at)
            out = step(x, t, after, v)
            gap = trainer(x, *pair, v, x_next=out.x.to(x.dtype)).log_prob - out.log_prob
        wider |= out.x.dtype != x.dtype
        own = ((out.x.double() - exact.mean) / exact.std).square() / 2 + exact.std.log() + HALF_LOG_2PI
        off = out.log_prob.double() + factor * own.flatten(1).sum(1)
        halves.append((float(gap.abs().max()), float(off.abs().max()), _rounding(exact, out.x, factor)))
    beyond = [row for row in gaps if not row[0] <= row[2]]
    rounded = [gap for gap, _, bound in halves if not gap <= bound]
    if beyond:
        gap, mean, _ = max(beyond)
        why = _schedule(step, trainer, ones, times, levels, factor)
        text = (
            f"log_prob of the stored x_next differs by up to {gap:.3g} (mean {mean:+.2g}) at {len(beyond)} of "
            f"{len(gaps)} steps: ratios are not 1 before any update.{why}"
        )
        yield Remark("replay", "replay", text)
    elif rounded:
        advice = "x_next is wider than x: keep it so." if wider else "Round x_next first."
        text = (
            f"with x in bfloat16, the ratio of the stored sample is up to exp({max(rounded):.2g}): log_prob is that of "
            f"x_next before rounding. {advice}"
        )
        yield Remark("replay", "replay in bfloat16", text, wrong=not wider)
    worst = max(off - 4 * bound for _, off, bound in halves)
    if is_density and not rounded and worst > CLOSE * factor * ones[0].dims:
        text = f"with x in bfloat16, log_prob is off by {worst:.2g}: compute it in float32."
        yield Remark("replay", "computed in bfloat16", text)


def _rounding(one: Transition, x_next: Tensor, factor: float) -> float:
    """How far rounding may move log_prob: 8 units in the last place of float32 of x, of the mean and of x_next."""
    e = 8 * EPS * (one.at[0].double().abs() + one.mean.abs() + x_next.double().abs()) / one.std
    z = (x_next.double() - one.mean).abs() / one.std
    return abs(factor) * float((z * e + e * e / 2).flatten(1).sum(1).max()) + 1e-6


def stored(trainer: Step, one: Transition, times: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """log_prob(z) of the stored x_next = mean + std z, replayed at these two times."""
    x, _, _, v = one.at
    return lambda z: trainer(x, *times, v, x_next=(one.mean + one.std * z).to(x.dtype)).log_prob


def _schedule(
    step: Step, trainer: Step, ones: Sequence[Transition], times: Tensor, levels: Levels, factor: float
) -> str:
    """Whether the standard deviations that the replay implies are those of another number of steps."""
    own = {}
    for at, one in enumerate(ones[: len(times) - 1]):
        if one.noisy and (kappa := parabola(stored(trainer, one, [*times[at : at + 2]]), one.mean).kappa / factor) > 0:
            own[at] = float(one.std.mean()) / kappa**0.5
    for n_steps in (len(ones) + more for more in OTHERS if len(ones) + more > 0):
        other = levels(n_steps)
        got = [
            float(measure(step, ones[at].at[0], *other[at : at + 2], ones[at].at[3]).std.mean()) / std
            for at, std in own.items()
            if at < n_steps
        ]
        if got and max(abs(ratio - 1) for ratio in got) < 2 * CLOSE:
            return f" Its std is that of {n_steps + 1} points, not of {len(ones) + 1}."
    return ""


def gradient(trainer: Step, one: Transition) -> Iterator[Remark]:
    """Whether the gradient of log_prob by the velocity is kappa z / s dm/dv: the mean m is affine in the velocity v."""
    x, t, after, v = one.at
    far = (one.mean + FAR * one.std).to(x.dtype)
    leaf = v.clone().requires_grad_()
    with torch.enable_grad():
        log_prob = trainer(x, t, after, leaf, x_next=far).log_prob.sum()
    got = torch.zeros_like(one.mean)
    if log_prob.requires_grad:
        (slope,) = torch.autograd.grad(log_prob, leaf, allow_unused=True)
        got = got if slope is None else slope.double()
    by_velocity = (measure(trainer, x, t, after, v + 1).mean - one.mean) / one.std
    kappa = parabola(stored(trainer, one, [t, after]), one.mean).kappa
    shares = got / (kappa * FAR * by_velocity) + 0.0  # no -0
    rounding = 64 * EPS * float((x.double().abs() / one.std).max())
    if not float((shares - 1).abs().max()) <= 0.02 + rounding:
        text = f"from t = {float(t):.3g}, that of log_prob by the velocity is {span(shares)} times that of the density."
        yield Remark("gradient", "gradient", text)
