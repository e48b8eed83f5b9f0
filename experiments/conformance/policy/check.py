"""All checks of a policy's step, and what they find."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffusion_core.validation import one_of
from experiments.conformance.check import check
from experiments.conformance.impulses import NotAffineError
from experiments.conformance.independence import MANY, NOTES, call_with_draws, compare_batches, find_dependence
from experiments.conformance.oracle import GAUSSIAN, Oracle
from experiments.conformance.policy.findings import ACCEPTABLE, FIRST, Finding, PolicyVerdict
from experiments.conformance.policy.log_prob import (
    check_gradient,
    check_log_prob,
    check_replay,
    check_reported,
    check_shape,
)
from experiments.conformance.policy.steps import (
    CLOSE,
    Levels,
    PolicyStep,
    Transition,
    explain_limit,
    measure,
    state,
    uniform,
)

STEPS = (10, 28, 50)  # at which the law is reported
EULER = 1e-4  # largest difference from the Euler step
SAME = 1e-5  # of the largest value: a row that is alone may differ from itself in a batch, by another order of sums
SHAPE = (4, 3, 5)  # of an image; the last dimension runs over the directions of the data
UNKNOWN_MEAN = {"log_prob: wrong mean", "log_prob: not Gaussian", "replay"}  # after these a gradient says nothing more


def check_policy(  # noqa: PLR0913  # the options of the check, by keyword
    step: Callable[..., Any], *, noise: str | None = None, levels: Levels = uniform,
    replayed_by: Callable[..., Any] | None = None, replay_levels: Levels | None = None, accept: Sequence[str] = (),
    n_steps: int = 10, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float32, convergence: bool = True,
) -> PolicyVerdict:  # fmt: skip
    """Checks whether a stochastic step of a flow model samples the data, and whether its log_prob is that of its noise.

    Args:
        step: x_next, log_prob[, mean, std] = step(x, t, t_next, velocity, ...), where x = (1 - t) x0 + t z, t falls,
            t and t_next are tensors (), and velocity is z - x0. Optional arguments, used if it has them: generator,
            and x_next or prev_sample, a stored sample whose log_prob it returns.
        noise: the name of its argument that sets the noise, 0 being the ODE; None does not check that.
        levels: levels(n_steps) gives its n_steps + 1 times.
        replayed_by, replay_levels: the step and the levels of the trainer, if they differ from those of the sampler.
        accept: intended deviations, of `ACCEPTABLE`.
        n_steps: number of steps of the schedule on which the step is checked.
        shape, dtype: of the images on which it is checked: float32 or float64, with a last dimension of 5.
        convergence: whether to measure the distribution of the samples, which takes about a second more.

    Raises:
        ValueError: the step does not return what it should, or an argument is none of those above.
    """
    accept = [accept] if isinstance(accept, str) else accept
    meant = {name for word in accept for name in ACCEPTABLE[one_of("accept", word, ACCEPTABLE)]}
    sampler, trainer = PolicyStep(step), PolicyStep(replayed_by or step)
    if replayed_by and trainer.stored is None:
        raise ValueError("replayed_by: its signature names no x_next or prev_sample, the stored sample")
    if noise and not sampler.takes_any:
        one_of("noise", noise, sampler.names)
    replayed = _check_levels(replay_levels or levels, "replay_levels")
    levels = _check_levels(levels, "levels")
    # a compiled step is run without its compiler, which would hide its draws
    eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad(), eager:
        times = levels(n_steps)
        points = (state(shape, times[at : at + 2], dtype, seed=at) for at in range(len(times) - 1))
        transitions = [measure(sampler, *point) for point in points]
        verdict = _check_step(sampler, trainer, transitions, levels, replayed)
        if not any(finding.check in FIRST for finding in verdict.errors):
            if noise:
                verdict = verdict.adding(_check_ode(sampler, transitions, noise), "ODE")
            last = {n: float(measure(sampler, *state(shape, levels(n)[-2:], dtype, seed=0)).std.max()) for n in STEPS}
            verdict = replace(verdict.adding(_note_last_noise(last)), last_noise=last)
            verdict = _check_convergence(verdict, sampler, levels, transitions) if convergence else verdict
    return verdict.accepting(meant)


def _note_last_noise(last: Mapping[int, float]) -> Iterator[Finding]:
    """A note if the last step adds noise. `last`: its standard deviation by the number of steps."""
    if max(last.values()) > CLOSE:
        text = f"it adds noise of std {', '.join(f'{std:.3f} with {n}' for n, std in last.items())} steps."
        yield Finding("law", "noise at the last step", text, wrong=False)


def assert_policy(step: Callable[..., Any], **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the step is right. For tests; arguments as `check_policy`."""
    verdict = check_policy(step, **options)
    assert verdict.right, verdict.sentence


