"""All checks of a policy's step, and what they find."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffusion_core.conformance.oracle import GAUSSIAN
from diffusion_core.conformance.policy import density, sampling
from diffusion_core.conformance.policy.replay import gradient, replay
from diffusion_core.conformance.policy.steps import CLOSE, Levels, Step, measure, state, transitions, uniform
from diffusion_core.conformance.policy.verdict import ACCEPTABLE, FIRST, PolicyVerdict, Remark
from diffusion_core.conformance.verdict import Verdict

STEPS = (10, 28, 50)  # at which the law is reported
SHAPE = (4, 3, 5)  # of an image; the last dimension runs over the directions of the data
UNKNOWN_MEAN = {"log_prob: wrong mean", "log_prob: not Gaussian", "replay"}  # after these a gradient says nothing more


def check_policy(  # noqa: PLR0913  # the options of the check, by keyword
    step: Callable[..., Any], *, noise: str | None = None, levels: Levels = uniform,
    replayed_by: Callable[..., Any] | None = None, replay_levels: Levels | None = None, accept: Sequence[str] = (),
    n_steps: int = 10, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float32, law: bool = True,
    seed: int = 0,
) -> PolicyVerdict:  # fmt: skip
    """Whether a stochastic step of a flow model samples the data, and whether its log_prob belongs to its noise.

    Args:
        step: x_next, log_prob[, mean, std] = step(x, t, t_next, velocity, ...), where x = (1 - t) x0 + t z, t falls,
            t and t_next are tensors (), and velocity is z - x0. Optional arguments, used if it has them: generator,
            and x_next or prev_sample, a stored sample whose log_prob is asked for.
        noise: the name of its argument that sets the noise, 0 being the ODE; None does not check that.
        levels: levels(n_steps) gives its n_steps + 1 times.
        replayed_by, replay_levels: the step and the levels of the trainer, if they are not those of the sampler.
        accept: what is meant so, of `ACCEPTABLE`.
        n_steps: number of steps of the schedule at which the step is checked.
        shape, dtype: of an image; the last dimension must be 5.
        law: whether to measure the law of the samples, which takes about a second more.
        seed: of the images that the step is checked at.

    Raises:
        ValueError: the step does not return what it should, or an argument is none of those above.
    """
    accept = [accept] if isinstance(accept, str) else accept
    for word in accept:
        if word not in ACCEPTABLE:
            raise ValueError(f"accept={word!r}: there are {', '.join(ACCEPTABLE)}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype={dtype}: it must be float32 or float64; bfloat16 is always tried too")
    if shape[-1:] != SHAPE[-1:]:
        raise ValueError(f"shape={shape}: its last dimension must be {SHAPE[-1]}")
    own, trainer = Step(step), Step(replayed_by or step)
    if replayed_by and trainer.stored is None:
        raise ValueError("replayed_by: its signature names no x_next or prev_sample, the stored sample")
    theirs = checked(replay_levels or levels, "replay_levels", other_length=replay_levels is not None)
    levels = checked(levels, "levels")
    # a compiled step is run without its compiler, which would hide its draws
    eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad(), eager:
        verdict = _checked(own, trainer, noise, levels, theirs, n_steps, shape, dtype, seed)
        if law and not any(remark.check in FIRST for remark in verdict.errors):
            verdict = _with_law(verdict, sampling.law(own, levels))
    return verdict.accepting(tuple(accept))


def assert_policy(step: Callable[..., Any], **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the step is right. For tests; arguments as `check_policy`."""
    verdict = check_policy(step, **options)
    assert verdict.right, verdict.sentence


