"""Runs a plan: every trial becomes a row, a failed trial too. Finished artifacts are never computed again.

An executor takes the remaining tasks, in an order in which they can run, and yields an outcome as each task ends. There
are two executors: `in_process` here, and one for Ray in ray_executor.py. The rest is the same for both.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from experiments.config.identity import identity
from experiments.config.trial import Row, Trial
from experiments.engine import failures, spot_checks
from experiments.engine.plan import Plan, Remaining
from experiments.engine.progress import Progress
from experiments.engine.tasks import STAGES, Outcome, RunContext, Task, run_task
from experiments.results.table import row
from experiments.store.store import StoreError
from reports.edge import INTERRUPT

Failed = Mapping[str, Outcome]  # by task name
Outcomes = Generator[Outcome, None, None]
Executor = Callable[[Sequence[Task], RunContext, Failed, Progress], Outcomes]


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep: one row per trial, in order. After an interrupt, unfinished trials have no row."""

    rows: list[Row]
    evaluations: float  # network evaluations made in this sweep, training included
    seconds: float
    interrupted: bool
    warnings: int  # number of warnings in the logs
    failed_probes: list[str]  # their errors; probes have no rows


def in_process(tasks: Sequence[Task], context: RunContext, failed: Failed, progress: Progress) -> Outcomes:
    """Runs one task after another in this process."""
    failed = dict(failed)
    for task in tasks:
        progress.begin(task)
        outcome = run_task(task, context, [failed[name] for name in task.needs if name in failed], progress.advance)
        if outcome.error is not None:
            failed[task.name] = outcome
        yield outcome


def execute(
    plan: Plan,
    context: RunContext,
    console: Console,
    *,
    executor: Executor = in_process,
    slots: int = 1,
    logs: Path | None = None,
    retry_failed: bool = False,
) -> SweepResult:
    """Runs the remaining tasks of a plan and returns one row per trial.

    Args:
        executor: runs the tasks.
        slots: number of tasks that it runs at a time.
        logs: folder of the log files, one per run, network, reference and probe. Existing files are appended to.
        retry_failed: also run tasks whose permanent failure is remembered (see failures.py).
    """
    start, store = time.perf_counter(), context.store

    def run(remaining: Remaining) -> _Run:
        return _run(remaining, context, console, executor, slots, logs)

    store.sweep_temporaries()  # left by runs that were killed
    runs = list(_spot_checks(plan, context, run, console))
    remaining = plan.remaining(store, retry_failed)
    if any(checked.interrupted for checked in runs):
        runs.append(_Run({}, {task.name for task in remaining.tasks}, True, 0.0, 0))
    else:
        runs.append(run(remaining))
    store.sweep_temporaries()  # left by workers that were lost
    unfinished = set().union(*(part.unfinished for part in runs))
    outcomes = {name: outcome for part in runs for name, outcome in part.outcomes.items() if name not in unfinished}
    failed = remaining.failed | {name: outcome for name, outcome in outcomes.items() if outcome.error is not None}
    rows = list(_rows(plan, context, unfinished, failed))
    probes = [
        f"probe {task.name}: {failed[task.name].error}" for task in remaining.tasks if _failed_probe(task, failed)
    ]
    return SweepResult(
        rows,
        sum(part.evaluations for part in runs),
        time.perf_counter() - start,
        any(part.interrupted for part in runs),
        sum(part.warnings for part in runs),
        probes,
    )


@dataclass(frozen=True)
class _Run:
    """The outcomes of some tasks by name, and what was not finished because of an interrupt."""

    outcomes: dict[str, Outcome]
    unfinished: set[str]
    interrupted: bool
    evaluations: float
    warnings: int


def _spot_checks(plan: Plan, context: RunContext, run: Callable[[Remaining], _Run], console: Console) -> Iterator[_Run]:
    """Checks a part of what is stored, and all of it if anything differs. What differs is named and removed."""
    for thorough in (False, True):
        tasks = spot_checks.due(plan, context.store, thorough=thorough)
        checked = run(Remaining(plan, tasks, {})) if tasks else _Run({}, set(), False, 0.0, 0)
        yield checked
        differing = [task for task in tasks if task.name in checked.outcomes and checked.outcomes[task.name].differs]
        for task in differing:
            why = f"{task.log}: {checked.outcomes[task.name].error}; it is computed again, and replaces what was stored"
            console.print(f"warning: {why}", style="yellow", soft_wrap=True)
            spot_checks.discard(task, plan, context.store)
        if not differing or checked.interrupted:
            return


def _run(
    remaining: Remaining, context: RunContext, console: Console, executor: Executor, slots: int, logs: Path | None
) -> _Run:
    """Runs the tasks that remain. Arguments as in `execute`."""
    todo, outcomes, interrupted = {task.name: task for task in remaining.tasks}, dict[str, Outcome](), False
    with Progress(remaining, console, slots) as progress:
        try:
            with closing(executor(remaining.tasks, context, remaining.failed, progress)) as ended:
                for outcome in ended:
                    task, outcomes[outcome.name] = todo.pop(outcome.name), outcome
                    with suppress(OSError, StoreError):  # a full disk must not stop the other tasks
                        _write_log(logs, task, outcome)
                        if outcome.permanent and task.kind != "checks":
                            failures.remember(task, outcome, context.store)
                    if outcome.error is None:
                        spot_checks.believe(task.name, context.store)
                    progress.finish(outcome)
                    if INTERRUPT.is_set():
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
    return _Run(outcomes, set(todo), interrupted, progress.evaluations, progress.warnings)


def _failed_probe(task: Task, failed: Failed) -> bool:
    """Whether a probe itself failed. If its network failed, rows show that already."""
    return task.kind == "probes" and task.name in failed and not any(name in failed for name in task.needs)


def _rows(plan: Plan, context: RunContext, unfinished: set[str], failed: Failed) -> Iterator[Row]:
    for trial in plan.trials:
        names = _artifacts(trial)
        if not unfinished.intersection(names):
            why = next((failed[name].error for name in names if name in failed), None)
            try:
                yield row(trial, context.store, why)
            except (StoreError, OSError) as error:  # damaged and removed since, or the store is unreachable
                yield row(trial, context.store, f"{type(error).__name__}: {error}; run the same command again")


def _artifacts(trial: Trial) -> tuple[str, ...]:
    return identity(trial.score), identity(trial.samples), *(identity(network) for network in trial.model.networks)


def _write_log(logs: Path | None, task: Task, outcome: Outcome) -> None:
    """Appends the outcome's log text to the task's log file."""
    if logs is None:
        return
    text = outcome.log or f"{STAGES[task.kind]} {task.name}: failed: {outcome.error}\n"
    with (logs / f"{task.log}.log").open("a") as file:
        file.write(text)