def _check_levels(levels: Levels, name: str) -> Levels:
    def checked(n_steps: int) -> Tensor:
        times = torch.as_tensor(levels(n_steps), dtype=torch.float64)
        many = times.shape == (n_steps + 1,) or (name == "replay_levels" and times.ndim == 1)  # its number may be wrong
        if not (many and (times[:-1] > times[1:]).all() and 0 <= times[-1] < times[0] <= 1):
            raise ValueError(f"{name}({n_steps}): it must return {n_steps + 1} times that fall, between 1 and 0")
        return times

    return checked


def _check_step(
    step: PolicyStep, trainer: PolicyStep, transitions: Sequence[Transition], levels: Levels, replayed: Levels
) -> PolicyVerdict:
    """All checks but the ODE and the law."""
    ends = [*_check_ends(step, transitions)]
    noisy = [transition for transition in transitions if transition.noisy]
    errors = [finding for finding in ends if finding.wrong]
    anomalies = ((at, transition.anomaly) for at, transition in enumerate(transitions) if transition.anomaly)
    for at, (name, text) in [*anomalies][:1]:
        errors.append(Finding("draws", name, f"at step {at + 1} {text}" if at else text))
    some = noisy or transitions
    independence = [] if errors else [*_check_independence(step, some[len(some) // 2])]
    errors += [finding for finding in independence if finding.check in FIRST]
    if errors:
        return PolicyVerdict(tuple(errors), FIRST)
    if not noisy:
        text = "no step gives noise to every element: log_prob was not checked."
        return PolicyVerdict((*ends, Finding("log_prob", "no noise", text, wrong=False)), FIRST)
    checked = [*FIRST, "generator", "log_prob"]
    factor = None
    shapes = [*check_shape(step, noisy[0])]
    findings = ends + independence + shapes
    if not shapes:
        checked.append("reported")
        factor, of_log_prob = check_log_prob(step, noisy)
        findings += [*of_log_prob, *check_reported(step, noisy)]
        if trainer.stored is None:
            text = "its signature names no x_next or prev_sample: log_prob of a stored sample was not checked."
            findings.append(Finding("replay", "no replay", text, wrong=False))
        elif factor is not None:
            checked += ["replay", "gradient"]
            is_density = not any(finding.wrong for finding in of_log_prob)
            findings += check_replay(step, trainer, transitions, levels, replayed, factor, is_density)
            if not UNKNOWN_MEAN & {finding.name for finding in findings}:
                places = dict.fromkeys((0, len(noisy) // 2, len(noisy) - 1))
                findings += [finding for at in places for finding in check_gradient(trainer, noisy[at])][:1]
    return PolicyVerdict(tuple(findings), tuple(checked), factor=factor)


def _check_ends(step: PolicyStep, transitions: Sequence[Transition]) -> Iterator[Finding]:
    """The first step that gives something that is not finite; a note where that is log_prob of a step without noise."""
    quiet = list[str]()
    last = len(transitions) - 1
    for at, transition in enumerate(transitions):
        _, t, after, _ = transition.at
        std = float(transition.std.max())
        ends = {0: f"the first step, t = {float(t):.3g}", last: f"the last step, t_next = {float(after):.3g}"}
        where = ends.get(at, f"step {at + 1}, t = {float(t):.3g}")
        out = step(*transition.at)._asdict()
        bad = [name for name, y in out.items() if y is not None and not torch.isfinite(torch.as_tensor(y)).all()]
        if bad == ["log_prob"] and transition.quiet:
            quiet.append(where)
        elif bad:
            names = " and ".join("x_next" if name == "x" else name for name in bad)
            noise = f" (the noise drawn has std {std:.3g})" if math.isfinite(std) else ""
            yield Finding("ends", f"not finite at {where}", f"{names} not finite{noise}.")
            return
    if quiet:
        more = f" and {len(quiet) - 1} more" if len(quiet) > 1 else ""
        text = f"log_prob is not finite at {quiet[0]}{more}, where no noise is drawn: leave it out of the loss."
        yield Finding("ends", "no noise, no log_prob", text, wrong=False)


def _check_independence(step: PolicyStep, transition: Transition) -> Iterator[Finding]:
    """Yields findings if x_next or log_prob of an image depends on others, or the generator does not decide x_next."""
    x, t, after, _ = transition.at
    x = (x[:1] + torch.randn(MANY, *x.shape[1:], generator=torch.Generator().manual_seed(3))).to(x.dtype)

    def x_next(x: Tensor, **options: Any) -> Tensor:
        return step(x, t, after, GAUSSIAN.velocity(x, t), **options).x

    def log_prob(x: Tensor) -> Tensor:
        return torch.as_tensor(step(x, t, after, GAUSSIAN.velocity(x, t)).log_prob).view(len(x))

    checks = {"depends on its batch": "batch", "not reproducible": "draws"}
    for name, text in find_dependence(x_next, x, step.takes_generator, per_row=True, tolerance=SAME):
        yield Finding(checks.get(name, "generator"), name, text, wrong=name not in NOTES)
    with suppress(NotAffineError, RuntimeError):  # `check_shape` says what is wrong
        if compare_batches(log_prob, x, call_with_draws(log_prob, x, slice(None), 1), SAME):
            yield Finding("batch", "depends on its batch", "log_prob of an image differs alone and in a batch.")


def _check_ode(step: PolicyStep, transitions: Sequence[Transition], noise: str) -> Iterator[Finding]:
    """Yields a finding at the first step that is not x + (t_next - t) v where its argument `noise` is 0."""
    quiet: dict[str, Any] = {noise: 0.0}
    for at, transition in enumerate(transitions):
        x, *_, v = transition.at
        try:
            gap = float((step(*transition.at, **quiet).x - (x - transition.dt * v)).abs().max())
            bad = "" if gap <= EULER else f"step {at + 1} is {gap:.2g} away from x + (t_next - t) v"
        except (ArithmeticError, ValueError, RuntimeError) as error:
            bad = f"step {at + 1} raises {type(error).__name__}: {error}"
        if bad:
            yield Finding("ODE", "not the ODE at noise 0", f"with {noise}=0 {bad}.")
            return


def _check_convergence(
    verdict: PolicyVerdict, step: PolicyStep, levels: Levels, transitions: Sequence[Transition]
) -> PolicyVerdict:
    """The verdict with what is found of the distribution of the samples."""
    broken = dict[int, str]()  # number of steps -> the first that is not finite

    def sampler(denoiser: Oracle, n_steps: int, noise: Tensor) -> Tensor:
        x = noise
        for at, (t, after) in enumerate(pairwise(levels(n_steps))):
            x = step(x, t, after, denoiser.velocity(x, t)).x.to(x.dtype)
            if n_steps not in broken and not torch.isfinite(x).all():
                broken[n_steps] = f" The first is that of step {at + 1} of {n_steps}, t = {float(t):.3g}."
        return x

    limit = check(sampler)
    true = GAUSSIAN.true_stds.numpy()[:-1]  # the last direction shows noise that is left over
    at = {measured.n_steps: measured.std[:-1] / true for measured in limit.moments}
    ratios = {n: (float(at[n].min()), float(at[n].max())) for n in STEPS if n in at and n not in broken}
    verdict = replace(verdict.adding((), "law"), ratios=ratios, convergence=limit)
    if limit.right:
        return verdict
    name: str = limit.outcome
    text = limit.sentence.partition(": ")[2]
    if broken:
        few = min(broken)
        name = f"not finite with {few} steps"
        text += broken[few]
    else:
        worst = max((ratio for ratio in limit.ratios if ratio == ratio), key=lambda ratio: abs(ratio - 1), default=1.0)
        text += _blame_noise(step, transitions, worst) or explain_limit(step, transitions)
    return verdict.adding([Finding("law", name, text, wrong=limit.outcome != "not decided")])


def _blame_noise(step: PolicyStep, transitions: Sequence[Transition], worst: float) -> str:
    """Blames noise for samples that are too wide or narrow, if the std that the step returns says so too; else ""."""
    noisy = [transition for transition in transitions if transition.noisy]
    pairs = [(transition.std, step.call_with(None, *transition.at).std) for transition in noisy]
    drawn = [float((std / returned).mean()) for std, returned in pairs if returned is not None]
    if drawn and min(worst, *drawn) > 1.01:
        return " Too much noise."
    return " Too little noise." if drawn and max(worst, *drawn) < 0.99 else ""
