"""Which noise levels does a sampler visit? Its schedule in closed form, its evaluations, and what is wrong."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion_core.schedules.process_time import BETAS
from experiments.conformance import known_schedules as known
from experiments.conformance.impulses import SamplerFunction
from experiments.conformance.known_schedules import FAR, LARGE, N_TRAIN, Array, Facts, Hypothesis
from experiments.conformance.oracle import GAUSSIAN, Level, Oracle

TOLERANCE = 1e-3  # in log_sigma: tables in float32 are within it
ALIKE = TOLERANCE / 10  # two evaluations at one level
ALMOST_PURE = 6.5  # log_sigma from which no signal is left to speak of: t = 1 and t = 0.999 are alike
UNLIKE = 9.0  # difference from a schedule of another length
NOTHING = Facts()
Places = NDArray[np.intp]
Fit = tuple[Places, Array, Hypothesis]  # which levels, how far the schedule is from each in log_sigma, the schedule
CUT = 0.1  # sigma above which a last step to 0 is worth a note, where the last level could be any
NEAR = 0.3  # difference in log_sigma that the rounding of the last level may make elsewhere
ONE_WRONG = 6  # levels more than numbers that come from them, to say that only one is wrong


@dataclass(frozen=True)
class Levels:
    """The levels that a sampler visits with n_steps steps."""

    n_steps: int
    log_sigmas: Array  # (E,) ln(s / a) of each evaluation, in its order
    bounds: Array  # (2, E) the lowest and the highest log_sigma that a printed number stands for
    names: tuple[str, ...]  # every closed form that fits to TOLERANCE at all levels
    nearest: str = ""  # if none does, the nearest one, in words
    faults: tuple[str, ...] = ()  # what is wrong, in words
    notes: tuple[str, ...] = ()  # what is worth knowing
    more: int = 0  # evaluations beside those of the schedule
    rank: tuple[float, ...] = ()  # the lowest of several readings is the best

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
        expect: the schedule that is meant, such as "flow(shift=3, end=1/n)"; another one is a fault.

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
    if config.get("beta_schedule") in BETAS and not flow:
        kind, start, end = (config[name] for name in ("beta_schedule", "beta_start", "beta_end"))
        betas = BETAS[kind](config["num_train_timesteps"], start, end)
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
    log_sigmas: Sequence[float] | Array,
    n_steps: int,
    facts: Facts = NOTHING,
    expect: str = "",
    bounds: Array | None = None,
    number: Callable[[float], float] = math.exp,
) -> Levels:
    """The schedule of levels in the order in which they are visited.

    Args:
        log_sigmas: (E,) ln(s / a) of each evaluation; one below -FAR is at 0, and not a level of a schedule.
        n_steps: number of steps that were asked for.
        expect: as of `find_levels`.
        bounds: of a printed list, as of `Levels`. In a list each number is a level.
        number: from log_sigma to the numbers that are printed.

    Raises:
        ValueError: none is above 0, or there is no schedule that is spelt like `expect`.
    """
    meant, options, _ = known.parse(expect)
    facts = replace(facts, expect=expect)
    if meant == "flow":
        facts = replace(facts, shift=float(options.get("shift", 1)), dynamic=False)
    faults = list[str]()
    visited = np.clip(np.asarray(log_sigmas, np.float64), -30, 30)
    if not (visited > -FAR).any():
        raise ValueError("the network is asked at no noise level above 0")
    every = np.flatnonzero(visited > -FAR)
    single = every[np.abs(np.diff(visited[every], prepend=np.inf)) > ALIKE]
    if len(single) > 1 and (np.diff(visited[single]) > 0).all():
        faults.append("the levels rise: it runs backwards")
        single = single[::-1]
    limits = np.stack([visited, visited]) if bounds is None else bounds
    parts = [single] if len(single) == len(every) else [every, single]
    fits, n_levels = _fit(parts, visited, limits, n_steps, facts)
    best = fits[0][-1]
    rank = _rank(fits[0])
    names = list[str]()
    if not rank[0]:
        names = _list_names(fits, expect)
        faults += [best.fault] if best.fault else []
        if n_levels == len(single) == len(visited) and abs(n_levels - n_steps) == 1:  # one evaluation per level
            faults.append(f"one step too {'few' if n_levels < n_steps else 'many'}")
    elif n_levels < 5 and not facts.tables and facts.shift is None:
        faults.append(f"{n_levels} levels fit too many forms; ask for more steps")
    if expect and names and not any(known.fits_spelling(name, expect) for name in names):
        known.make_levels(expect, n_levels)  # raises an error if it is misspelt
        faults = faults or [f"it is {names[0]}, not {expect}"]
    if not any("rounded" in fault for fault in faults):
        faults += _received_otherwise(facts, visited[single])
    nearest = "" if names else _describe_gap(fits[0], visited, number)
    notes = tuple(_list_notes(visited[single], facts, bool(names) and best.own_ends))
    more = max(len(visited) - n_levels, 0)
    return Levels(n_steps, visited, limits, tuple(names), nearest, tuple(dict.fromkeys(faults)), notes, more, rank)


def _list_names(fits: list[Fit], expect: str) -> list[str]:
    """The names of the schedules that fit: of numbers that fit a coarse list the nearest, without what others say."""
    names = [one.spelling for _, gaps, one in fits if gaps.max() < TOLERANCE]
    forms = dict[str, str]()
    for name in [name for name in names if "whole" not in name] or names[:1]:
        forms.setdefault(name if name == expect else re.sub(r"(shift|sigma_min)=[^,)]+", "", name), name)
    names = [*forms.values()]
    others = [name for name in names if name != expect]
    return others if any(known.fits_spelling(name, expect) for name in others) else names


def _describe_gap(fit: Fit, visited: Array, number: Callable[[float], float]) -> str:
    """Where the nearest schedule differs: the one wrong level, in printed numbers, or the largest difference."""
    places, gaps, nearest = fit
    step = int(gaps.argmax())
    if _rank(fit)[0] == 1:
        visits, has = (number(float(value)) for value in (visited[places[step]], nearest.log_sigmas[step]))
        return f"level {places[step] + 1} is {visits:.4g}, where {nearest.spelling} has {has:.4g}"
    off = 100 * math.expm1(gaps[step])
    return f"no known schedule; nearest: {nearest.spelling}, {off:.3g} % off at step {step + 1}"


def _list_notes(levels: Array, facts: Facts, own_ends: bool) -> Iterator[str]:
    """What is worth knowing of the ends."""
    for betas, table in facts.tables.items():
        if betas and levels.max() < (end := min(table[-1], FAR)) - math.log(1.5):
            first, last = math.exp(levels.max()), math.exp(end)
            yield f"the first level has signal left: sigma {first:.3g}, the network was trained to {last:.3g}"
    if own_ends and (low := math.exp(levels.min())) > CUT:
        yield f"the last step goes from sigma {low:.3g} to 0: the end may be cut"


def _fit(parts: list[Places], visited: Array, bounds: Array, n_steps: int, facts: Facts) -> tuple[list[Fit], int]:
    """The schedules that fit as well as the best one, and the number of their levels.

    Methods of several evaluations per step visit levels between those of the schedule. So the schedule is all levels,
    every second or fourth one, each once, or, without a fault, some n_steps of them. Numbers near n_steps come first.
    """
    single = parts[-1]
    falling = single[np.argsort(-visited[single], kind="stable")]
    distinct = falling[np.abs(np.diff(visited[falling], prepend=np.inf)) > ALIKE]
    if len(visited) > n_steps:
        parts = [*parts, single[::2], single[1::2], single[::4], distinct]
    unlike = np.full(len(distinct), UNLIKE)
    best: tuple[list[Fit], int] = ([(distinct, unlike, Hypothesis("none", visited[distinct]))], len(distinct))
    for part in sorted(parts, key=lambda part: (abs(len(part) - n_steps), len(part) < n_steps)):
        levels = visited[part]
        if (bounds[0, part[1:]] > bounds[1, part[:-1]]).sum() > 1:  # one level may be wrong
            continue
        fits: list[Fit] = [
            (part, _measure_gaps(one.log_sigmas, bounds[:, part]), one)
            for one in known.list_hypotheses(levels, n_steps, facts)
        ]
        best = min(best, (sorted(fits, key=_rank), len(part)), key=lambda found: _rank(found[0][0]))
        if (rank := _rank(best[0][0]))[0] == 0:
            return [fit for fit in best[0] if _rank(fit)[:2] == rank[:2]], best[1]
    if len(visited) > n_steps:
        for one in known.list_hypotheses(np.resize(visited[distinct], n_steps), n_steps, facts):
            if not (one.fault or one.own_ends or one.free):
                schedule = np.minimum(one.log_sigmas, FAR)
                among = distinct[np.abs(schedule[:, None] - visited[distinct]).argmin(axis=1)]
                fit: Fit = (among, _measure_gaps(schedule, bounds[:, among]), one)
                best = min(best, ([fit], n_steps), key=lambda found: _rank(found[0][0]))
    return best


def _rank(fit: Fit) -> tuple[int, int, float]:
    """Those that fit, those that fit but for one level, the nearest; of the first two, the right ones come first."""
    _, gaps, one = fit
    n_wrong = int((gaps >= TOLERANCE).sum())
    if n_wrong == 1 and len(gaps) < one.free + ONE_WRONG:
        n_wrong = 2
    order = 2 * one.free * one.own_ends + bool(one.fault) if n_wrong < 2 else 0
    error = float(gaps.max())
    return min(n_wrong, 2), order, float(error > TOLERANCE / 5) if n_wrong == 0 else error


def _measure_gaps(schedule: Array, bounds: Array) -> Array:
    """How far the levels of a schedule are outside of (2, K) bounds; levels of another number are UNLIKE."""
    lower, upper = np.minimum(bounds, FAR)
    if len(schedule) != len(lower):
        return np.full(len(lower), UNLIKE)
    schedule = np.minimum(schedule, FAR)
    gaps = np.clip(np.maximum(lower - schedule, schedule - upper), 0, UNLIKE)
    if min(schedule[0], upper[0]) > ALMOST_PURE:
        gaps[0] = min(gaps[0], ALIKE)
    return gaps


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


@dataclass(frozen=True)
class Reading:
    """What the numbers of a list may mean.

    Args:
        number: the inverse of `log_sigma`.
        domain: the lowest and the highest number.
        suits: whether numbers are tried without being asked for.
        lists_zero: whether the number of sigma = 0 follows the last level.
    """

    log_sigma: Callable[[Array], Array]
    number: Callable[[float], float]
    domain: tuple[float, float]
    suits: Callable[[Array], bool]
    facts: Facts = NOTHING
    lists_zero: bool = False


def _read_table(betas: str, form: str) -> Reading:
    """Times of a table. Even times are the same in all tables: then `betas` is "", and the levels are those of one."""
    table = known.usual_tables()[betas or "linear"]
    finite = np.minimum(table, FAR)
    places = np.arange(len(table))
    return Reading(
        lambda times: np.interp(times, places, finite),
        lambda log_sigma: float(np.interp(log_sigma, finite, places)),
        (0, len(table) - 1),
        lambda times: times.max() > 100,
        Facts({betas: table}, forms=(form,)),
    )


def _rise(values: Array) -> bool:
    return bool((np.diff(values) > 0).all())


def _is_signed(values: Array) -> bool:
    return bool(values.min() < 0 < values.max())


def _to_t(log_sigma: float) -> float:
    return 1 / (1 + math.exp(-log_sigma))


FLOW = Facts(forms=("flow",))
ANY = (-math.inf, math.inf)
READINGS: Sequence[tuple[str, Reading]] = (
    ("t", Reading(lambda t: np.log(t / (1 - t)), _to_t, (0, 1), lambda t: True, FLOW, True)),
    ("1-t", Reading(lambda t: np.log((1 - t) / t), lambda x: _to_t(-x), (0, 1), lambda t: False, FLOW, True)),
    ("table", _read_table("", "times")),
    ("time", Reading(
        lambda t: np.log(t / (N_TRAIN - t)), lambda x: N_TRAIN * _to_t(x), (0, N_TRAIN),
        lambda t: t.max() > 100, FLOW)),
    ("sigma", Reading(np.log, math.exp, (0, math.inf), lambda sigma: bool((sigma % 1).any()), lists_zero=True)),
    ("log-snr", Reading(
        lambda x: -x / 2, lambda x: -2 * x, ANY, lambda x: _is_signed(x) and _rise(x))),
    ("half-log-snr", Reading(lambda x: -x, lambda x: -x, ANY, lambda x: _is_signed(x) and _rise(x))),
    ("log-sigma", Reading(lambda x: x, lambda x: x, ANY, lambda x: _is_signed(x) and _rise(-x))),
    ("c-noise", Reading(lambda x: 4 * x, lambda x: x / 4, ANY, lambda x: _is_signed(x) and _rise(-x))),
    ("alpha-bar", Reading(
        lambda abar: np.log(1 / abar - 1) / 2, lambda x: _to_t(-2 * x), (0, 1), _rise)),
    *(("table", _read_table(betas, "table ends")) for betas in known.usual_tables()),
)  # fmt: skip
PAIRS = Reading(lambda pairs: np.log(pairs[1] / pairs[0]), math.exp, (0, math.inf), lambda pairs: True)


def name_list(values: Array, half_units: Array, n_steps: int = 0, expect: str = "", reading: str = "any") -> Levels:
    """The schedule of a printed list, in the reading that fits best; one that fits `expect` comes first.

    Args:
        values: (E,) numbers, or (2, E): a and s of x = a x0 + s z.
        half_units: half a unit of the last printed digit of each.
        n_steps: number of steps that were asked for; 0 for as many as there are levels.
        reading: "any", or the name of one.

    Raises:
        ValueError: there is no such reading of these numbers.
    """
    readings = [("pairs", PAIRS)] if values.ndim == 2 else READINGS
    tried = list[Levels]()
    for name, row in readings:
        if reading not in ("any", name) or values.min() < row.domain[0] or values.max() > row.domain[1]:
            continue
        if reading == name or row.suits(values):
            tried.append(_read_list(name, row, values, half_units, n_steps, expect))
    if not tried:
        raise ValueError(
            f"{values.size} numbers from {values.min():g} to {values.max():g} are no levels"
            f"{' of this reading' * (reading != 'any')}: only logarithms are below 0, and whole ones are times"
        )

    def rank(levels: Levels) -> tuple[float, ...]:
        return (not (expect and any(known.fits_spelling(name, expect) for name in levels.names)), *levels.rank)

    return min(tried, key=rank)


def _read_list(name: str, row: Reading, values: Array, half_units: Array, n_steps: int, expect: str) -> Levels:
    """The schedule of a list in one reading. ValueError if no number stands for a level above 0."""
    outwards = np.array([[-1], [1]]) if values.ndim == 2 else 1
    with np.errstate(divide="ignore", invalid="ignore"):
        log_sigmas = np.clip(row.log_sigma(values), -30, 30)
        ends = (np.clip(values + sign * outwards * half_units, *row.domain) for sign in (-1, 1))
        bounds = np.sort(np.clip([row.log_sigma(end) for end in ends], -30, 30), axis=0)
    faults = list[str]()
    above = np.flatnonzero(log_sigmas > -FAR)
    if not len(above):
        raise ValueError("no number stands for a level above 0")
    if log_sigmas[above[-1]] > log_sigmas[above[0]]:
        question = ", or is it 1 - t? Then say --reading 1-t" if name == "t" else ""
        faults.append(f"the levels rise: it runs backwards{question}")
        log_sigmas = log_sigmas[::-1]
        bounds = bounds[:, ::-1]
    faults += _check_zeros(log_sigmas <= -FAR, row, expect)
    bounds = bounds[:, log_sigmas > -FAR]
    log_sigmas = log_sigmas[log_sigmas > -FAR]
    facts = row.facts
    n_steps = n_steps or len(log_sigmas)
    levels = name_levels(log_sigmas, n_steps, facts, expect, bounds, row.number)
    if levels.rank[0] and levels.rank[-1] < NEAR and bounds[1, -1] - bounds[0, -1] > 2 * TOLERANCE:
        facts = replace(facts, lasts=(log_sigmas[-1], *np.linspace(bounds[0, -1], bounds[1, -1], 13)[1:-1]))
        levels = name_levels(log_sigmas, n_steps, facts, expect, bounds, row.number)
    rises = np.flatnonzero(bounds[0, 1:] > bounds[1, :-1])
    if len(rises) and levels.rank[0] > 1:
        before, after = (row.number(float(value)) for value in log_sigmas[rises[0] :][:2])
        faults.append(f"level {rises[0] + 2} rises: {after:.4g} after {before:.4g}")
        order = np.argsort(-log_sigmas, kind="stable")
        levels = name_levels(log_sigmas[order], n_steps, facts, expect, bounds[:, order], row.number)
    is_plms = name == "table" and levels.more == 1 and log_sigmas[1] == log_sigmas[2]  # Liu et al. 2022, 2202.09778
    if levels.names and 0 < levels.more < len(log_sigmas) // 2 - 1 and not is_plms:  # two per step: all but the ends
        faults.append(f"{levels.more} of the levels are there twice")
    faults += levels.faults
    notes = (f"the list is read as {name}", *levels.notes)
    rank = (levels.rank[0], levels.rank[1] - levels.rank[1] % 2, len(faults), *levels.rank[1:])
    return replace(levels, faults=tuple(faults), notes=notes, rank=rank)


def _check_zeros(is_zero: NDArray[np.bool_], row: Reading, expect: str) -> list[str]:
    """What is wrong with the levels at 0 of a falling list."""
    may_end = expect and row.facts is not FLOW and known.parse(expect)[1].get("end") != "0"  # without a step to 0
    if not is_zero.any():
        return ["no 0 follows: the last step is missing"] * (row.lists_zero and not may_end)
    if is_zero.sum() > 1:
        return [f"0 is there {is_zero.sum()} times"]
    return [] if is_zero[-1] else [f"level {is_zero.argmax() + 1} is 0"]
