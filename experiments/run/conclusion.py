"""The last screen of a run on the terminal: the question, the verdict, the large numbers, and where the report lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reports.document import Opening
from reports.render import read_opening

WORKS = "Everything works. So small a run shows only that: read its numbers as examples."


def show(report: Path, place: str, works: bool, console: Console) -> None:
    """Prints the first screen of a report: a panel on a terminal, plain lines elsewhere.

    Args:
        place: the path of the report, as it is shown.
        works: whether a run that asked only whether everything works has succeeded. Then it says so first.
    """
    run, opening = read_opening(report.parent)
    if console.is_terminal:
        where = Text(place, f"bold link {report.as_uri()}")
        console.print(_panel(run.info["question"], works, opening, where), soft_wrap=False)
        return
    if works:
        console.print(WORKS)
    for warning in opening.warnings:
        console.print(f"warning: {warning}")
    console.print(f"verdict: {opening.answer}")
    for number in opening.numbers:
        notes = f" ({'; '.join(number.notes)})" if number.notes else ""
        console.print(f"  {number.word}: {number.value}{notes}")
    console.print(f"report: {place}", style="bold")


def show_failures(rows: Sequence[Mapping[str, Any]], logs: Path, console: Console) -> None:
    """Prints what failed, one line per setting and message, with the log that has the traceback, and what to do."""
    broken: dict[tuple[str, str], dict[str, None]] = {}  # (group and setting, message) -> runs
    for row in rows:
        if row["status"] == "failed":
            broken.setdefault((f"{row['mode']}: {row['setting']}", row["error"]), {})[row["run_id"]] = None
    for (name, message), runs in broken.items():
        count = f" ({len(runs)} runs)" if len(runs) > 1 else ""
        log = logs / f"{next(iter(runs))}.log"
        where = f"; traceback: {log}" if log.is_file() else ""
        console.print(Text(f"failed: {name}{count}: {message}{where}", "red"))
    if broken:
        text = "to do: repair the cause, then give the same command again; what is finished is not computed again"
        console.print(Text(text, "bold"))


def _panel(question: str, works: bool, opening: Opening, place: Text) -> Panel:
    doubtful = opening.warnings and not works
    numbers = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    numbers.add_column()
    numbers.add_column(justify="right", style="bold")
    numbers.add_column()
    for number in opening.numbers:
        numbers.add_row(Text(number.word), Text(number.value), Text("; ".join(number.notes)))
    lead = (f"{opening.lead} " if opening.lead else "", "bold" if opening.warnings else "bold green")
    verdict = Text.assemble(lead, (opening.verdict, "bold"))
    parts = [(f"{name}:", text) for name, text in opening.lines]
    lines = [Text.assemble((f"{name} ", "bold"), text) for name, text in parts]
    where = Text.assemble("report: ", place, overflow="fold")
    warnings = [Text(WORKS, "bold green")] if works else []
    warnings += [Text(warning, "bold white on red" if doubtful else "") for warning in opening.warnings]
    status = Text(" · ".join(opening.status), "dim")
    body = Group(*warnings, verdict, *lines, numbers, status, where)
    return Panel(
        body, title=Text(question), title_align="left", border_style="red" if doubtful else "blue", padding=(1, 2)
    )
