"""Schedules that are known in closed form, and what known mistakes make of them: one hypothesis each.

Levels are log_sigma = ln(s / a) of x = a x0 + s z, in flow matching the logit of t. A hypothesis is spelt as our
commands spell a schedule: `flow(shift=3, end=1/n)` has n levels, and 0 follows the last one.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffusion_core.schedules import OWN_ENDS, SCHEDULES, karras
from diffusion_core.schedules.process_time import cosine_betas, linear_betas, scaled_linear_betas
from diffusion_core.validation import one_of
from experiments.conformance.wrappers import SIGMA_MAX, SIGMA_MIN

Array = NDArray[np.float64]
N_TRAIN = 1000  # times of training
USUAL_SHIFTS = (1.0, 2.0, 3.0, 5.0, 7.0, 12.0)
RHOS = (7.0, 5.0, 3.0)
Schedule = Callable[..., Sequence[float]]
Form = tuple[str, dict[str, float]]
SOLVED = {"karras": (1.001, 50.0), "polyexponential": (0.3, 3.0)}  # schedules whose rho is solved, between two limits
THEN_FIRST = ", then the first time"
FAR = 20.0  # log_sigma of pure noise
LARGE = 0.01  # in log_sigma: more is a fault where times are rounded


@dataclass(frozen=True)
class Hypothesis:
    """A schedule: how it is spelt, its levels, what is wrong with it, how many of its numbers come from the levels."""

    spelling: str
    log_sigmas: Array
    fault: str = ""
    free: int = 0

    @property
    def own_ends(self) -> bool:
        """Whether its ends come from the levels, so that any other name says more."""
        return self.free > 1


@dataclass(frozen=True)
class Facts:
    """Known facts of a schedule besides its levels; there are none for a function."""

    tables: Mapping[str, Array] = field(default_factory=dict)  # name of the betas -> (N,) log_sigma at each time
    shift: float | None = None  # of flow matching; if it is `dynamic`, exp(mu), and None without mu
    dynamic: bool = False
    ends: tuple[float, float, float] | None = None  # sigma_max, sigma_min and rho of a Karras schedule
    terminal: float | None = None  # t of the last level, to which a flow's schedule is stretched
    sigmas: Array | None = None  # log_sigma of the levels that the scheduler works with, falling
    expect: str = ""  # the name that is meant


def logit(t: Array | float) -> Array:
    """log_sigma of flow matching at t."""
    t = np.clip(np.asarray(t, np.float64), 1e-12, 1 - 1e-12)
    return np.log(t / (1 - t))


def shift_times(t: Array | float, shift: float) -> Array:
    """s t / (1 + (s - 1) t). Source: Esser et al. 2024, arXiv 2403.03206, Eq. 23."""
    return shift * np.asarray(t, np.float64) / (1 + (shift - 1) * np.asarray(t, np.float64))


def make_table(betas: Sequence[float], zero_snr: bool = False) -> Array:
    """log_sigma at each time. `zero_snr`: rescaled to end without signal, Lin et al. 2024, 2305.08891, Algorithm 1."""
    abar = np.cumprod(1 - np.asarray(betas, np.float64))
    if zero_snr:
        root = np.sqrt(abar)
        abar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    with np.errstate(divide="ignore"):
        return np.log((1 - abar) / abar) / 2


@cache
def usual_tables() -> Mapping[str, Array]:
    """The tables that most networks are trained on."""
    betas = {
        "linear": linear_betas(N_TRAIN, 1e-4, 0.02), "scaled_linear": scaled_linear_betas(N_TRAIN, 0.00085, 0.012),
        "linear 0.00085 to 0.012": linear_betas(N_TRAIN, 0.00085, 0.012), "cosine": cosine_betas(N_TRAIN),
    }  # fmt: skip
    tables = {name: make_table(of) for name, of in betas.items()}
    tables |= {f"{name}, zero SNR": make_table(of, zero_snr=True) for name, of in betas.items()}
    return tables | {"geometric 0.02 to 10": np.linspace(math.log(0.02), math.log(10), N_TRAIN)}


def list_hypotheses(log_sigmas: Array, n_steps: int, facts: Facts) -> list[Hypothesis]:
    """Every schedule with as many levels as `log_sigmas` (K,), the right ones first; n_steps were asked for.

    A form with p fitted numbers is tried on p + 3 levels or more: fewer fit by chance.
    """
    k = len(log_sigmas)
    listed = [
        *_schedules_with_known_ends(log_sigmas, facts), *_flows(log_sigmas, facts), *_times(k, n_steps, facts),
        *_between_table_ends(k, facts),
    ]  # fmt: skip
    listed.sort(key=lambda hypothesis: bool(hypothesis.fault))
    listed += _schedules_with_own_ends(log_sigmas, facts)
    if facts.expect:
        with suppress(ValueError):  # `levels` says which names there are
            listed.append(Hypothesis(facts.expect, make_levels(facts.expect, k)))
    return [hypothesis for hypothesis in listed if hypothesis.free == 0 or k >= hypothesis.free + 3]


def _flows(log_sigmas: Array, facts: Facts) -> Iterator[Hypothesis]:
    """Schedules of flow matching. A shift that is not known is solved: it adds ln(shift) to every level."""
    k = len(log_sigmas)
    free = int(facts.shift is None)
    for ends, t, ends_fault in (
        ("end=1/n", np.linspace(1, 1 / k, k), ""),
        (f"end=1/{N_TRAIN}", np.linspace(1, 1 / N_TRAIN, k), ""),
        (f"end=1/{N_TRAIN}, without the last of n + 1", np.linspace(1, 1 / N_TRAIN, k + 1)[:-1], ""),
        ("start=0.999, end=1/n", np.linspace(0.999, 0, k + 1)[:-1], ""),
        ("end=2/(n + 1)", np.linspace(1, 0, k + 2)[:-2], "the last step is twice as long: one step too few"),
    ):
        inner = (t < 1) & (np.abs(log_sigmas) < FAR)
        solved = math.exp(np.median((log_sigmas - logit(t))[inner])) if inner.any() else 1.0
        for shift in dict.fromkeys((facts.shift or 1.0, 1.0, float(f"{solved:.4g}"))):
            times = shift_times(t, shift)
            spelling = f"flow(shift={shift:.4g}, {ends})"
            fault = ends_fault or _explain_shift(shift, facts)
            yield Hypothesis(spelling, logit(times), fault, free)
            if facts.terminal:
                yield _stretch(spelling, times, facts.terminal, fault, free)
        for shift in (facts.shift,) if facts.shift else USUAL_SHIFTS:
            fault = ends_fault or _explain_shift(shift, facts)
            yield from _in_whole_times(f"flow(shift={shift:.4g}, {ends})", shift_times(t, shift), fault)
    yield from _flows_with_own_end(log_sigmas, facts)
    for name in OWN_ENDS if k > 3 else ():
        if not name.startswith(("flow", "ddpm")):  # all others, users' own included, have levels of their own
            yield Hypothesis(name, _levels_between(SCHEDULES[name], k, 0, 0))


def _explain_shift(shift: float, facts: Facts) -> str:
    """Names the fault of a shift, from what is known of the schedule; "" if it has none."""
    if facts.shift is None:
        return "mu is missing" if facts.dynamic and shift == 1 else ""
    if shift == facts.shift:
        return ""
    if math.isclose(shift, facts.shift**2, rel_tol=1e-3):
        return f"shift {facts.shift:.4g} is applied twice"
    return f"shift {facts.shift:.4g} is missing" if shift == 1 else f"shift is {shift:.4g}, not {facts.shift:.4g}"


def _in_whole_times(spelling: str, times: Array, fault: str) -> Iterator[Hypothesis]:
    """Times rounded or cut to whole ones of N_TRAIN. A float just below a whole time may be cut to the one before."""
    exact = times * N_TRAIN
    for verb, whole in (("rounded", np.round(exact)), *(("cut", np.floor(exact + off)) for off in (0, 1e-6, -1e-6))):
        whole = logit(np.minimum(whole, N_TRAIN) / N_TRAIN)
        error = _explain_rounding(f"times are {verb} to whole ones", (whole - logit(times))[1:], 2)
        yield Hypothesis(f"{spelling}, times {verb} to whole ones", whole, fault or error)


def _explain_rounding(words: str, errors: Array, first: int = 1) -> str:
    """The words with the largest error in log_sigma and its step, if it is large. `first`: the step of errors[0]."""
    off = np.abs(errors)
    at = int(off.argmax()) if len(off) else 0
    return f"{words}: {100 * math.expm1(off[at]):.2g} % off at step {at + first}" if off.max(initial=0) > LARGE else ""


def _stretch(spelling: str, times: Array, terminal: float, fault: str, free: int) -> Hypothesis:
    """Times that are stretched so that the last one is `terminal`."""
    stretched = 1 - (1 - times) * (1 - terminal) / (1 - times[-1])
    return Hypothesis(f"{spelling}, stretched to {terminal:.4g}", logit(stretched), fault, free)


def _flows_with_own_end(log_sigmas: Array, facts: Facts) -> Iterator[Hypothesis]:
    """Flow schedules whose last time was shifted before all were, and those with any other last time.

    With t even from 1 to x in K levels, sigma_i = A / i - shift with A = shift (K - 1) / (1 - x): linear in both. Times
    u from 1 to 1/K that are shifted, then stretched, have (1 + (shift - 1) u) / c = (1 - u) / (1 - x): linear again.
    """
    k = len(log_sigmas)
    shifts = [facts.shift] if facts.shift else []
    if k > 2:
        i = np.arange(1, k)
        sigma = np.exp(np.minimum(log_sigmas[1:], FAR))
        ones = np.ones(k - 1)
        a, shift = _fit_linear(1 / sigma, 1 / i, -ones)
        if 0.05 < shift < 100 and a > shift * (k - 1):
            shifts += [float(f"{shift:.3g}"), round(shift)]
            last = 1 - shift * (k - 1) / a
            times = shift_times(np.linspace(1, last, k), shift)
            yield Hypothesis(f"flow(shift={shift:.4g}, end={last:.4g})", logit(times), free=2)
        c, slope = _fit_linear(k / i / (1 + sigma), ones, 1 - i / k)
        if c > 0 and 0.05 < (shift := 1 + slope / c) < 100:
            times = shift_times(np.linspace(1, 1 / k, k), shift)
            terminal = sigma[-1] / (1 + sigma[-1])
            yield _stretch(f"flow(shift={shift:.4g}, end=1/n)", times, terminal, "", free=2)
    for shift in {*shifts} - {0, 1}:
        once = float(shift_times(1 / N_TRAIN, shift))
        twice = f"(last t {float(shift_times(once, shift)):.4g}, once: {once:.4g})"
        levels = logit(shift_times(np.linspace(1, once, k), shift))
        fault = f"shift {shift:.4g} is applied twice at its end {twice}"
        yield Hypothesis(f"flow(shift={shift:.4g}, end={once:.4g})", levels, fault)


def _fit_linear(weights: Array, *columns: Array) -> list[float]:
    """The numbers by which the sum of the columns, times the weights, is nearest to 1 at all levels."""
    matrix = np.stack(columns, axis=1) * weights[:, None]
    return np.linalg.lstsq(matrix, np.ones(len(weights)))[0].tolist()


def _times(k: int, n_steps: int, facts: Facts) -> Iterator[Hypothesis]:
    """Even times of a table of betas."""
    stated = facts.tables
    for betas, table in {**stated, **usual_tables(), **stated}.items():  # the config's first, also of the same name
        other = ""
        if stated and betas not in stated:
            other = f"its betas are {betas}, where its config has {next(iter(stated))}"
        for name, words, times, fault in _list_times(k, n_steps, len(table)):
            levels = np.interp(times, np.arange(len(table)), table)
            yield Hypothesis(f"{name}(betas={betas}){words}", levels, other or fault)


def _list_times(k: int, n_steps: int, n_table: int) -> Iterator[tuple[str, str, Array, str]]:
    """k falling times of a table: name, words after the betas, times, and what is wrong with them.

    They are m even times, or all of m even times but some at the end, or but the first one.
    """
    missing = "the {} level is missing: one step too few"
    cuts = {m: (0, f", the first {k} of {m}", "") for m in (k, n_steps, k + 1, n_steps + 1)}
    cuts |= {k: (0, "", ""), k + 1: (0, f", without the last of {k + 1}", missing.format("last"))}
    for m, (start, cut, fault) in [*cuts.items(), (k + 1, (1, ", without the first", missing.format("first")))]:
        for name, words, times in _even_times(m, n_table) if k <= m <= n_table else ():
            is_meant = name == "ddpm-linspace" and not start  # diffusers leaves out the last one
            if m == k + start or words != THEN_FIRST:
                yield name, words + cut, times[start : start + k], "" if is_meant else fault


def _even_times(m: int, n_table: int) -> Sequence[tuple[str, str, NDArray[Any]]]:
    """m falling times of a table: name, words after the betas, times."""
    even = np.linspace(0, n_table - 1, m)[::-1]
    leading = (np.arange(m) * (n_table // m))[::-1]
    cut = n_table - 1 - np.floor(np.linspace(0, n_table, m, endpoint=False))
    return (
        ("ddpm-leading", "", leading),
        ("ddpm-leading", ", one time later", np.minimum(leading + 1, n_table - 1)),
        ("ddpm-trailing", "", np.round(np.arange(n_table, 0, -n_table / m)) - 1),
        ("ddpm-trailing", ", cut to whole times", cut),
        ("ddpm-linspace", "", np.round(even)),
        ("ddpm-linspace", ", between whole times", even),
        ("ddpm-linspace", ", cut to whole times", np.floor(even)),
        ("ddpm-trailing", THEN_FIRST, np.append(np.round(np.linspace(n_table, 0, m)[:-1]) - 1, 0)),
    )


def _between_table_ends(k: int, facts: Facts) -> Iterator[Hypothesis]:
    """Other schedules between the ends of a table of betas, and the nearest whole times to their levels."""
    for betas, table in (facts.tables or usual_tables()).items():
        inside = table[np.isfinite(table)]
        for spelling, levels in _between(k, math.exp(inside[-1]), math.exp(inside[0]), list_forms()):
            spelling = f"{spelling[:-1]}, betas={betas})"
            times = np.round(np.interp(levels, inside, np.arange(len(inside))))
            whole = np.interp(times, np.arange(len(table)), table)
            error = _explain_rounding("levels are rounded to whole times", whole - levels)
            yield from (Hypothesis(spelling, levels), Hypothesis(f"{spelling}, in whole times", whole, error))


def list_forms() -> list[Form]:
    """The schedules between two ends, users' own included, with the options that are tried."""
    plain: list[Form] = [(name, {}) for name in SCHEDULES if name not in OWN_ENDS and name not in SOLVED]
    return [*plain, ("cosine", {"offset": 0.0}), *(("karras", {"rho": rho}) for rho in RHOS)]


