"""From moments at several numbers of steps to a verdict: do the samples converge to the data, and how fast?

y(n) are the errors of mean and standard deviation after n steps, in standard deviations of the data. Along a chain
of n, 2n and 4n steps the order is p = log2 |y(n) - y(2n)| / |y(2n) - y(4n)|, and the limit is
y(4n) - (y(2n) - y(4n)) / (2^p - 1) (Richardson 1911, Aitken 1926). Another chain and another p, among them p = 1, give
another limit; it is as unsure as they differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from experiments.conformance.impulses import SampleMoments
from experiments.conformance.independence import Dependence
from experiments.conformance.levels import Levels
from experiments.conformance.oracle import Oracle

Array = np.ndarray
Chain = tuple[int, int, int]
Errors = dict[int, Array]  # of standard deviations, then of means, in the wide directions, by the number of steps
BUDGETS = (8, 10, 25, 28, 50, 60, 100, 125, 140, 200, 250, 280, 400, 500)
MORE = 1000  # steps that are tried where these do not decide
CHAINS: tuple[Chain, ...] = ((250, 500, 1000), (125, 250, 500), (50, 100, 200), (25, 50, 100))  # they divide 1,000
DRAWN_BUDGETS = (8, 28, 50, 100, 200)  # of Monte Carlo
EVERY = range(3, 42)  # steps that are compared with those next to them: what people use
RANDOM = (53, 145, 154)  # more steps, drawn once at random
SURPRISE = 0.02  # standard deviations from the curve; less may be rounded times, or methods that take steps in threes
TOLERANCE, DRAWN_TOLERANCE = 0.01, 0.03  # of the limit, in standard deviations; by impulses, by Monte Carlo
LEFT_OVER = 0.005  # standard deviation of noise that counts as left over
FALLING = 0.75  # of the noise that is left with half the steps: below it, more steps may leave none
CORRELATED = 0.01  # correlation of two directions that counts
NARROW = 0.1  # directions below it only show noise that is left over
ROUNDING = 1e-5  # differences below it may be rounding: diffusers computes in float32
SAME_ORDER = 0.5  # orders along two chains that differ by more are no order
LOST = 0.3  # by which an order may be measured too low: no sampler here is below by more than 0.15
LEVEL_STEPS = 28  # with which the levels are looked at
CERTAIN = 3.0  # standard errors

Outcome = Literal[
    "right", "wrong limit", "order lost", "irregular in the number of steps", "noise left over", "correlated pixels",
    "unlike its reference", "not decided", Dependence,
]  # fmt: skip
IRREGULAR: Outcome = "irregular in the number of steps"
REMEDY = "Try more steps (--budgets), or compare it with a --reference."
SHARED = "Does one random number serve several pixels?"
OFF_THE_CURVE = (
    "it converges along divisors of 1,000, but with {} steps it is {:.1f} % of a standard deviation away from that "
    "curve."
)


@dataclass(frozen=True)
class Verdict:
    """The verdict of `check` on a sampler.

    Args:
        outcome: "right" or what is wrong.
        order: of convergence of mean and standard deviation along the finest chain of steps that shows one; a small
            term of lower order may take over beyond it. None if it cannot be measured.
        ratios: standard deviation over the true one in the limit of many steps, per direction; NaN if narrow, or if it
            changes more with each doubling of the steps.
        mean_errors: error of the mean in that limit, in standard deviations of the data, per direction; NaN likewise.
        left_over: standard deviation of the noise that is left at the end, in that limit; None if not measured.
        moments: what was measured at each number of steps.
        method: "impulses", which are exact, or "Monte Carlo" with the reason.
        levels: that it visits with `LEVEL_STEPS` steps; None if it depends on more than its noise, or cannot take them.
        declared: the order that was declared, if any.
    """

    outcome: Outcome
    sentence: str
    order: float | None
    ratios: tuple[float, ...]
    mean_errors: tuple[float, ...]
    left_over: float | None
    moments: tuple[SampleMoments, ...]
    oracle: Oracle
    method: str
    levels: Levels | None = None
    declared: int | None = None

    @property
    def right(self) -> bool:
        return self.outcome == "right"

    def becomes(self, outcome: Outcome, text: str) -> "Verdict":
        """Returns the same measurements with another verdict."""
        return replace(self, outcome=outcome, sentence=f"{outcome}: {text}")


@dataclass(frozen=True)
class _ConvergenceFit:
    """The errors of standard deviations and means in the wide directions, and their limit."""

    errors: Errors
    stds: Array  # of the data in these directions
    chains: list[Chain]
    order: float | None
    along: Chain  # that shows the order
    limit: Array
    unsure: Array
    bound: Array  # of the error of the limit: as above, or less where the differences shrink three times
    left_over: float | None
    exact: bool

    @property
    def diverging(self) -> Array:
        """Which errors, measured exactly, the second doubling of the steps changes more than the first, and much."""
        low, middle, high = (self.errors[n] for n in self.chains[0])
        return self.exact & (np.abs(middle - high) > np.maximum(np.abs(low - middle), TOLERANCE))


def find_verdict(
    moments: Sequence[SampleMoments], oracle: Oracle, order: int | None, method: str, exact: bool
) -> Verdict:
    """The verdict on what was measured. `order` is the declared order, if any. ValueError without a chain of steps."""
    wide = oracle.true_stds.numpy() > NARROW
    errors = _errors(moments, oracle)
    chains = [chain for chain in CHAINS if {*chain} <= {*errors}]
    if not chains:
        allowed = " or ".join(" ".join(map(str, chain)) for chain in CHAINS[::-1])
        raise ValueError(f"budgets={[*errors]}: they need N, 2N and 4N steps: {allowed}")
    unknown = (math.nan,) * len(wide)
    verdict = Verdict("not decided", "", None, unknown, unknown, None, tuple(moments), oracle, method, declared=order)
    not_finite = [n for n, values in errors.items() if not np.isfinite(values).all()]
    if {*not_finite} & {*chains[0]}:
        return verdict.becomes("wrong limit", f"with {min(not_finite)} steps its samples are not finite.")
    fit = _fit(errors, chains, moments, oracle, order, exact)
    outcome, text = _find_outcome(fit, order)
    linked = max(moments, key=lambda measured: measured.correlation)
    if linked.correlation > CORRELATED and outcome not in ("wrong limit", "noise left over"):
        shown = f"with {linked.n_steps} steps two directions of its samples have a correlation of"
        outcome = "correlated pixels"
        text = f"{shown} {linked.correlation:.2f}; those of the data have none. {SHARED}"
    known = np.full((2, len(wide)), math.nan)
    known[:, wide] = np.where(fit.diverging, math.nan, fit.limit).reshape(2, -1)
    ratios, means = known.tolist()
    return replace(
        verdict.becomes(outcome, text), order=fit.order, ratios=tuple(1 + ratio for ratio in ratios),
        mean_errors=tuple(means), left_over=fit.left_over,
    )  # fmt: skip


def _fit(
    errors: Errors, chains: list[Chain], moments: Sequence[SampleMoments], oracle: Oracle, order: int | None,
    exact: bool,
) -> _ConvergenceFit:  # fmt: skip
    """The fit. `order` is the declared one, which counts where none can be measured."""
    stds = oracle.true_stds.numpy()
    wide = stds > NARROW
    if exact:
        measured_order, along = _order(errors, chains)
        limit, unsure = _extrapolate(errors, chains, measured_order or order or 1)
        bound = np.minimum(unsure, _shrinking(errors, chains))
        left = None if wide.all() else _left_over(_extra_variance(moments, oracle), chains[0])
        return _ConvergenceFit(errors, stds[wide], chains, measured_order, along, limit, unsure, bound, left, exact)
    _, middle, high = chains[0]  # Monte Carlo: 2 y(4n) - y(2n), for order 1
    standard_errors = [np.concatenate([measured.std_error[wide], measured.mean_error[wide]]) for measured in moments]
    unsure = CERTAIN * math.sqrt(5) * np.max(standard_errors, axis=0) / np.tile(stds[wide], 2)
    limit = 2 * errors[high] - errors[middle]
    return _ConvergenceFit(errors, stds[wide], chains, None, chains[0], limit, unsure, unsure, None, exact)


def _errors(moments: Sequence[SampleMoments], oracle: Oracle) -> Errors:
    stds = oracle.true_stds.numpy()
    wide = stds > NARROW
    true = stds[wide]
    return {
        measured.n_steps: np.concatenate([measured.std[wide] / true - 1, (measured.mean[wide] - oracle.mean) / true])
        for measured in moments
    }


def _order(errors: Errors, chains: Sequence[Chain]) -> tuple[float | None, Chain]:
    """The order along the finest chain that is beyond rounding, unless the next coarser one says something else."""
    orders = [(order, chain) for chain in chains if (order := _order_along(errors, chain)) is not None]
    if not orders or abs(orders[0][0] - orders[min(1, len(orders) - 1)][0]) > SAME_ORDER:
        return None, chains[0]
    return orders[0]


def _order_along(errors: Errors, chain: Chain) -> float | None:
    low, middle, high = (errors[n] for n in chain)
    first, second = np.abs(low - middle).max(), np.abs(middle - high).max()
    return math.log2(first / second) if first > second > ROUNDING else None


def _extrapolate(errors: Errors, chains: Sequence[Chain], order: float) -> tuple[Array, Array]:
    """The errors in the limit of many steps, and how unsure they are."""
    limits = []
    for chain in chains[:2]:
        difference = errors[chain[1]] - errors[chain[2]]
        power = _order_along(errors, chain) or order
        powers = (power, max(round(power), 1), 1.0) if chain is chains[0] else (power,)
        limits += [errors[chain[2]] - difference / (2 ** max(p, 0.5) - 1) for p in powers]
    return limits[0], np.abs(np.subtract(limits[0], limits)).max(axis=0)


def _shrinking(errors: Errors, chains: Sequence[Chain]) -> Array:
    """Twice the last difference of the errors where three differences shrink with each doubling, else infinity."""
    low, middle, _ = chains[0]
    if low % 2 or low // 2 not in errors:
        return np.full_like(errors[low], math.inf)
    first, second, third = (np.abs(errors[n] - errors[2 * n]) for n in (low // 2, low, middle))
    return np.where((first > second) & (second > third), 2 * third, math.inf)


def is_falling(verdict: Verdict) -> bool:
    """Whether the noise that is left over falls so fast with the steps that more steps may leave none."""
    extra = _extra_variance(verdict.moments, verdict.oracle)
    left = [math.sqrt(max(extra[n], 0)) for n in (250, 500) if n in extra]
    return verdict.outcome == "noise left over" and len(left) == 2 and left[1] < FALLING * left[0]


def _extra_variance(moments: Sequence[SampleMoments], oracle: Oracle) -> dict[int, float]:
    """Variance beyond that of the data in its narrowest direction, by the number of steps."""
    narrow = int(np.argmin(oracle.stds))
    return {measured.n_steps: float(measured.std[narrow] ** 2 - oracle.stds[narrow] ** 2) for measured in moments}


def _left_over(extra: dict[int, float], chain: Chain) -> float:
    """Standard deviation of the noise at the end in the limit of many steps, from `_extra_variance`."""
    low, middle, high = (extra[n] for n in chain)
    first, second = low - middle, middle - high
    shrink = second / first if 0 < second < first else 0.0
    return math.sqrt(max(high - second * shrink / (1 - shrink), 0.0))


def _find_outcome(fit: _ConvergenceFit, order: int | None) -> tuple[Outcome, str]:
    """Names the worst fault, or "not decided" or "right", and says what shows it."""
    tolerance = TOLERANCE if fit.exact else DRAWN_TOLERANCE
    left = fit.left_over or 0.0
    added = np.zeros_like(fit.limit)  # what noise that is left over adds
    added[: len(fit.stds)] = np.sqrt(1 + (left / fit.stds) ** 2) - 1
    if left > LEFT_OVER and (np.abs(fit.limit - added) <= tolerance + fit.unsure).all():
        return "noise left over", f"its samples end with noise of standard deviation {left:.3g}."
    if (np.abs(fit.limit) - fit.unsure > tolerance).any():
        return "wrong limit", _wrong_limit(fit, int(np.abs(fit.limit).argmax()))
    if fit.exact and (outlier := _off_curve(fit.errors, fit.order)):
        steps, gap = outlier
        return IRREGULAR, OFF_THE_CURVE.format(steps, 100 * gap)
    worst = int((np.abs(fit.limit) + fit.bound).argmax())
    off = abs(fit.limit[worst])
    unsure = fit.bound[worst]
    if off + unsure > tolerance:
        bounds = f"{100 * off:.1f} % of a standard deviation from the data, give or take {100 * unsure:.1f} %"
        return "not decided", f"its limit is {bounds}; more {'steps' if fit.exact else 'samples'} would decide."
    if order is not None and fit.order is not None and fit.order < order - LOST:
        return "order lost", f"its limit is right, but its order is {fit.order:.1f} instead of {order}."
    _, more, most = fit.chains[0]
    if order is not None and fit.order is None and np.abs(fit.errors[more] - fit.errors[most]).max() > ROUNDING:
        return "not decided", f"its limit is right, but whether its order is {order} cannot be measured. {REMEDY}"
    return "right", _describe_right(fit, order)


def _describe_right(fit: _ConvergenceFit, order: int | None) -> str:
    """How fast it converges, how far it is with about 28 steps, and what shows the order."""
    few = min(fit.errors, key=lambda n: (abs(n - LEVEL_STEPS), n))
    error = max(fit.errors[few][: len(fit.stds)].tolist(), key=abs)
    per_cent = 100 * abs(error)
    far = "right to within 0.1 %"
    if per_cent > 0.1:
        far = f"still {float(f'{per_cent:.2g}'):g} % too {'narrow' if error < 0 else 'wide'}"
    size = f"Its limit is right to within {100 * max(np.abs(fit.limit).max(), 1e-3):.1f} %."
    if fit.order is None:
        return f"it converges; with {few} steps it is {far}. {size}"
    low, _, high = fit.along
    declared = " (none was declared)" if order is None else ""
    shown = f"The order holds from {low} to {high:,} steps{declared}."
    return f"it converges with order {fit.order:.1f}; with {few} steps it is {far}. {size} {shown}"


def _wrong_limit(fit: _ConvergenceFit, at: int) -> str:
    is_mean, direction = divmod(at, len(fit.stds))
    where = f"where the data's is {fit.stds[direction]:.3g}"
    value = fit.limit[at]
    if not is_mean and fit.diverging[at]:
        ratios = ", ".join(f"{1 + fit.errors[n][at]:.3f}" for n in fit.chains[0])
        steps = ", ".join(map(str, fit.chains[0]))
        return f"it shows no limit. With {steps} steps its standard deviation is {ratios} of the true one, {where}."
    if not is_mean:
        return f"with more steps its standard deviation tends to {1 + value:.3f} of the true one, {where}."
    hint = " Does it start at too low a noise level?" if np.abs(fit.limit[: len(fit.stds)]).max() < TOLERANCE else ""
    return f"with more steps its mean is off by {value:.3f} standard deviations, {where}.{hint}"


def find_irregular(verdict: Verdict, others: Sequence[SampleMoments]) -> Verdict:
    """The verdict, or "irregular in the number of steps" if one of `others` is far from those next to it."""
    usual, new = (_errors(moments, verdict.oracle) for moments in (verdict.moments, others))
    far = {n: errors for n, errors in new.items() if n not in EVERY}
    if broken := [n for n, errors in new.items() if n > min(EVERY) and not np.isfinite(errors).all()]:
        steps = broken[0]
        text = f"with {broken[0]} steps its samples are not finite."
    elif outlier := _outlier({n: errors for n, errors in new.items() if np.isfinite(errors).all()}):
        steps, gap = outlier
        text = f"with {steps} steps it is {100 * gap:.1f} % of a standard deviation from its neighbours."
    elif (outlier := _off_curve(usual | far, verdict.order)) and outlier[1] > SURPRISE:
        steps, gap = outlier
        text = OFF_THE_CURVE.format(steps, 100 * gap)
    else:
        return verdict
    added = [measured for measured in others if measured.n_steps == steps and steps not in usual]
    moments = sorted([*verdict.moments, *added], key=lambda measured: measured.n_steps)
    return replace(verdict.becomes(IRREGULAR, text), moments=tuple(moments))


def _outlier(errors: Errors) -> tuple[int, float] | None:
    """The number of steps that is farthest from the line in 1 / n between those next to it, if it alone is far.

    No published sampler is beyond 0.7 of this bound; a change by 10 % at 15 or more steps is beyond it for nearly all.
    """
    inside = [n for n in EVERY if {n - 1, n, n + 1} <= errors.keys()]
    lines = {n: ((n - 1) * errors[n - 1] + (n + 1) * errors[n + 1]) / (2 * n) for n in inside}
    gaps = {n: float(np.abs(errors[n] - lines[n]).max()) for n in inside}
    over = {}
    for n, gap in gaps.items():
        around = [gaps[m] * max(m / n, 1) ** 2 for m in range(n - 5, n + 6) if abs(m - n) > 1 and m in gaps]
        alone = all(gaps.get(m, math.inf) > gap / 4 for m in (n - 1, n + 1))  # not the first after a change of method
        bound = TOLERANCE + 1.5 * max(around, default=math.inf) + np.abs(errors[n - 1] - errors[n + 1]).max() / 2
        if alone and gap > bound:
            over[n] = gap / bound
    return (worst := max(over, key=over.__getitem__), gaps[worst]) if over else None


def _off_curve(errors: Errors, order: float | None) -> tuple[int, float] | None:
    """The number of steps that is farthest from a smooth curve through the divisors of 1,000, if it is far."""
    power = order or 1.0
    far = {}
    regular = [n for n in errors if 1000 % n == 0]
    for n in (n for n in errors if 1000 % n and min(regular) < n < max(regular) and n > 25):
        below, above = max(m for m in regular if m < n), min(m for m in regular if m > n)
        share = (n**-power - above**-power) / (below**-power - above**-power)
        gap = float(np.abs(errors[n] - share * errors[below] - (1 - share) * errors[above]).max())
        if gap > 0.003 + np.abs(errors[below] - errors[above]).max() / 2:
            far[n] = gap
    return max(far.items(), key=lambda item: item[1], default=None)
