"""log_prob of stored samples: is the ratio 1 before any update, and does its gradient reach the velocity?"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffusion_core.conformance.policy.findings import Finding
from diffusion_core.conformance.policy.log_prob import HALF_LOG_2PI, fit_parabola, span
from diffusion_core.conformance.policy.steps import CLOSE, EPS, Levels, PolicyStep, StepOutput, Transition, measure

FAR = 0.7  # standard deviations from the mean, where the gradient is taken
OTHERS = (-1, 1, -2, 2)  # numbers of steps that a replay may have instead


def check_replay(
    step: PolicyStep, trainer: PolicyStep, transitions: Sequence[Transition], levels: Levels, replayed: Levels,
    factor: float, is_density: bool,
) -> Iterator[Finding]:  # fmt: skip
    """Whether the trainer's log_prob of the stored x_next is that of the sampler, in float32 and in bfloat16.

    Args:
        levels, replayed: of the sampler and of the trainer.
        factor: of log_prob over the log density.
        is_density: whether it is that in float32, but for the factor.
    """
    times, wider = replayed(len(transitions)), False
    gaps, halves = list[tuple[float, float, float]](), list[tuple[float, float, float]]()

    def replay(at: int, x: Tensor, v: Tensor, dtype: torch.dtype | None = None) -> tuple[StepOutput, Tensor]:
        """What the step returns, and the trainer's log_prob of its x_next, stored as `dtype`, minus its own."""
        _, t, after, _ = transitions[at].at
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(at)
            out = step(x, t, after, v)
            again = trainer(x, *times[min(at, len(times) - 2) :][:2], v, x_next=out.x.to(dtype or out.x.dtype))
        return out, (again.log_prob - out.log_prob).double()

    for at, transition in enumerate(transitions):
        if not transition.noisy:
            continue
        x, t, after, v = transition.at
        out, gap = replay(at, x, v)
        gaps.append((float(gap.abs().max()), float(gap.mean()), _rounding(transition, out.x, factor)))
        x, v = x.bfloat16(), v.bfloat16()
        exact = measure(step, x.double(), t, after, v.double())
        out, gap = replay(at, x, v, x.dtype)
        wider |= out.x.dtype != x.dtype
        own = ((out.x.double() - exact.mean) / exact.std).square() / 2 + exact.std.log() + HALF_LOG_2PI
        off = out.log_prob.double() + factor * own.flatten(1).sum(1)
        halves.append((float(gap.abs().max()), float(off.abs().max()), _rounding(exact, out.x, factor)))
    beyond = [row for row in gaps if not row[0] <= row[2]]
    rounded = [gap for gap, _, bound in halves if not gap <= bound]
    if beyond:
        largest, mean, _ = max(beyond)
        why = _other_schedule(step, trainer, transitions, times, levels, factor)
        text = (
            f"log_prob of the stored x_next differs by up to {largest:.3g} (mean {mean:+.2g}) at {len(beyond)} of "
            f"{len(gaps)} steps: ratios are not 1 before any update.{why}"
        )
        yield Finding("replay", "replay", text)
    elif rounded:
        advice = "x_next is wider than x: keep it so." if wider else "Round x_next first."
        text = (
            f"with x in bfloat16, the ratio of the stored sample is up to exp({max(rounded):.2g}): log_prob is that of "
            f"x_next before rounding. {advice}"
        )
        yield Finding("replay", "replay in bfloat16", text, wrong=not wider)
    worst = max(off - 4 * bound for _, off, bound in halves)
    if is_density and not rounded and worst > CLOSE * factor * transitions[0].dims:
        text = f"with x in bfloat16, log_prob is off by {worst:.2g}: compute it in float32."
        yield Finding("replay", "computed in bfloat16", text)


def _rounding(transition: Transition, x_next: Tensor, factor: float) -> float:
    """How far rounding may move log_prob: 8 units in the last place of float32 of x, of the mean and of x_next."""
    mean, std, stored = transition.mean, transition.std, x_next.double()
    e = 8 * EPS * (transition.at[0].double().abs() + mean.abs() + stored.abs()) / std
    z = (stored - mean).abs() / std
    return abs(factor) * float((z * e + e * e / 2).flatten(1).sum(1).max()) + 1e-6


def _stored_kappa(trainer: PolicyStep, transition: Transition, times: Sequence[Tensor]) -> float:
    """kappa of the log_prob of the stored x_next, replayed at these two times."""
    x, _, _, v = transition.at

    def log_prob(z: Tensor) -> Tensor:
        x_next = (transition.mean + transition.std * z).to(x.dtype)
        return trainer(x, *times, v, x_next=x_next).log_prob

    return fit_parabola(log_prob, transition.mean)[0]


def _other_schedule(
    step: PolicyStep, trainer: PolicyStep, transitions: Sequence[Transition], times: Tensor, levels: Levels,
    factor: float,
) -> str:  # fmt: skip
    """Whether the standard deviations that the replay implies are those of another number of steps."""
    own = {}
    for at, transition in enumerate(transitions[: len(times) - 1]):
        if transition.noisy and (kappa := _stored_kappa(trainer, transition, [*times[at : at + 2]]) / factor) > 0:
            own[at] = float(transition.std.mean()) / kappa**0.5
    for n_steps in (len(transitions) + more for more in OTHERS if len(transitions) + more > 0):
        other = levels(n_steps)
        stds = {
            at: measure(step, transitions[at].at[0], *other[at : at + 2], transitions[at].at[3]).std.mean()
            for at in own
            if at < n_steps
        }
        if stds and max(abs(float(std) / own[at] - 1) for at, std in stds.items()) < 2 * CLOSE:
            return f" Its std is that of {n_steps + 1} points, not of {len(transitions) + 1}."
    return ""


def check_gradient(trainer: PolicyStep, transition: Transition) -> Iterator[Finding]:
    """Whether the gradient of log_prob by the velocity is kappa z / s dm/dv: the mean m is affine in the velocity v."""
    x, t, after, v = transition.at
    mean, std = transition.mean, transition.std
    leaf = v.clone().requires_grad_()
    with torch.enable_grad():
        log_prob = trainer(x, t, after, leaf, x_next=(mean + FAR * std).to(x.dtype)).log_prob.sum()
    slope = torch.autograd.grad(log_prob, leaf, allow_unused=True)[0] if log_prob.requires_grad else None
    got = torch.zeros_like(mean) if slope is None else slope.double()
    by_velocity = (measure(trainer, x, t, after, v + 1).mean - mean) / std
    kappa = _stored_kappa(trainer, transition, [t, after])
    shares = got / (kappa * FAR * by_velocity) + 0.0  # no -0
    rounding = 64 * EPS * float((x.double().abs() / std).max())
    if not float((shares - 1).abs().max()) <= 0.02 + rounding:
        text = f"from t = {float(t):.3g}, that of log_prob by the velocity is {span(shares)} times that of the density."
        yield Finding("gradient", "gradient", text)
