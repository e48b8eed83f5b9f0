"""Which noise levels does a sampler visit? Its schedule in closed form, its evaluations, and what is wrong."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion_core.schedules.process_time import BETAS
from experiments.conformance import known_schedules
from experiments.conformance.impulses import SamplerFunction
from experiments.conformance.known_schedules import FAR, LARGE, Array, Facts, Hypothesis
from experiments.conformance.oracle import GAUSSIAN, Level, Oracle

TOLERANCE = 1e-3  # in log_sigma: tables in float32 are within it
ALIKE = TOLERANCE / 10  # two evaluations at one level
ALMOST_PURE = 6.5  # log_sigma from which no signal is left to speak of: t = 1 and t = 0.999 are alike
UNLIKE = 9.0  # difference from a schedule of another length
NOTHING = Facts()
Places = NDArray[np.intp]
CUT = 0.1  # sigma above which a last step to 0 is worth a note, where the last level could be any
ONE_WRONG = 6  # levels more than numbers that come from them, to say that only one is wrong


class Rank(NamedTuple):
    """How well a schedule fits: the lowest is the best."""

    n_wrong: int  # levels that differ: 0, 1, or 2 for more
    free: int = 0  # numbers that come from the levels, if its ends do
    is_fault: bool = False  # whether the schedule is a fault
    error: float = 0.0  # if it fits, whether only just; otherwise the largest difference


@dataclass(frozen=True)
class Fit:
    """A schedule and the levels that may be its own."""

    places: Places  # of these levels, among those that were visited
    gaps: Array  # how far it is from each of them in log_sigma
    hypothesis: Hypothesis

    @property
    def rank(self) -> Rank:
        """Forms that fit, then those that fit except at one level, then the nearest; right ones before faulty ones."""
        n_wrong = int((self.gaps >= TOLERANCE).sum())
        largest = float(self.gaps.max())
        if n_wrong > 1 or (n_wrong and len(self.gaps) < self.hypothesis.free + ONE_WRONG):
            return Rank(2, error=largest)
        free = self.hypothesis.free * self.hypothesis.own_ends
        error = largest if n_wrong else float(largest > TOLERANCE / 5)
        return Rank(n_wrong, free, is_fault=bool(self.hypothesis.fault), error=error)


@dataclass(frozen=True)
class Levels:
    """The levels that a sampler visits with n_steps steps."""

    n_steps: int
    log_sigmas: Array  # (E,) ln(s / a) of each evaluation, in its order
    names: tuple[str, ...]  # every closed form that fits to TOLERANCE at all levels
    nearest: str = ""  # if none does, the nearest one, in words
    faults: tuple[str, ...] = ()  # what is wrong, in words
    notes: tuple[str, ...] = ()  # what is worth knowing
    more: int = 0  # evaluations beside those of the schedule

    @property
    def sigmas(self) -> list[float]:
        """Of each evaluation; pure noise has a large one."""
        return np.exp(np.minimum(self.log_sigmas, 27)).tolist()

    @property
    def right(self) -> bool:
        return not self.nearest and not self.faults

    @property
    def form(self) -> str:
        """The schedule in closed form; "" if none fits."""
        more = f"; {self.more} more evaluations, between or again" if self.more and self.names else ""
        return " = ".join(self.names) + more

    @property
    def sentence(self) -> str:
        """The schedule and what is wrong with it."""
        return "; ".join([self.form or self.nearest, *self.faults])


@dataclass(frozen=True)
class RecordingOracle(Oracle):
    """An oracle that keeps its inputs and the levels that it is asked about, and the scheduler that asks."""

    inputs: list[Tensor] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    schedulers: list[tuple[Any, float | None]] = field(default_factory=list)

    def follow(self, scheduler: object, mu: float | None = None) -> None:
        self.schedulers.append((scheduler, mu))

    def _estimates(self, x: Tensor, s: Level, a: Level) -> tuple[Tensor, Tensor]:
        signal, noise = (max(float(torch.as_tensor(level).flatten()[0]), 1e-12) for level in (a, s))
        self.inputs.append(x.clone())
        self.levels.append(math.log(noise / signal))
        return super()._estimates(x, s, a)


def find_levels(sampler: SamplerFunction, n_steps: int, expect: str = "") -> Levels:
    """The levels that a sampler visits, from one run with an exact denoiser.

    Args:
        sampler: as of `check`. If it calls denoiser.follow(scheduler) with a scheduler of diffusers after
            set_timesteps, as `wrappers.diffusers` does, the config of that scheduler counts too.
        expect: the schedule that is meant, such as "flow(shift=3, end=1/n)"; another one is a fault.

    Raises:
        ValueError: the network is asked at no level above 0.
    """
    log_sigmas, facts = record_levels(sampler, n_steps)
    return name_levels(log_sigmas, n_steps, facts, expect)


def record_levels(sampler: SamplerFunction, n_steps: int) -> tuple[list[float], Facts]:
    """log_sigma of each evaluation in a run with an exact denoiser, and what the config of its scheduler says."""
    recorder = RecordingOracle(GAUSSIAN.stds, GAUSSIAN.mean)
    noise = torch.randn(2, 1, 1, len(GAUSSIAN.stds), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        sampler(recorder, n_steps, noise)
    return recorder.levels, read_config(*recorder.schedulers[-1]) if recorder.schedulers else NOTHING


def assert_levels(sampler: SamplerFunction, expect: str, n_steps: int) -> None:
    """Raises AssertionError with what is wrong unless the sampler visits the levels of `expect`. For test suites."""
    levels = find_levels(sampler, n_steps, expect)
    assert levels.right, levels.sentence


def read_config(scheduler: Any, mu: float | None = None) -> Facts:
    """Reads the facts on its levels from the config of a scheduler of diffusers. `mu`: as of its set_timesteps."""
    config = scheduler.config
    tables = {}
    sigmas = None
    flow = config.get("use_flow_sigmas")
    dynamic = bool(config.get("use_dynamic_shifting"))
    shift = config.get("flow_shift") if flow else config.get("shift")
    if dynamic:
        shift = None if mu is None else math.exp(mu)
    if config.get("beta_schedule") in BETAS and not flow:
        schedule, start, end = (config[name] for name in ("beta_schedule", "beta_start", "beta_end"))
        betas = BETAS[schedule](config["num_train_timesteps"], start, end)
        table = known_schedules.make_table(betas, bool(config.get("rescale_betas_zero_snr")))
        usual = ((name, usual) for name, usual in known_schedules.usual_tables().items() if len(usual) == len(table))
        names = (name for name, usual in usual if np.allclose(usual, table))
        tables[next(names, f"{schedule} {start:g} to {end:g}")] = table
        sigmas = np.asarray(getattr(scheduler, "sigmas", ()), np.float64)
        sigmas = np.log(np.unique(sigmas[sigmas > 0]))[::-1]
    ends = [config.get(name) for name in ("sigma_max", "sigma_min")]
    karras_ends = (*ends, config.get("rho", 7.0)) if None not in ends else None
    return Facts(tables, shift, dynamic, karras_ends, config.get("shift_terminal"), sigmas)


def name_levels(
    log_sigmas: Sequence[float] | Array,
    n_steps: int,
    facts: Facts = NOTHING,
    expect: str = "",
) -> Levels:
    """The schedule of levels in the order in which they are visited.

    Args:
        log_sigmas: (E,) ln(s / a) of each evaluation; one below -FAR is at 0, and not a level of a schedule.
        n_steps: number of steps that were asked for.
        expect: as of `find_levels`.

    Raises:
        ValueError: none is above 0, or there is no schedule that is spelt like `expect`.
    """
    meant, options, _ = known_schedules.parse(expect)
    facts = replace(facts, expect=expect)
    if meant == "flow":
        facts = replace(facts, shift=float(options.get("shift", 1)), dynamic=False)
    visited = np.clip(np.asarray(log_sigmas, np.float64), -30, 30)
    every = np.flatnonzero(visited > -FAR)
    if not len(every):
        raise ValueError("the network is asked at no noise level above 0")
    single = every[np.abs(np.diff(visited[every], prepend=np.inf)) > ALIKE]
    is_backwards = len(single) > 1 and bool((np.diff(visited[single]) > 0).all())
    if is_backwards:
        single = single[::-1]
    fits = _fit(every, single, visited, n_steps, facts)
    best = fits[0]
    n_levels = len(best.places)
    names = [] if best.rank.n_wrong else _list_names(fits, expect)
    is_one_each = n_levels == len(single) == len(visited)  # one evaluation per level
    faults = ["the levels rise: it runs backwards"] if is_backwards else []
    faults += _list_faults(best, n_steps if is_one_each else n_levels, facts)
    if expect and names and not known_schedules.find_meant(names, expect):
        known_schedules.make_levels(expect, n_levels)  # raises an error if it is misspelt
        faults = faults or [f"it is {names[0]}, not {expect}"]
    if not any("rounded" in fault for fault in faults):
        faults += _received_otherwise(facts, visited[single])
    nearest = "" if names else _describe_gap(best, visited)
    notes = tuple(_list_notes(visited[single], facts, bool(names) and best.hypothesis.own_ends))
    more = max(len(visited) - n_levels, 0)
    faults = [*dict.fromkeys(faults)]
    return Levels(n_steps, visited, tuple(names), nearest, tuple(faults), notes, more)


def _list_faults(best: Fit, n_steps: int, facts: Facts) -> Iterator[str]:
    """Yields the faults of the schedule that fits best, which should have `n_steps` levels."""
    n_levels = len(best.places)
    if best.rank.n_wrong:
        if n_levels < 5 and not facts.tables and facts.shift is None:
            yield f"{n_levels} levels fit too many forms; ask for more steps"
        return
    if best.hypothesis.fault:
        yield best.hypothesis.fault
    if abs(n_levels - n_steps) == 1:
        yield f"one step too {'few' if n_levels < n_steps else 'many'}"


def _list_names(fits: list[Fit], expect: str) -> list[str]:
    """The names of the schedules that fit: of numbers that fit the nearest, without what others say."""
    names = [fit.hypothesis.spelling for fit in fits if fit.gaps.max() < TOLERANCE]
    forms = dict[str, str]()
    for name in [name for name in names if "whole" not in name] or names[:1]:
        forms.setdefault(name if name == expect else re.sub(r"(shift|sigma_min)=[^,)]+", "", name), name)
    names = [*forms.values()]
    others = [name for name in names if name != expect]
    return others if known_schedules.find_meant(others, expect) else names


def _describe_gap(fit: Fit, visited: Array) -> str:
    """Where the nearest schedule differs: the one wrong level, or the largest difference."""
    nearest = fit.hypothesis
    step = int(fit.gaps.argmax())
    if fit.rank.n_wrong == 1:
        place = fit.places[step]
        visits, has = np.exp([visited[place], nearest.log_sigmas[step]])
        return f"level {place + 1} is sigma {visits:.4g}, where {nearest.spelling} has {has:.4g}"
    off = 100 * math.expm1(fit.gaps[step])
    return f"no known schedule; nearest: {nearest.spelling}, {off:.3g} % off at step {step + 1}"


def _list_notes(levels: Array, facts: Facts, own_ends: bool) -> Iterator[str]:
    """Yields notes on the ends: signal that is left at the first level, and an end that may be cut."""
    for table in facts.tables.values():
        if levels.max() < (end := min(table[-1], FAR)) - math.log(1.5):
            first, last = math.exp(levels.max()), math.exp(end)
            yield f"the first level has signal left: sigma {first:.3g}, the network was trained to {last:.3g}"
    if own_ends and (low := math.exp(levels.min())) > CUT:
        yield f"the last step goes from sigma {low:.3g} to 0: the end may be cut"


def _fit(every: Places, single: Places, visited: Array, n_steps: int, facts: Facts) -> list[Fit]:
    """The schedules that fit as well as the best one, which comes first.

    Methods of several evaluations per step visit levels between those of the schedule. So the schedule is all levels,
    every second or fourth one, each once, or, without a fault, some n_steps of them. Numbers near n_steps come first.
    """

    def fit(hypothesis: Hypothesis, places: Places) -> Fit:
        return Fit(places, _measure_gaps(hypothesis.log_sigmas, visited[places]), hypothesis)

    falling = single[np.argsort(-visited[single], kind="stable")]
    distinct = falling[np.abs(np.diff(visited[falling], prepend=np.inf)) > ALIKE]
    parts = [single] if len(single) == len(every) else [every, single]
    if len(visited) > n_steps:
        parts += [single[::2], single[1::2], single[::4], distinct]
    best = [Fit(distinct, np.full(len(distinct), UNLIKE), Hypothesis("none", visited[distinct]))]
    for places in sorted(parts, key=lambda places: (abs(len(places) - n_steps), len(places) < n_steps)):
        if (np.diff(visited[places]) > 0).sum() > 1:  # one level may be wrong
            continue
        hypotheses = known_schedules.list_hypotheses(visited[places], n_steps, facts)
        fits = sorted((fit(hypothesis, places) for hypothesis in hypotheses), key=lambda fit: fit.rank)
        best = min(best, fits, key=lambda fits: fits[0].rank)
        if not (rank := best[0].rank).n_wrong:
            return [fit for fit in best if fit.rank[:-1] == rank[:-1]]
    if len(visited) > n_steps:
        for hypothesis in known_schedules.list_hypotheses(np.resize(visited[distinct], n_steps), n_steps, facts):
            if not (hypothesis.fault or hypothesis.free):
                schedule = np.minimum(hypothesis.log_sigmas, FAR)
                among = distinct[np.abs(schedule[:, None] - visited[distinct]).argmin(axis=1)]
                best = min(best, [fit(hypothesis, among)], key=lambda fits: fits[0].rank)
    return best


def _measure_gaps(schedule: Array, visited: Array) -> Array:
    """How far the levels of a schedule are from those that were visited; levels of another number are UNLIKE."""
    if len(schedule) != len(visited):
        return np.full(len(visited), UNLIKE)
    schedule, visited = np.minimum(schedule, FAR), np.minimum(visited, FAR)
    gaps = np.minimum(np.abs(schedule - visited), UNLIKE)
    if min(schedule[0], visited[0]) > ALMOST_PURE:
        gaps[0] = min(gaps[0], ALIKE)
    return gaps


def _received_otherwise(facts: Facts, single: Array) -> list[str]:
    """The fault if the network receives the time of another level than the one that the scheduler works with."""
    worked_with = facts.sigmas
    n = len(single)
    if worked_with is None or len(worked_with) not in (n, n + 1) or worked_with[0] > FAR:
        return []
    first = int(single[0] > FAR)
    gaps = np.abs(worked_with[:n] - single)[first:]
    if gaps.max(initial=0) <= LARGE:
        return []
    step = int(gaps.argmax()) + first
    received, works = math.exp(single[step]), math.exp(worked_with[step])
    return [
        f"the network receives the time of sigma {received:.4g} at step {step + 1}, the scheduler is at {works:.4g}"
    ]
