"""Runs an experiment look by look: the primary contrast gets more images until it is settled (metrics/looks.py)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from experiments.config.comparison import Comparison, Contrast, Looks
from experiments.config.trial import Row, Trial
from experiments.engine.executor import SweepResult
from experiments.engine.plan import Plan
from experiments.results.looks import contrast_at, look_rows
from experiments.store.store import Store


@dataclass(frozen=True)
class Looked:
    """The plan and the result of the last look, the comparisons of that look, and the rows of looks.csv or race.csv."""

    plan: Plan
    result: SweepResult
    comparisons: tuple[Comparison, ...]
    rows: list[Row]


def look_by_look(
    plan: Plan, looks: Looks | None, run: Callable[[Plan], SweepResult], store: Store, console: Console
) -> Looked:
    """Runs a plan. With `looks`, goes on with more images of the primary contrast and its control until it is settled.

    A look after a failed or interrupted run would compare fewer networks, so there is none.
    """
    result = run(plan)
    if looks is None:
        return Looked(plan, result, (), [])
    if not set(looks.trials(0)) <= set(plan.trials):  # a part was asked for
        return Looked(plan, result, (looks.contrasts[0], looks.controls[0]), [])
    first, taken, scored = plan, list[Contrast](), list[Row]()
    for look, size in enumerate(looks.sizes):
        if look > 0:
            console.print(
                f"the primary contrast is not settled at {looks.sizes[look - 1]:,} images per network: on to {size:,}",
                soft_wrap=True,
            )
            plan = _at(first, looks, look)
            result = added(result, run(plan))
        if result.interrupted:
            break
        scored += result.rows
        taken.append(contrast_at(looks, look, result.rows, store))
        if taken[-1].stop is None or taken[-1].stop.why:
            break
    if not taken:
        return Looked(plan, result, (), [])
    last = (taken[-1], looks.controls[len(taken) - 1])
    return Looked(plan, result, last, look_rows(taken, scored, store))


def _at(first: Plan, looks: Looks, look: int) -> Plan:
    """The plan with the trials of a look in place of those of the first look."""
    instead: dict[Trial, Trial] = dict(zip(looks.trials(0), looks.trials(look), strict=True))
    trials: Sequence[Trial] = [instead.get(trial, trial) for trial in first.trials]
    probes = [task.config for task in first.tasks if task.kind == "probes"]
    return Plan.of(trials, probes)


def added(before: SweepResult, now: SweepResult) -> SweepResult:
    """The result of the last look, with the cost and the warnings of all looks."""
    return replace(
        now,
        evaluations=before.evaluations + now.evaluations,
        seconds=before.seconds + now.seconds,
        warnings=before.warnings + now.warnings,
    )