def _between(k: int, sigma_max: float, sigma_min: float, forms: Sequence[Form]) -> Iterator[tuple[str, Array]]:
    """Schedules between two ends."""
    if not 0 < 1.01 * sigma_min < sigma_max < math.exp(FAR) or k < 3:
        return
    for name, options in forms:
        numbers = options | {"sigma_max": sigma_max, "sigma_min": sigma_min}
        spelling = ", ".join(f"{key}={value:.4g}" for key, value in numbers.items())
        yield f"{name}({spelling})", _levels_between(SCHEDULES[name], k, **numbers)


@lru_cache(16_384)
def _levels_between(schedule: Schedule, k: int, sigma_max: float, sigma_min: float, **options: float) -> Array:
    """(k,) log_sigma of one of our schedules; where it depends on the data's range, in the unit of the images."""
    unit = {"data_std": 1.0} if "data_std" in inspect.signature(schedule).parameters else {}
    return np.log(schedule(k - 1, sigma_max, sigma_min, **unit | options))


def _schedules_with_known_ends(log_sigmas: Array, facts: Facts) -> Iterator[Hypothesis]:
    """The Karras schedule of the config, or ours, and ours raised by churn (arXiv 2206.00364, Algorithm 2)."""
    if (k := len(log_sigmas)) < 2:
        return
    sigma_max, sigma_min, rho = facts.ends or (SIGMA_MAX, SIGMA_MIN, 7.0)
    levels = np.log(karras(k - 1, sigma_max, sigma_min, rho=rho))
    spelling = f"karras(rho={rho:g}, sigma_max={sigma_max:g}, sigma_min={sigma_min:g})"
    yield Hypothesis(spelling, levels)
    raised = log_sigmas - levels
    top = raised.max()
    n_raised = int((raised > LARGE).sum())
    if k > 3 and LARGE < top < math.log(2.5) and np.minimum(np.abs(raised), np.abs(raised - top)).max() < 1e-3:
        spelling = f"{spelling}, raised {math.exp(top):.4g} times at {n_raised} of {k} (churn)"
        yield Hypothesis(spelling, log_sigmas, free=1)


