"""Is a sampler right? Exact predictions, exact moments at many numbers of steps, a verdict."""

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from experiments.conformance import convergence, impulses, independence
from experiments.conformance.convergence import BUDGETS, LEVEL_STEPS, Verdict, find_verdict
from experiments.conformance.impulses import NotAffineError, SampleMoments, SamplerFunction, by_impulses
from experiments.conformance.independence import FEW, allclose, call_seeded
from experiments.conformance.levels import Levels, RecordingOracle, name_levels, record_levels
from experiments.conformance.oracle import GAUSSIAN, Oracle

ALIKE = 1e-3  # of a standard deviation, between a sampler and its reference


def check(
    sampler: SamplerFunction,
    order: int | None = None,
    reference: SamplerFunction | None = None,
    *,
    data: Oracle = GAUSSIAN,
    budgets: Sequence[int] | None = None,
    seed: int = 0,
) -> Verdict:
    """Checks whether a sampler is a function of its noise, and converges to the data when its network is exact.

    Args:
        sampler: samples = sampler(denoiser, n_steps, noise). The denoiser is an `Oracle`, noise is unit noise
            (B, 1, 1, D), and the samples have its shape. Its own noise must come from torch's normal draws. If it has
            an argument `generator`, it is also called with one, and with a list of one per sample if it takes that.
        order: the order of convergence that the sampler should have, in mean and standard deviation.
        reference: a sampler whose samples should have the same distribution at each number of steps.
        data: its directions are independent.
        budgets: numbers of steps, with N, 2N and 4N among them, such as 50, 100 and 200; by default `BUDGETS`.
        seed: of Monte Carlo.

    Raises:
        ValueError: the sampler or the reference returns something other than samples; impulses cannot measure both of
            them; the budgets do not suffice; the order or a budget is below 1.
    """
    for name, values in {"order": [1 if order is None else order], "budgets": budgets or BUDGETS}.items():
        if min(values) < 1:
            raise ValueError(f"{name}={min(values)}: it must be at least 1")
    fewest = min(budgets or BUDGETS)
    with_generator = independence.takes_generator(sampler)
    sampler = _validate(sampler, "sampler")
    few = partial(sampler, data, fewest)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(independence.MANY, 1, 1, len(data.stds), dtype=torch.float64, generator=generator)
        dependence = independence.find_dependence(few, noise, with_generator)
        faults = (fault for fault in dependence if fault[0] not in independence.NOTES)
        if fault := next(faults, None) or _ignored_noise(sampler, data, fewest, noise):
            outcome, text = fault  # its distribution is not measured: it is no function of its noise
            unknown = (math.nan,) * len(data.stds)
            return Verdict(outcome, f"{outcome}: {text}", None, unknown, unknown, None, (), data, "repeated calls")
        first = call_seeded(few, noise[:FEW], 1)
        verdict = _converge(sampler, order, reference, data, budgets, seed)
        verdict = replace(verdict, levels=_find_levels(sampler))
        if not allclose(call_seeded(few, noise[:FEW], 1), first):
            text = "after all other calls the same noise and seed give other samples than before."
            return verdict.becomes("not reproducible", text)
        return verdict


def _find_levels(sampler: SamplerFunction) -> Levels | None:
    """The levels with LEVEL_STEPS steps; None if it does not take that many, or asks the network for nothing."""
    try:
        log_sigmas, facts = record_levels(sampler, LEVEL_STEPS)
    except Exception:
        return None
    return name_levels(log_sigmas, LEVEL_STEPS, facts) if log_sigmas else None


def _validate(sampler: SamplerFunction, name: str) -> SamplerFunction:
    """Wraps a sampler so that it raises ValueError with its name if it returns something other than samples."""

    def validated(denoiser: Oracle, n_steps: int, noise: Tensor, **options: object) -> Tensor:
        out = sampler(denoiser, n_steps, noise, **options)
        if not isinstance(out, Tensor) or out.shape != noise.shape:
            returned = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            must = f"it must return {tuple(noise.shape)}"
            raise ValueError(f"{name}: it returned {returned} with n_steps={n_steps}; {must}")
        return out

    return validated


def assert_converges(sampler: SamplerFunction, order: int | None = None, **options: object) -> None:
    """Raises AssertionError with the verdict unless the sampler is right. For test suites; arguments as `check`."""
    verdict = check(sampler, order, **options)  # type: ignore[arg-type]  # they are those of `check`
    assert verdict.right, verdict.sentence


