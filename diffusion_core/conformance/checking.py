"""Is a sampler right? Exact predictions, exact laws at many numbers of steps, a verdict."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from diffusion_core.conformance.impulses import (
    Law,
    NotAffineError,
    SamplerFunction,
    by_impulses,
    by_monte_carlo,
    checked,
    z_scores,
)
from diffusion_core.conformance.oracle import GAUSSIAN, Oracle
from diffusion_core.conformance.verdict import BUDGETS, DRAWN_BUDGETS, MORE, Verdict, judge

CROSS_CHECK, N_CROSS, N_DRAWN = 50, 10_000, 100_000  # steps and samples of the cross-check; samples of Monte Carlo
SUSPECT = 5.0  # standard errors, between impulses and Monte Carlo or between a sampler and its reference
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
    """Whether a sampler converges to the data's law when its network is exact.

    Args:
        sampler: samples = sampler(denoiser, n_steps, noise). The denoiser is an `Oracle`, noise is unit noise
            (B, 1, 1, D), and the samples have its shape. Its own noise must come from torch's normal draws.
        order: the order of convergence that the sampler should have, in mean and standard deviation.
        reference: a sampler that should have the same law at each number of steps. Impulses measure it if they measured
            the sampler and suit both; otherwise Monte Carlo does, with the same seed.
        data: `GAUSSIAN`, which is exact, or `MIXTURE`, which takes Monte Carlo.
        budgets: numbers of steps; they must hold a chain of verdict.py, such as 50, 100 and 200.
        seed: of Monte Carlo.
        progress: called with the share of the work that is done.

    Raises:
        ValueError: the sampler or the reference returns something other than samples; the budgets do not suffice.
    """
    with torch.random.fork_rng(devices=[]):
        laws, why = _exact(sampler, data, sorted(set(budgets or BUDGETS)), seed, progress)
        if why is None:
            verdict = judge(laws, data, order, "impulses", exact=True)
            if verdict.kind == "undecided" and budgets is None:
                with suppress(NotAffineError):  # the fewer steps were measured: the verdict is about these
                    more, _ = by_impulses(sampler, data, MORE, 2 * MORE)
                    again = judge([*laws, more], data, order, "impulses", exact=True)
                    verdict = again if np.isfinite(more.std).all() else verdict
        else:
            laws = _drawn(sampler, data, sorted(set(budgets or DRAWN_BUDGETS)), seed, progress)
            verdict = judge(laws, data, order, f"Monte Carlo, because {why}", exact=False)
        if reference and verdict.kind in ("right", "undecided"):
            return _compared(verdict, reference, seed, drawn=why is not None)
        return verdict


def assert_converges(sampler: SamplerFunction, order: int | None = None, **options: object) -> None:
    """Raises AssertionError with the verdict unless the sampler is right. For test suites; arguments as `check`."""
    verdict = check(sampler, order, **options)  # type: ignore[arg-type]  # they are those of `check`
    assert verdict.right, verdict.sentence


def _exact(
    sampler: SamplerFunction, data: Oracle, budgets: Sequence[int], seed: int, progress: Callable[[float], None]
) -> tuple[list[Law], str | None]:
    """The exact laws; else why impulses cannot measure them."""
    if len(data.means) > 1:
        return [], "the data is a mixture"
    laws, n_draws = list[Law](), 2.0 * budgets[0]
    try:
        for n_steps in budgets:
            law, taken = by_impulses(sampler, data, n_steps, int(n_draws) + 2)
            laws.append(law)
            n_draws = taken / n_steps * budgets[min(len(laws), len(budgets) - 1)]
            progress(sum(budgets[: len(laws)]) / sum(budgets))
    except NotAffineError as error:
        return [], str(error)
    return laws, _hidden_noise(sampler, data, laws, seed)


def _drawn(
    sampler: SamplerFunction, data: Oracle, budgets: Sequence[int], seed: int, progress: Callable[[float], None]
) -> list[Law]:
    """The laws by Monte Carlo."""
    laws = list[Law]()
    for n_steps in budgets:
        laws.append(by_monte_carlo(sampler, data, n_steps, N_DRAWN, seed))
        progress(sum(budgets[: len(laws)]) / sum(budgets))
    return laws


def _hidden_noise(sampler: SamplerFunction, data: Oracle, laws: Sequence[Law], seed: int) -> str | None:
    """Why impulses cannot be believed: a Monte Carlo run disagrees, as where noise is drawn again from a seed."""
    exact = min(laws, key=lambda law: abs(law.n_steps - CROSS_CHECK))
    if not np.isfinite(exact.std).all():
        return None
    drawn = by_monte_carlo(sampler, data, exact.n_steps, N_CROSS, seed)
    z = np.abs(z_scores(exact, drawn)).max()
    return None if z < SUSPECT else f"impulses and Monte Carlo differ by {z:.0f} standard errors"


def _compared(verdict: Verdict, reference: SamplerFunction, seed: int, drawn: bool) -> Verdict:
    """The verdict, or "unlike its reference" if the laws at some number of steps differ.

    `drawn`: the verdict's laws are from Monte Carlo. Then those of the reference are too, with the same seed.
    """

    def named(denoiser: Oracle, n_steps: int, noise: Tensor) -> Tensor:
        return checked(reference(denoiser, n_steps, noise), noise.shape, n_steps, "reference")

    data, budgets = verdict.oracle, [law.n_steps for law in verdict.laws]
    laws, why = ([], "") if drawn else _exact(named, data, budgets, seed, lambda share: None)
    if why is not None:
        laws = _drawn(named, data, budgets, seed, lambda share: None)
    units = np.tile(data.true_stds.numpy(), 2)
    for law, other in zip(verdict.laws, laws, strict=True):
        gaps = np.abs(np.concatenate([law.std - other.std, law.mean - other.mean])) / units
        errors = np.hypot(*(np.concatenate([one.std_error, one.mean_error]) / units for one in (law, other)))
        beyond = gaps - ALIKE - SUSPECT * errors
        if np.isfinite(law.std).all() != np.isfinite(other.std).all():
            how = "only one of them gives finite samples"
        elif beyond.max() > 0:
            share = 100 * gaps[beyond.argmax()]
            how = f"their laws differ by {share:.1f} % of a standard deviation, though its limit is not wrong"
        else:
            continue
        sentence = f"unlike its reference: with {law.n_steps} steps {how}."
        return replace(verdict, kind="unlike its reference", sentence=sentence)
    return verdict
