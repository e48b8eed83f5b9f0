"""Is a sampler right? Exact predictions, exact laws at many numbers of steps, a verdict."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from diffusion_core.conformance.behaviour import FEW, MANY, fault, ignored_noise, same, seeded, takes_generator
from diffusion_core.conformance.impulses import (
    Law,
    NotAffineError,
    SamplerFunction,
    SuspectError,
    by_impulses,
    by_monte_carlo,
    checked,
)
from diffusion_core.conformance.oracle import GAUSSIAN, Level, Oracle
from diffusion_core.conformance.verdict import (
    BUDGETS,
    DRAWN_BUDGETS,
    EVERY,
    MORE,
    RANDOM,
    Verdict,
    falling,
    irregular,
    judge,
)

N_DRAWN = 100_000  # samples of Monte Carlo
ALIKE = 1e-3  # of a standard deviation, between a sampler and its reference


def check(
    sampler: SamplerFunction,
    order: int | None = None,
    reference: SamplerFunction | None = None,
    *,
    data: Oracle = GAUSSIAN,
    budgets: Sequence[int] | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Verdict:
    """Whether a sampler is a function of its noise, and converges to the data's law when its network is exact.

    Args:
        sampler: samples = sampler(denoiser, n_steps, noise). The denoiser is an `Oracle`, noise is unit noise
            (B, 1, 1, D), and the samples have its shape. Its own noise must come from torch's normal draws. If it has
            an argument `generator`, it is also called with one, and with a list of one per sample if it takes that.
        order: the order of convergence that the sampler should have, in mean and standard deviation.
        reference: a sampler that should have the same law at each number of steps.
        data: its directions are independent.
        budgets: numbers of steps; they must hold a chain of verdict.py, such as 50, 100 and 200. By default those of
            verdict.py, and then each from 4 to 40, and some that are drawn at random, always the same.
        seed: of Monte Carlo.
        progress: called with the share of the work that is done.

    Raises:
        ValueError: the sampler or the reference returns something other than samples; impulses cannot measure both of
            them; the budgets do not suffice.
    """
    fewest = min(budgets or BUDGETS)

    def few(noise: Tensor, **given: object) -> Tensor:
        return checked(sampler(data, fewest, noise, **given), noise.shape, fewest)

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(MANY, 1, 1, len(data.stds), dtype=torch.float64, generator=generator)
        found = fault(few, noise, takes_generator(sampler)) or ignored_noise(_all_inputs(sampler, data, fewest), noise)
        if found:  # its law is not measured: it is no function of its noise
            kind, text = found
            unknown = (math.nan,) * len(data.stds)
            return Verdict(kind, f"{kind}: {text}", None, unknown, unknown, None, (), data, "repeated calls")
        first = seeded(few, noise[:FEW], 1)
        verdict = _converging(sampler, order, reference, data, budgets, seed, progress)
        if not same(seeded(few, noise[:FEW], 1), first):
            text = "not reproducible: after all other calls the same noise and seed give other samples than before."
            return replace(verdict, kind="not reproducible", sentence=text)
        return verdict


def assert_converges(sampler: SamplerFunction, order: int | None = None, **options: object) -> None:
    """Raises AssertionError with the verdict unless the sampler is right. For test suites; arguments as `check`."""
    verdict = check(sampler, order, **options)  # type: ignore[arg-type]  # they are those of `check`
    assert verdict.right, verdict.sentence


@dataclass(frozen=True)
class _Recorded(Oracle):
    """An oracle that notes what it is asked."""

    inputs: list[Tensor] = field(default_factory=list)

    def _estimates(self, x: Tensor, *levels: Level) -> tuple[Tensor, Tensor]:
        self.inputs.append(x.clone())
        return super()._estimates(x, *levels)


def _all_inputs(sampler: SamplerFunction, data: Oracle, n_steps: int) -> Callable[[Tensor], Tensor]:
    """From noise to all inputs of the network, and the samples."""

    def inputs(noise: Tensor) -> Tensor:
        oracle = _Recorded(data.stds, data.mean)
        samples = sampler(oracle, n_steps, noise)
        return torch.cat([x.double().flatten() for x in (*oracle.inputs, samples)])

    return inputs


def _converging(
    sampler: SamplerFunction, order: int | None, reference: SamplerFunction | None, data: Oracle,
    budgets: Sequence[int] | None, seed: int, progress: Callable[[float], None],
) -> Verdict:  # fmt: skip
    """The verdict on the sampler's law. Arguments as in `check`."""
    try:
        laws = _exact(sampler, data, sorted(set(budgets or BUDGETS)), progress)
    except NotAffineError as why:
        if reference:
            raise ValueError(f"reference: impulses compare exact laws, but not the sampler's: {why}") from why
        return _drawn(sampler, order, data, sorted(set(budgets or DRAWN_BUDGETS)), seed, progress, why)
    verdict = judge(laws, data, order, "impulses", exact=True)
    if (verdict.kind == "undecided" or falling(verdict)) and budgets is None:
        with suppress(Exception):  # it cannot do so many: the verdict is about the fewer ones
            more, _ = by_impulses(sampler, data, MORE, 2 * MORE)
            again = judge([*laws, more], data, order, "impulses", exact=True)
            verdict = again if np.isfinite(more.std).all() else verdict
    if budgets is None and verdict.kind in ("right", "order lost", "undecided"):
        verdict = irregular(verdict, _more_steps(sampler, data))
    return _compared(verdict, reference) if reference and verdict.kind in ("right", "undecided") else verdict


