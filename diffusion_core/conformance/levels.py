"""Which noise levels does a sampler visit? Its ladder in closed form, its evaluations, and what is wrong with them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion_core.conformance import known_ladders as known
from diffusion_core.conformance.impulses import SamplerFunction
from diffusion_core.conformance.known_ladders import FAR, LARGE, Array, Facts, Hypothesis
from diffusion_core.conformance.oracle import GAUSSIAN, Level, Oracle

TOLERANCE = 1e-3  # in log_sigma: tables in float32 are within it
ALIKE = TOLERANCE / 10  # two evaluations at one level
ALMOST_PURE = 6.5  # log_sigma from which no signal is left to speak of: t = 1 and t = 0.999 are alike
UNLIKE = 9.0  # difference from a ladder of another length
NOTHING = Facts()
Fit = tuple[float, int, Hypothesis]  # largest difference in log_sigma, its step from 0, the ladder


@dataclass(frozen=True)
class Levels:
    """The levels that a sampler visits with n_steps steps."""

    n_steps: int
    log_sigmas: Array  # (E,) ln(s / a) of each evaluation, in its order
    names: tuple[str, ...]  # every closed form that fits to TOLERANCE at all levels
    nearest: str = ""  # if none does, the nearest one, in words
    faults: tuple[str, ...] = ()  # what is wrong, in words
    notes: tuple[str, ...] = ()  # what is worth knowing
    more: int = 0  # evaluations beside those of the ladder

    @property
    def sigmas(self) -> list[float]:
        """Of each evaluation; pure noise has a large one."""
        return np.exp(np.minimum(self.log_sigmas, 27)).tolist()

    @property
    def right(self) -> bool:
        return not self.nearest and not self.faults

    @property
    def form(self) -> str:
        """The ladder in closed form; "" if none fits."""
        more = f"; {self.more} more evaluations, between or again" if self.more and self.names else ""
        return " = ".join(self.names) + more

    @property
    def sentence(self) -> str:
        """The ladder and what is wrong with it."""
        return "; ".join([self.form or self.nearest, *self.faults])


@dataclass(frozen=True)
class _Recorder(Oracle):
    """An oracle that keeps the levels that it is asked about, and the scheduler that asks."""

    levels: list[float] = field(default_factory=list)
    schedulers: list[tuple[Any, float | None]] = field(default_factory=list)

    def follow(self, scheduler: object, mu: float | None = None) -> None:
        self.schedulers.append((scheduler, mu))

    def _estimates(self, x: Tensor, s: Level, a: Level) -> tuple[Tensor, Tensor]:
        signal, noise = (max(float(torch.as_tensor(level).flatten()[0]), 1e-12) for level in (a, s))
        self.levels.append(math.log(noise / signal))
        return super()._estimates(x, s, a)


def find_levels(sampler: SamplerFunction, n_steps: int, expect: str = "") -> Levels:
    """The levels that a sampler visits, from one run with an exact denoiser.

    Args:
        sampler: as of `check`. If it calls denoiser.follow(scheduler) with a scheduler of diffusers after
            set_timesteps, as `wrappers.diffusers` does, the config of that scheduler counts too.
        expect: the ladder that is meant, such as "flow(shift=3, end=1/n)"; another one is a fault.

    Raises:
        ValueError: the network is asked at no level above 0.
    """
    log_sigmas, facts = record_levels(sampler, n_steps)
    return name_levels(log_sigmas, n_steps, facts, expect)


def record_levels(sampler: SamplerFunction, n_steps: int) -> tuple[list[float], Facts]:
    """log_sigma of each evaluation in a run with an exact denoiser, and what the config of its scheduler says."""
    recorder = _Recorder(GAUSSIAN.stds, GAUSSIAN.mean)
    noise = torch.randn(2, 1, 1, len(GAUSSIAN.stds), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        sampler(recorder, n_steps, noise)
    return recorder.levels, read_config(*recorder.schedulers[-1]) if recorder.schedulers else NOTHING


def assert_levels(sampler: SamplerFunction, expect: str, n_steps: int) -> None:
    """Raises AssertionError with what is wrong unless the sampler visits the levels of `expect`. For test suites."""
    levels = find_levels(sampler, n_steps, expect)
    assert levels.right, levels.sentence


def read_config(scheduler: Any, mu: float | None = None) -> Facts:
    """What the config of a scheduler of diffusers says of its levels. `mu`: as of its set_timesteps."""
    config, tables, sigmas = scheduler.config, {}, None
    flow, dynamic = config.get("use_flow_sigmas"), bool(config.get("use_dynamic_shifting"))
    shift = config.get("flow_shift") if flow else config.get("shift")
    if dynamic:
        shift = None if mu is None else math.exp(mu)
    if config.get("beta_schedule") in known.BETAS and not flow:
        kind, start, end = (config[name] for name in ("beta_schedule", "beta_start", "beta_end"))
        betas = known.BETAS[kind](start, end, config["num_train_timesteps"])
        table = known.make_table(betas, bool(config.get("rescale_betas_zero_snr")))
        usual = ((name, usual) for name, usual in known.usual_tables().items() if len(usual) == len(table))
        same = (name for name, usual in usual if np.allclose(usual, table))
        tables[next(same, f"{kind} {start:g} to {end:g}")] = table
        sigmas = np.asarray(getattr(scheduler, "sigmas", ()), np.float64)
        sigmas = np.log(np.unique(sigmas[sigmas > 0]))[::-1]
    ends = [config.get(name) for name in ("sigma_max", "sigma_min")]
    given = (*ends, config.get("rho", 7.0)) if None not in ends else None
    return Facts(tables, shift, dynamic, given, config.get("shift_terminal"), sigmas)


def name_levels(
    log_sigmas: Sequence[float], n_steps: int, facts: Facts = NOTHING, expect: str = "", rounding: Sequence[float] = ()
) -> Levels:
    """The ladder of levels in the order in which they are visited.

    Args:
        log_sigmas: (E,) ln(s / a) of each evaluation; one below -FAR is at 0, and not a level of a ladder.
        n_steps: number of steps that were asked for.
        expect: as of `find_levels`.
        rounding: (E,) half a unit of the last printed digit, in log_sigma.

    Raises:
        ValueError: none is above 0.
    """
    meant, options = known.parse(expect)
    if meant == "flow":
        facts = replace(facts, shift=float(options.get("shift", 1)), dynamic=False)
    visited, faults = np.clip(np.asarray(log_sigmas, np.float64), -30, 30), list[str]()
    if not len(single := visited[visited > -FAR]):
        raise ValueError("the network is asked at no noise level above 0")
    single = single[np.abs(np.diff(single, prepend=np.inf)) > ALIKE]
    if len(single) > 1 and (np.diff(single) > 0).all():
        faults, single = ["the levels rise: it runs backwards"], single[::-1]
    fits, n_levels = _fit(single, n_steps, facts, len(visited), rounding)
    error, step, best = fits[0]
    names, nearest = [one.spelling for gap, _, one in fits if gap < TOLERANCE], ""
    names = [name for name in dict.fromkeys(names) if "whole" not in name] or names[:1]
    if names:
        faults += [best.fault] if best.fault else []
        if n_levels == len(single) == len(visited) and abs(n_levels - n_steps) == 1:  # one evaluation per level
            faults.append(f"one step too {'few' if n_levels < n_steps else 'many'}")
    else:
        nearest = f"no known ladder; nearest: {best.spelling}, {100 * math.expm1(error):.3g} % off at step {step + 1}"
        if n_levels < 5 and not facts.tables and facts.shift is None:
            faults.append(f"{n_levels} levels fit too many forms; ask for more steps")
    if expect and names and not faults and not any(known.fits_spelling(name, expect) for name in names):
        faults.append(f"it is {names[0]}, not {expect}")
    if not any("rounded" in fault for fault in faults):
        faults += _received_otherwise(facts, single)
    top, note = single.max(), "the first level has signal left: sigma {:.3g}, the network was trained to {:.3g}"
    ends = (min(table[-1], FAR) for table in facts.tables.values())
    notes = tuple(note.format(math.exp(top), math.exp(end)) for end in ends if top < end - math.log(1.5))
    return Levels(
        n_steps, visited, tuple(names), nearest, tuple(dict.fromkeys(faults)), notes, max(len(visited) - n_levels, 0)
    )  # fmt: skip


def _fit(
    single: Array, n_steps: int, facts: Facts, n_evaluations: int, rounding: Sequence[float]
) -> tuple[list[Fit], int]:
    """The ladders that fit as well as the best one, and the number of their levels.

    Methods of several evaluations per step visit other levels between those of the ladder. So the ladder is all levels,
    every second or fourth one, each once, or, without a fault, some n_steps of them. Numbers near n_steps come first.
    """
    falling = -np.sort(-single)
    distinct = falling[np.abs(np.diff(falling, prepend=np.inf)) > ALIKE]
    parts = [single, *([single[::2], single[1::2], single[::4], distinct] if n_evaluations > n_steps else [])]
    parts = [part for part in parts if (np.diff(part) < 0).all()]
    best: tuple[list[Fit], int] = ([(UNLIKE, 0, Hypothesis("none", distinct))], len(distinct))
    for part in sorted(parts, key=lambda part: (abs(len(part) - n_steps), len(part) < n_steps)):
        fits = [
            (*_difference(one.log_sigmas, part, rounding), one) for one in known.list_hypotheses(part, n_steps, facts)
        ]
        best = min(best, (sorted(fits, key=_rank), len(part)), key=lambda found: _rank(found[0][0]))
        if best[0][0][0] < TOLERANCE:
            return [fit for fit in best[0] if _rank(fit)[:2] == _rank(best[0][0])[:2]], best[1]
    if n_evaluations > n_steps:
        listed = known.list_hypotheses(np.resize(distinct, n_steps), n_steps, facts)
        right = (one for one in listed if not (one.fault or one.own_ends or one.free))
        fits = [(*_difference(one.log_sigmas, distinct, among=True), one) for one in right]
        best = min(best, (sorted(fits, key=_rank)[:1], n_steps), key=lambda found: _rank(found[0][0]))
    return best


def _rank(fit: Fit) -> tuple[int, int, float]:
    """Right ones before wrong ones, those with ends of their own last; beyond the tolerance the nearest."""
    error, _, one = fit
    fits = error < TOLERANCE
    return (not fits, (2 * one.own_ends + bool(one.fault)) * fits, (error > TOLERANCE / 5) if fits else error)


def _difference(ladder: Array, levels: Array, rounding: Sequence[float] = (), among: bool = False) -> tuple[float, int]:
    """The largest difference of a ladder from levels, and its step from 0; with `among`, from the nearest of them."""
    ladder, levels = np.minimum(ladder, FAR), np.minimum(levels, FAR)
    if among:
        levels = levels[np.abs(ladder[:, None] - levels).argmin(axis=1)]
    if len(ladder) != len(levels):
        return UNLIKE, 0
    gaps = np.maximum(np.abs(ladder - levels) - (rounding if len(rounding) == len(levels) else 0), 0)
    if min(ladder[0], levels[0]) > ALMOST_PURE:
        gaps[0] = min(gaps[0], ALIKE)
    return min(float(gaps.max()), UNLIKE), int(gaps.argmax())


def _received_otherwise(facts: Facts, single: Array) -> list[str]:
    """The fault if the network receives the time of another level than the one that the scheduler works with."""
    own, first = facts.sigmas, int(single[0] > FAR)
    if own is None or len(own) not in (len(single), len(single) + 1) or own[0] > FAR:
        return []
    gaps = np.abs(own[: len(single)] - single)[first:]
    if gaps.max(initial=0) <= LARGE:
        return []
    step = int(gaps.argmax()) + first
    received, works = math.exp(single[step]), math.exp(own[step])
    return [
        f"the network receives the time of sigma {received:.4g} at step {step + 1}, the scheduler is at {works:.4g}"
    ]
