"""The progress of a sweep: one live line on a terminal, elsewhere a plain line every few seconds."""

import time
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from experiments.engine.plan import Plan, Remaining
from experiments.engine.tasks import STAGES, Outcome, Task
from reports.formats import duration
from reports.terminal import is_live, said

WIDTH = 12  # of the bar; texts have the rest of the line


class Progress:
    """Counts tasks (trainings, samplings, scorings) and network evaluations, and shows both.

    Args:
        remaining: the tasks to run.
        slots: largest number of tasks that run at a time.
    """

    def __init__(self, remaining: Remaining, console: Console, slots: int = 1) -> None:
        self.total, self.cost, self.console, self.slots = len(remaining.tasks), remaining.cost, console, slots
        self.done = self.failed = self.begun = self.warnings = 0
        self.evaluations = 0.0  # made, training included
        self.doing, self.words = "", in_words(remaining.plan)
        self.start = time.monotonic()
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        text = TextColumn("{task.description}", markup=False, table_column=rest)
        columns = (
            BarColumn(WIDTH, table_column=Column(min_width=WIDTH)),
            TextColumn("{task.percentage:>3.0f} %"),
            text,
        )
        self.live = is_live(console)
        self.bar = Bar(*columns, console=console, disable=not self.live, expand=True)
        self.shown = ExitStack()
        self.line = self.bar.add_task("", total=self.cost or 1)

    def __enter__(self) -> "Progress":
        self.shown.enter_context(self.bar)
        if self.total and not self.live:
            self.shown.enter_context(said(self.console, self.text))
        return self

    def __exit__(self, *error: object) -> None:
        self.shown.close()

    def begin(self, task: Task) -> None:
        """Notes that a task was handed over to run."""
        self.begun += 1
        self.doing = self.words.get(task.name, f"{STAGES[task.kind]} {task.name}")
        self.tick()

    def advance(self, evaluations: float) -> None:
        """Adds network evaluations that were made. A negative number takes back evaluations that must be repeated."""
        self.evaluations += evaluations
        self.tick()

    def finish(self, outcome: Outcome) -> None:
        """Notes that a task is done or failed."""
        self.done += outcome.error is None
        self.failed += outcome.error is not None
        self.warnings += outcome.warnings
        self.tick()

    def tick(self) -> None:
        """Updates the live line."""
        if self.live:
            self.bar.update(self.line, completed=self.evaluations, description=self.text())

    def text(self) -> str:
        """The line that is shown. What matters least comes last, where a narrow terminal cuts it off."""
        running = min(self.begun - self.done - self.failed, self.slots)
        rate = self.evaluations / max(time.monotonic() - self.start, 1e-9)
        parts = {
            f"{self.done} of {self.total} done": True,
            f"{self.failed} failed": self.failed,
            f"{running} running": running > 1,
            f"{duration(max(self.cost - self.evaluations, 0) / max(rate, 1))} to go": rate >= 1,
            self.doing: running == 1,
            f"{rate:,.0f} evaluations/s": rate >= 1,
        }
        return "; ".join(text for text, is_said in parts.items() if is_said)


def in_words(plan: Plan) -> dict[str, str]:
    """Task -> what it does, for instance "sampling: network 2 of 2, eta 1, 66 steps"."""
    networks = {model: at for at, model in enumerate(dict.fromkeys(trial.model for trial in plan.trials), start=1)}
    what: dict[Any, str] = {model: f"network {at} of {len(networks)}" for model, at in networks.items()}
    for trial in plan.trials:
        steps = len(trial.samples.ladder.sigmas()) - 1
        setting = ", ".join(filter(None, (what[trial.model], trial.setting, f"{steps} step{'s' * (steps != 1)}")))
        what.setdefault(trial.samples, setting)
        what.setdefault(trial.score, setting)
    return {task.name: f"{STAGES[task.kind]}: {what[task.config]}" for task in plan.tasks if task.config in what}