def _more_steps(sampler: SamplerFunction, data: Oracle) -> list[Law]:
    """The laws at each of the usual numbers of steps and at some others, if it can do so few."""
    laws, n_draws = list[Law](), 2.0
    for n_steps in (*EVERY, *RANDOM):
        with suppress(Exception):
            law, taken = by_impulses(sampler, data, n_steps, int(n_draws * n_steps) + 2)
            laws.append(law)
            n_draws = taken / n_steps
    return laws


def _exact(
    sampler: SamplerFunction, data: Oracle, budgets: Sequence[int], progress: Callable[[float], None]
) -> list[Law]:
    """The exact laws. NotAffineError if impulses cannot measure them."""
    laws, n_draws = list[Law](), 2.0 * budgets[0]
    for n_steps in budgets:
        law, taken = by_impulses(sampler, data, n_steps, int(n_draws) + 2)
        laws.append(law)
        n_draws = taken / n_steps * budgets[min(len(laws), len(budgets) - 1)]
        progress(sum(budgets[: len(laws)]) / sum(budgets))
    return laws


def _drawn(
    sampler: SamplerFunction, order: int | None, data: Oracle, budgets: Sequence[int], seed: int,
    progress: Callable[[float], None], why: NotAffineError,
) -> Verdict:  # fmt: skip
    """The verdict by Monte Carlo, where impulses cannot measure the sampler, and `why`."""
    laws = list[Law]()
    for n_steps in budgets:
        laws.append(by_monte_carlo(sampler, data, n_steps, N_DRAWN, seed))
        progress(sum(budgets[: len(laws)]) / sum(budgets))
    verdict = judge(laws, data, order, f"Monte Carlo, because {why}", exact=False)
    if verdict.right and isinstance(why, SuspectError):
        text = f"undecided: Monte Carlo finds it right, but {why}, so its samples may depend on each other."
        return replace(verdict, kind="undecided", sentence=text)
    return verdict


def _compared(verdict: Verdict, reference: SamplerFunction) -> Verdict:
    """The verdict, or "unlike its reference" if the laws at some number of steps differ. ValueError as in `check`."""

    def named(denoiser: Oracle, n_steps: int, noise: Tensor) -> Tensor:
        return checked(reference(denoiser, n_steps, noise), noise.shape, n_steps, "reference")

    try:
        laws = _exact(named, verdict.oracle, [law.n_steps for law in verdict.laws], lambda share: None)
    except NotAffineError as why:
        raise ValueError(f"reference: impulses compare exact laws, but not the reference's: {why}") from why
    units = np.tile(verdict.oracle.true_stds.numpy(), 2)
    for law, other in zip(verdict.laws, laws, strict=True):
        gaps = np.abs(np.concatenate([law.std - other.std, law.mean - other.mean])) / units
        share = 100 * gaps.max()
        if np.isfinite(law.std).all() != np.isfinite(other.std).all():
            how = "only one of them gives finite samples"
        elif gaps.max() > ALIKE:
            how = f"their laws differ by {share:.1f} % of a standard deviation, though its limit is not wrong"
        else:
            continue
        sentence = f"unlike its reference: with {law.n_steps} steps {how}."
        return replace(verdict, kind="unlike its reference", sentence=sentence)
    return verdict
