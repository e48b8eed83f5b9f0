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


def show(report: Path, console: Console) -> None:
    """Prints the first screen of a report: a panel on a terminal, plain lines elsewhere."""
    run, opening = read_opening(report.parent)
    if console.is_terminal:
        console.print(_panel(run.info["question"], opening, report))
        return
    for warning in opening.warnings:
        console.print(f"warning: {warning}", soft_wrap=True, highlight=False)
    console.print(f"verdict: {opening.answer}", soft_wrap=True, highlight=False)
    for one in opening.numbers:
        notes = f" ({'; '.join(one.notes)})" if one.notes else ""
        console.print(f"  {one.word}: {one.value}{notes}", soft_wrap=True, highlight=False)
    console.print(f"report: {report}", style="bold", soft_wrap=True)


def show_failures(rows: Sequence[Mapping[str, Any]], probes: Sequence[str], logs: Path, console: Console) -> None:
    """Prints what failed, one line per setting and message, with the log that has the traceback, and what to do.

    Args:
        rows: rows of table.csv.
        probes: the messages of probes that failed.
    """
    broken: dict[tuple[str, str], dict[str, None]] = {}  # (mode and setting, message) -> runs
    for row in rows:
        if row["status"] == "failed":
            broken.setdefault((f"{row['mode']}: {row['setting']}", row["error"]), {})[row["run_id"]] = None
    for (name, message), runs in broken.items():
        count = f" ({len(runs)} runs)" if len(runs) > 1 else ""
        log = logs / f"{next(iter(runs))}.log"
        where = f"; traceback: {log}" if log.is_file() else ""
        console.print(Text(f"failed: {name}{count}: {message}{where}", "red"), soft_wrap=True)
    for message in dict.fromkeys(probes):
        console.print(Text(f"failed: {message}; logs: {logs}", "red"), soft_wrap=True)
    if broken or probes:
        text = "to do: repair the cause, then give the same command again; what is finished is not computed again"
        console.print(Text(text, "bold"), soft_wrap=True)


def _panel(question: str, opening: Opening, report: Path) -> Panel:
    numbers = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    numbers.add_column()
    numbers.add_column(justify="right", style="bold")
    numbers.add_column()
    for one in opening.numbers:
        numbers.add_row(Text(one.word), Text(one.value), Text("; ".join(one.notes)))
    verdict = Text.assemble((f"{opening.lead} " if opening.lead else "", "bold green"), (opening.verdict, "bold"))
    parts = [(f"{name}:", text) for name, text in opening.lines]
    lines = [Text.assemble((f"{name} ", "bold"), text) for name, text in parts]
    where = Text.assemble("report: ", (str(report), f"bold link {report.absolute().as_uri()}"), overflow="fold")
    warnings = [Text(warning, "bold white on red") for warning in opening.warnings]
    status = Text(" · ".join(opening.status), "dim")
    body = Group(*warnings, verdict, *lines, numbers, status, where)
    color = "red" if opening.warnings else "blue"
    return Panel(body, title=Text(question), title_align="left", border_style=color, padding=(1, 2))
