"""Runs a plan: every trial becomes a row, a failed trial too. Finished artifacts are never computed again.

An executor takes the remaining tasks, in an order in which they can run, and yields an outcome as each task ends. There
are two executors: `in_process` here, and one for Ray in ray_executor.py. The rest is the same for both.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from experiments.config.identity import identity
from experiments.config.trial import Row
from experiments.engine import spot_checks
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
    failed: dict[str, Outcome] | None = None,
) -> SweepResult:
    """Runs the remaining tasks of a plan and returns one row per trial.

    Args:
        executor: runs the tasks.
        slots: number of tasks that it runs at a time.
        logs: folder of the log files, one per run, network, reference and probe. Existing files are appended to.
        failed: tasks of this command that failed before, by name. They are not tried again; those of now are added.
    """
    start, store = time.perf_counter(), context.store
    failed = {} if failed is None else failed
    sweep = _Sweep(context, console, executor, slots, logs, failed)
    store.sweep_temporaries()  # left by runs that were killed
    sweep.check(plan)
    if any(outcome.found for outcome in sweep.run(plan.remaining(store, failed)).values()):  # checked as stored ones
        sweep.check(plan)
        sweep.run(plan.remaining(store, failed))
    store.sweep_temporaries()  # left by workers that were lost
    rows = list(_rows(plan, context, sweep.unfinished, failed))
    probes = [
        f"probe {task.name}: {failed[task.name].error}"
        for task in plan.tasks  # if the network of a probe failed, rows show that already
        if task.kind == "probes" and task.name in failed and failed.keys().isdisjoint(task.needs)
    ]
    seconds = time.perf_counter() - start
    return SweepResult(rows, sweep.evaluations, seconds, sweep.interrupted, sweep.warnings, probes)


@dataclass
class _Sweep:
    """What a sweep has run so far. Arguments as in `execute`."""

    context: RunContext
    console: Console
    executor: Executor
    slots: int
    logs: Path | None
    failed: dict[str, Outcome]
    unfinished: set[str] = field(default_factory=set)  # names of tasks that an interrupt left
    interrupted: bool = False
    evaluations: float = 0.0
    warnings: int = 0

    def check(self, plan: Plan) -> None:
        """Checks a part of what is stored, and all of it if anything differs. What differs is named and removed."""
        store = self.context.store
        for thorough in (False, True):
            tasks = spot_checks.due(plan, store, thorough=thorough)
            outcomes = self.run(Remaining(plan, tasks))
            differing = [task for task in tasks if task.name in outcomes and outcomes[task.name].differs]
            for task in differing:
                why = f"{task.log}: {outcomes[task.name].error}; it is computed again, and replaces what was stored"
                self.console.print(f"warning: {why}", style="yellow", soft_wrap=True)
                spot_checks.discard(task, plan, store)
                for name in outcomes:  # what needed it is checked or made again
                    self.failed.pop(name, None)
            if not differing or self.interrupted:
                return

    def run(self, remaining: Remaining) -> dict[str, Outcome]:
        """Runs the tasks that remain, unless there was an interrupt before. Returns their outcomes by name."""
        todo, outcomes = {task.name: task for task in remaining.tasks}, dict[str, Outcome]()
        if todo and not self.interrupted:
            with Progress(remaining, self.console, self.slots) as progress:
                try:
                    with closing(self.executor(remaining.tasks, self.context, self.failed, progress)) as ended:
                        for outcome in ended:
                            outcomes[outcome.name] = outcome
                            self._note(todo.pop(outcome.name), outcome)
                            progress.finish(outcome)
                            if INTERRUPT.is_set():
                                raise KeyboardInterrupt
                except KeyboardInterrupt:
                    self.interrupted = True
            self.evaluations += progress.evaluations
            self.warnings += progress.warnings
        for name, outcome in outcomes.items():
            self.failed.pop(name, None)
            if outcome.error is not None and not outcome.differs:
                self.failed[name] = outcome
        self.unfinished |= set(todo)
        return outcomes

    def _note(self, task: Task, outcome: Outcome) -> None:
        """Appends the log text of an outcome to the task's log file."""
        with suppress(OSError, StoreError):  # a full disk must not stop the other tasks
            if self.logs is not None:
                text = outcome.log or f"{STAGES[task.kind]} {task.name}: failed: {outcome.error}\n"
                with (self.logs / f"{task.log}.log").open("a") as file:
                    file.write(text)
        if outcome.error is None and not outcome.found:
            spot_checks.believe(task.name, self.context.store)


def _rows(plan: Plan, context: RunContext, unfinished: set[str], failed: Failed) -> Iterator[Row]:
    for trial in plan.trials:
        names = [identity(config) for config in (trial.score, trial.samples, *trial.model.networks)]
        if not unfinished.intersection(names):
            why = next((failed[name].error for name in names if name in failed), None)
            try:
                yield row(trial, context.store, why)
            except (StoreError, OSError) as error:  # damaged and removed since, or the store is unreachable
                yield row(trial, context.store, f"{type(error).__name__}: {error}; run the same command again")