def _ignored_noise(sampler: SamplerFunction, data: Oracle, n_steps: int, noise: Tensor) -> independence.Fault | None:
    """The fault if neither the inputs of the network nor the samples depend on the noise."""

    def inputs_and_samples(noise: Tensor) -> Tensor:
        oracle = RecordingOracle(data.stds, data.mean)
        samples = sampler(oracle, n_steps, noise)
        return torch.cat([x.double().flatten() for x in (*oracle.inputs, samples)])

    results = [call_seeded(inputs_and_samples, rows, 1) for rows in noise[: 2 * FEW].split(FEW)]
    return ("ignores its noise", "the noise that it is given changes nothing.") if torch.equal(*results) else None


def _converge(
    sampler: SamplerFunction, order: int | None, reference: SamplerFunction | None, data: Oracle,
    budgets: Sequence[int] | None, seed: int,
) -> Verdict:  # fmt: skip
    """The verdict on the distribution of the samples."""
    try:
        moments = _measure(sampler, data, sorted({*(budgets or BUDGETS)}))
    except NotAffineError as error:
        if reference:
            raise ValueError(
                f"reference: impulses compare exact distributions, but not the sampler's: {error}"
            ) from error
        drawn = sorted({*(budgets or convergence.DRAWN_BUDGETS)})
        moments = [impulses.by_monte_carlo(sampler, data, n_steps, seed) for n_steps in drawn]
        verdict = find_verdict(moments, data, order, f"Monte Carlo, because {error}", exact=False)
        if isinstance(error, impulses.SuspectError) and verdict.right:
            text = f"Monte Carlo finds it right, but {error}, so its samples may depend on each other."
            return verdict.becomes("not decided", text)
        return verdict
    verdict = find_verdict(moments, data, order, "impulses", exact=True)
    if budgets is None and (verdict.outcome == "not decided" or convergence.is_falling(verdict)):
        more = _measure(sampler, data, [convergence.MORE], skip_errors=True)  # it may not support that many
        if more and np.isfinite(more[0].std).all():
            verdict = find_verdict([*moments, *more], data, order, "impulses", exact=True)
    if budgets is None and verdict.outcome in ("right", "order lost", "not decided"):
        others = _measure(sampler, data, (*convergence.EVERY, *convergence.RANDOM), skip_errors=True)
        verdict = convergence.find_irregular(verdict, others)
    return _find_unlike(verdict, reference) if reference and verdict.outcome in ("right", "not decided") else verdict


def _measure(
    sampler: SamplerFunction, data: Oracle, budgets: Iterable[int], skip_errors: bool = False
) -> list[SampleMoments]:
    """The exact moments. NotAffineError if impulses cannot measure them, unless those numbers of steps are skipped."""
    moments = list[SampleMoments]()
    per_step = 2.0
    for n_steps in budgets:
        with suppress(Exception) if skip_errors else nullcontext():
            measured, n_draws = by_impulses(sampler, data, n_steps, int(per_step * n_steps) + 2)
            moments.append(measured)
            per_step = n_draws / n_steps
    return moments


def _find_unlike(verdict: Verdict, reference: SamplerFunction) -> Verdict:
    """The verdict, or "unlike its reference" if some number of steps shows it. ValueError as in `check`."""
    budgets = [measured.n_steps for measured in verdict.moments]
    try:
        others = _measure(_validate(reference, "reference"), verdict.oracle, budgets)
    except NotAffineError as error:
        raise ValueError(
            f"reference: impulses compare exact distributions, but not the reference's: {error}"
        ) from error
    units = np.tile(verdict.oracle.true_stds.numpy(), 2)
    for measured, other in zip(verdict.moments, others, strict=True):
        gaps = np.concatenate([measured.std - other.std, measured.mean - other.mean])
        gap = (np.abs(gaps) / units).max()
        if np.isfinite(measured.std).all() != np.isfinite(other.std).all():
            difference = "only one of them gives finite samples"
        elif gap > ALIKE:
            difference = (
                f"their distributions differ by {100 * gap:.1f} % of a standard deviation; its limit is not wrong"
            )
        else:
            continue
        return verdict.becomes("unlike its reference", f"with {measured.n_steps} steps {difference}.")
    return verdict