def _schedules_with_own_ends(log_sigmas: Array, facts: Facts) -> Iterator[Hypothesis]:
    """Schedules between the first and the last of the levels; rho is solved at the middle one."""
    k = len(log_sigmas)
    first, last = np.clip(log_sigmas[[0, -1]], -FAR, FAR).tolist()
    forms = list_forms()
    ends = (math.exp(first), math.exp(last))
    solved = [*_solve_rho(log_sigmas, *ends)] if k > 5 and first > last else []
    for at, (spelling, levels) in enumerate(_between(k, *ends, [*forms, *solved])):
        yield Hypothesis(spelling, levels, free=2 + (at >= len(forms)))
    if facts.expect:
        with suppress(ValueError):
            yield Hypothesis(facts.expect, make_levels(facts.expect, k, ends), free=2)


def _solve_rho(log_sigmas: Array, sigma_max: float, sigma_min: float) -> Iterator[Form]:
    """The schedules with a rho that goes through the middle level."""
    from scipy.optimize import brentq  # here: others need it not

    k = len(log_sigmas)
    for name, limits in SOLVED.items():

        def miss(rho: float, schedule: Schedule = SCHEDULES[name]) -> float:
            return float(_levels_between(schedule, k, sigma_max, sigma_min, rho=rho)[k // 2] - log_sigmas[k // 2])

        if miss(limits[0]) * miss(limits[1]) < 0:
            yield name, {"rho": brentq(miss, *limits)}


def parse(spelling: str) -> tuple[str, dict[str, float | str], str]:
    """Name, options and the words that follow: "flow", {"shift": 3.0, "end": "1/n"}, "stretched to 0.1".

    Raises:
        ValueError: a bracket is missing.
    """
    match = re.fullmatch(r"([^(,]*)(?:\((.*?)\))?(?:,(.*))?", spelling)
    if not match:
        raise ValueError(f"{spelling}: it must read like flow(shift=3, end=1/n)")
    name, inside, words = match.groups(default="")
    pairs = (option.partition("=") for option in re.split(r",(?=[^,]*=)", inside) if option)
    return name.strip(), {key.strip(): _read_value(value) for key, _, value in pairs}, words.strip()


def _read_value(text: str) -> float | str:
    """A number, or another text without spaces."""
    with suppress(ValueError):
        return float(text)
    return text.replace(" ", "")


def find_meant(names: Iterable[str], expect: str) -> list[str]:
    """The names that say all that `expect` says."""
    meant, asked, asked_words = parse(expect)
    asked.pop("data_std", None)
    if asked.get("end") == 0:  # a step to 0 follows
        del asked["end"]

    def is_meant(name: str) -> bool:
        found, options, words = parse(name)
        alike = all(_is_close(options.get(key, ""), value) for key, value in asked.items())
        return found == meant and alike and asked_words in ("", words)

    return [*filter(is_meant, names)]


def _is_close(value: Any, other: Any) -> bool:
    with suppress(TypeError):  # texts
        return math.isclose(value, other, rel_tol=1e-3)
    return bool(value == other)


def make_levels(spelling: str, k: int, ends: Sequence[float] = (SIGMA_MAX, SIGMA_MIN)) -> Array:
    """(k,) log_sigma of the schedule that is spelt as here, or as our commands spell it; "flow(shift=3)" is enough.

    `ends`: sigma_max and sigma_min, where the spelling leaves them out.

    Raises:
        ValueError: there is no such schedule with k levels.
    """
    name, options, words = parse(spelling)
    one_of("schedule", name, SCHEDULES)
    try:
        if name not in OWN_ENDS and "betas" not in options and not words:
            numbers = {key: float(value) for key, value in options.items() if key != "end"}
            return _levels_between(SCHEDULES[name], k, **{"sigma_max": ends[0], "sigma_min": ends[1], **numbers})
        shift, data_std = (float(options.get(key, 1)) for key in ("shift", "data_std"))
        end = options.get("end")
        last = end if isinstance(end, float) else 0
        terminal = float(words.removeprefix("stretched to ")) if words.startswith("stretched") else None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{spelling}: {error}") from None
    guess = logit(shift_times(np.linspace(1, last or 1 / k, k), shift))
    for hypothesis in list_hypotheses(guess, k, Facts(shift=shift, terminal=terminal)):
        if find_meant([hypothesis.spelling], spelling):
            return hypothesis.log_sigmas - math.log(data_std)
    raise ValueError(
        f"{spelling}: no schedule of {k} levels is spelt so; such are flow(shift=3, end=1/n), karras(rho=7)"
    )
