"""What the terminal shows of an experiment: notes, what was chosen, each network, the verdict, and what failed."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from experiments.console import Terminal
from experiments.run.options import Options
from experiments.run.pairs import Pair
from experiments.run.result_folder import StudyResult, command, print_failures, print_page
from experiments.run.runner import Failed
from experiments.run.runs import Run
from reports.schema import DEFAULT, Row

SOON = 20.0  # seconds between lines that say what a network has scored


def print_notes(console: Terminal, notes: Iterable[str], warnings: Iterable[str]) -> None:
    for word, texts in (("note", notes), ("warning", warnings)):
        for text in texts:
            console.print(f"{word}: {text}", style="yellow")


def print_choices(rows: Iterable[Row], console: Terminal) -> None:
    """Prints what explorers chose, from the rows of choices.csv."""
    for row in rows:
        if row["chosen"] and row["reason"] != DEFAULT:
            where = f"{row['budget']} evaluations, " if row["budget"] else ""
            console.print(f"chosen: {where}{row['kind']}: {row['setting']} ({row['reason']})")


@dataclass
class NetworkLines:
    """Prints after each network but the last what it scored: FD of both sides of the first pair.

    `load`: the scores of a run; None if it failed.
    """

    console: Terminal
    runs: Sequence[Run]
    pairs: Sequence[Pair]
    load: Callable[[Run], Row | None]
    last: float = field(default_factory=time.time)

    def __call__(self, done: Sequence[Run], failed: Failed) -> None:
        n, planned = (len({run.network.seed for run in runs if not run.impossible}) for runs in (done, self.runs))
        if n == planned or time.time() - self.last < SOON:
            return
        text = f"{n} of {planned} networks done"
        last = {run.setting.key: run for run in done if run.network.seed == done[-1].network.seed}
        keys = [side[0] for pair in self.pairs[:1] for side in pair.sides[::-1]]
        scores = [(key[2], self.load(last[key])) for key in keys if key in last]
        shown = [f"{score['fd']:.1f} with {label}" for label, score in scores if score]
        if len(shown) == 2:
            text += f"; FD {', '.join(shown)}"
        self.console.print(f"{text}; no verdict before all {planned}")
        self.last = time.time()


def print_result(
    result: StudyResult, experiment: str, options: Options, planned: int, done: Row, console: Terminal
) -> None:
    """Prints the verdict, where the result lies, how to continue, and what failed; for machines, a line of JSON.

    Args:
        planned: the number of runs.
        done: the seconds and evaluations that it took, for the line of JSON.
    """
    rows = result.rows
    page = result.page
    table, report = (options.relative(result.folder / name) for name in ("table.csv", "report.html"))
    failed = sum(row["status"] == "failed" for row in rows)
    console.print(f"{len(rows)} rows, {failed} failed: {table}")
    if page:
        smoke = not failed and options.preset == "smoke"
        print_page(page, result.folder / "report.html", report, smoke, console)
    else:
        console.print(f"interrupted, {planned - len(rows)} of {planned} runs left. To go on: {command()}")
    print_failures(rows, result.folder / "logs", console)
    if options.json or not (console.is_terminal or options.quiet):
        out = {"experiment": experiment, "rows": len(rows), "failed": failed, "table": table}
        out |= {"interrupted": result.interrupted, "verdict": page and page.headline, "report": page and report}
        print(json.dumps(out | done), flush=True)