def checked(levels: Levels, name: str, other_length: bool = False) -> Levels:
    """The levels as float64 tensors. They raise ValueError if they are no n_steps + 1 times that fall, from 1 to 0.

    `other_length`: there may be more or fewer, as in a trainer that is wrong.
    """

    def called(n_steps: int) -> Tensor:
        times = torch.as_tensor(levels(n_steps), dtype=torch.float64)
        if not other_length and times.shape != (n_steps + 1,):
            raise ValueError(f"{name}({n_steps}): it must return {n_steps + 1} times, not shape {tuple(times.shape)}")
        if times.ndim != 1 or len(times) < 2 or not ((times[:-1] > times[1:]).all() and 0 <= times[-1] < times[0] <= 1):
            raise ValueError(f"{name}({n_steps}): they must be n_steps + 1 times that fall, between 1 and 0")
        return times

    return called


def _checked(  # noqa: PLR0913  # the options of the check, by keyword
    step: Step, trainer: Step, noise: str | None, levels: Levels, theirs: Levels, n_steps: int,
    shape: tuple[int, ...], dtype: torch.dtype, seed: int,
) -> PolicyVerdict:  # fmt: skip
    """All checks but that of the law."""
    found, tried = list[Remark](), [*FIRST]
    ones = transitions(step, levels(n_steps), shape, dtype, seed)
    noisy, middle = [one for one in ones if one.noisy], ones[len(ones) // 2]
    found += sampling.ends(step, ones)
    found += sampling.draws(ones)
    if not found:
        found += sampling.batch(step, middle)
    if any(remark.wrong for remark in found):
        return PolicyVerdict(tuple(found), tuple(tried))
    factor = None
    if noisy:
        tried += ["generator", "log_prob"]
        found += sampling.generators(step, noisy[len(noisy) // 2])
        shapes = [*density.shape_of_log_prob(step, noisy[0])]
        found += shapes
        if not shapes:
            factor, more = density.log_prob(density.measured(step, noisy))
            found += more
            tried.append("reported")
            found += density.reported(step, noisy)
            if trainer.stored is None:
                text = "its signature names no x_next or prev_sample: log_prob of a stored sample was not checked."
                found.append(Remark("replay", "no replay", text, wrong=False))
            elif factor is not None:
                tried += ["replay", "gradient"]
                found += replay(step, trainer, ones, levels, theirs, factor, not any(remark.wrong for remark in more))
                if not UNKNOWN_MEAN & {remark.name for remark in found}:
                    places = dict.fromkeys((0, len(noisy) // 2, len(noisy) - 1))
                    found += [remark for at in places for remark in gradient(trainer, noisy[at])][:1]
    else:
        text = "no step gives noise to every element: log_prob was not checked."
        found.append(Remark("log_prob", "no noise", text, wrong=False))
    if noise:
        tried.append("ODE")
        found += sampling.ode(step, ones, noise)
    last = {n: float(measure(step, *state(shape, levels(n)[-2:], dtype, seed)).std.max()) for n in STEPS}
    if max(last.values()) > CLOSE:
        text = f"it adds noise of std {', '.join(f'{std:.3f} with {n}' for n, std in last.items())} steps."
        found.append(Remark("law", "noise at the last step", text, wrong=False))
    return PolicyVerdict(tuple(found), tuple(tried), last_noise=last, factor=factor)


def _with_law(verdict: PolicyVerdict, law: Verdict) -> PolicyVerdict:
    """The verdict with that on the law of the samples."""
    true = GAUSSIAN.true_stds.numpy()[:-1]  # the last direction shows noise that is left over
    at = {one.n_steps: one.std[:-1] / true for one in law.laws}
    ratios = {n: (float(at[n].min()), float(at[n].max())) for n in STEPS if n in at}
    remarks = verdict.remarks
    if not law.right:
        worst = max((ratio for ratio in law.ratios if ratio == ratio), key=lambda ratio: abs(ratio - 1), default=1.0)
        how = " Too much noise." if worst > 1.01 else " Too little noise." if worst < 0.99 else ""
        text = law.sentence.partition(": ")[2] + how
        remarks += (Remark("law", law.kind, text, wrong=law.kind != "undecided"),)
    return replace(verdict, remarks=remarks, checked=(*verdict.checked, "law"), ratios=ratios, law=law)
