"""Readings of the numbers of a printed list: sigmas, times, log SNR, ... The one whose schedule fits best counts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from experiments.conformance import known_schedules
from experiments.conformance.known_schedules import FAR, N_TRAIN, Array, Facts
from experiments.conformance.levels import NOTHING, TOLERANCE, Levels, name_levels

FEW_DIGITS = "too few digits to be sure: print two decimals or more"
IN_TENTHS = 0.04  # half a unit of the last digit above which all numbers have one decimal, or none
NEAR = 0.3  # difference in log_sigma that the rounding of the last level may make elsewhere


@dataclass(frozen=True)
class Reading:
    """A possible meaning of the numbers of a list.

    Args:
        to_printed: the inverse of `log_sigma`.
        domain: the lowest and the highest number.
        suits: whether numbers are tried without being asked for.
        lists_zero: whether the number of sigma = 0 follows the last level.
    """

    log_sigma: Callable[[Array], Array]
    to_printed: Callable[[float], float]
    domain: tuple[float, float]
    suits: Callable[[Array], bool]
    facts: Facts = NOTHING
    lists_zero: bool = False


def _read_table(betas: str, form: str) -> Reading:
    """Times of a table. Even times are the same in all tables: then `betas` is "", and the levels are those of one."""
    table = known_schedules.usual_tables()[betas or "linear"]
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


def _read_multiple(factor: float) -> Reading:
    """Numbers that are log_sigma times a factor. They are tried if they have both signs, and the levels fall."""
    return Reading(
        lambda x: x / factor,
        lambda log_sigma: factor * log_sigma,
        (-math.inf, math.inf),
        lambda x: bool(x.min() < 0 < x.max()) and _rise(-x / factor),
    )


FLOW = Facts(forms=("flow",))
READINGS: Sequence[tuple[str, Reading]] = (
    ("t", Reading(logit, expit, (0, 1), lambda t: True, FLOW, True)),
    ("1-t", Reading(lambda t: -logit(t), lambda x: expit(-x), (0, 1), lambda t: False, FLOW, True)),
    ("table", _read_table("", "times")),
    ("time", Reading(
        lambda t: logit(t / N_TRAIN), lambda x: N_TRAIN * expit(x), (0, N_TRAIN), lambda t: t.max() > 100, FLOW)),
    ("sigma", Reading(np.log, math.exp, (0, math.inf), lambda sigma: bool((sigma % 1).any()), lists_zero=True)),
    ("log-snr", _read_multiple(-2)),
    ("half-log-snr", _read_multiple(-1)),
    ("log-sigma", _read_multiple(1)),
    ("c-noise", _read_multiple(1 / 4)),
    ("alpha-bar", Reading(lambda abar: -logit(abar) / 2, lambda x: expit(-2 * x), (0, 1), _rise)),
    *(("table", _read_table(betas, "table ends")) for betas in known_schedules.usual_tables()),
)  # fmt: skip


def name_list(values: Array, half_units: Array, n_steps: int = 0, expect: str = "", reading: str = "any") -> Levels:
    """The schedule of a printed list, in the reading that fits best; one that fits `expect` comes first.

    Args:
        values: (E,) numbers.
        half_units: half a unit of the last printed digit of each.
        n_steps: number of steps that were asked for; 0 for as many as there are levels.
        reading: "any", or the name of one.

    Raises:
        ValueError: there is no such reading of these numbers.
    """
    tried = list[Levels]()
    for name, row in READINGS:
        if reading not in ("any", name) or values.min() < row.domain[0] or values.max() > row.domain[1]:
            continue
        if reading == name or row.suits(values):
            tried.append(_read_list(name, row, values, half_units, n_steps, expect))
    if not tried:
        numbers = f"{values.size} numbers from {values.min():g} to {values.max():g}"
        asked = "" if reading == "any" else " of this reading"
        raise ValueError(f"{numbers} are no levels{asked}: only logarithms are below 0, and whole ones are times")
    meant = [levels for levels in tried if known_schedules.find_meant(levels.names, expect)]
    return min(meant or tried, key=lambda levels: levels.rank)


def _read_list(name: str, row: Reading, values: Array, half_units: Array, n_steps: int, expect: str) -> Levels:
    """The schedule of a list in one reading. ValueError if no number stands for a level above 0."""
    numbers = (np.clip(values + sign * half_units, *row.domain) for sign in (0, -1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        listed = np.clip([row.log_sigma(each) for each in numbers], -30, 30)  # (3, E): log_sigma and its bounds
    listed[1:].sort(axis=0)
    faults = list[str]()
    above = listed[0, listed[0] > -FAR]
    if not len(above):
        raise ValueError("no number stands for a level above 0")
    if above[-1] > above[0]:
        question = ", or is it 1 - t? Then say --reading 1-t" if name == "t" else ""
        faults.append(f"the levels rise: it runs backwards{question}")
        listed = listed[:, ::-1]
    faults += _check_zeros(listed[0] <= -FAR, row, expect)
    listed = listed[:, listed[0] > -FAR]
    log_sigmas, lower, upper = listed
    facts = row.facts

    def name_listed(listed: Array) -> Levels:
        return name_levels(listed[0], n_steps or len(listed[0]), facts, expect, listed[1:], row.to_printed)

    levels = name_listed(listed)
    if levels.rank.n_wrong and levels.rank.error < NEAR and upper[-1] - lower[-1] > 2 * TOLERANCE:
        facts = replace(facts, lasts=(log_sigmas[-1], *np.linspace(lower[-1], upper[-1], 13)[1:-1]))
        levels = name_listed(listed)
    rises = np.flatnonzero(lower[1:] > upper[:-1])
    if len(rises) and levels.rank.n_wrong > 1:
        before, after = (row.to_printed(float(value)) for value in log_sigmas[rises[0] :][:2])
        faults.append(f"level {rises[0] + 2} rises: {after:.4g} after {before:.4g}")
        levels = name_listed(listed[:, np.argsort(-log_sigmas, kind="stable")])
    is_plms = name == "table" and levels.more == 1 and log_sigmas[1] == log_sigmas[2]  # Liu et al. 2022, 2202.09778
    if levels.names and 0 < levels.more < len(log_sigmas) // 2 - 1 and not is_plms:  # two per step: all but the ends
        faults.append(f"{levels.more} of the levels are there twice")
    faults += levels.faults
    notes = (f"the list is read as {name}", *levels.notes)
    rank = levels.rank._replace(n_faults=len(faults))
    if levels.names and name not in ("time", "table") and half_units.min() > IN_TENTHS:  # even random ones are named
        faults.append(FEW_DIGITS)
    return replace(levels, faults=tuple(faults), notes=notes, rank=rank)


def _check_zeros(is_zero: NDArray[np.bool_], row: Reading, expect: str) -> list[str]:
    """Returns the faults of the levels at 0 in a falling list."""
    may_end = expect and row.facts is not FLOW and known_schedules.parse(expect)[1].get("end") != 0
    if not is_zero.any():
        return ["no 0 follows: the last step is missing"] * (row.lists_zero and not may_end)
    if is_zero.sum() > 1:
        return [f"0 is there {is_zero.sum()} times"]
    return [] if is_zero[-1] else [f"level {is_zero.argmax() + 1} is 0"]
