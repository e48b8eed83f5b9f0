"""The last screen of a run on the terminal: the first screen of its page, where the report lies, and what failed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from experiments.run.result_folder import Page

WORKS = "Everything works. This test run is too small to show anything else."


def print_page(page: "Page", report: Path, place: str, smoke: bool, console: Console) -> None:
    """Prints the first screen of a page: a panel on a terminal, plain lines elsewhere.

    Args:
        report: the path of its report.html, and `place`, as it is shown.
        smoke: whether a run that asked only whether everything works has succeeded. Then it says so first.
    """
    if console.is_terminal:
        link = Text(place, f"bold link {report.absolute().as_uri()}")
        console.print(_panel(page, smoke, link), soft_wrap=False)
        return
    for line in ([WORKS] if smoke else []) + page.text:
        console.print(line)
    console.print(f"report: {place}", style="bold")


def print_failures(rows: Sequence[Mapping[str, Any]], logs: Path, console: Console) -> None:
    """Prints what failed, one line per setting and message, with the log that has the traceback, and what to do."""
    failed: dict[tuple[str, str], dict[str, None]] = {}  # (section and setting, message) -> runs
    for row in rows:
        if row["status"] == "failed":
            failed.setdefault((f"{row['section']}: {row['setting']}", row["error"]), {})[row["run_id"]] = None
    for (name, message), runs in failed.items():
        count = f" ({len(runs)} runs)" if len(runs) > 1 else ""
        log = logs / f"{next(iter(runs))}.log"
        traceback = f"; traceback: {log}" if log.is_file() else ""
        console.print(Text(f"failed: {name}{count}: {message}{traceback}", "red"))
    if failed:
        text = "to do: repair the cause, then give the same command again; what is finished is not computed again"
        console.print(Text(text, "bold"))


def _panel(page: "Page", smoke: bool, link: Text) -> Panel:
    key_figures = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for style in ("", "bold", ""):
        key_figures.add_column(justify="right" if style else "left", style=style)
    for figure in page.key_figures:
        key_figures.add_row(Text(figure.label), Text(figure.value), Text("; ".join(figure.notes)))
    warn = page.failed and not smoke
    lead = (f"{page.lead} " if page.lead else "", "bold white on red" if warn else "bold green")
    lines = [Text(WORKS, "bold green")] if smoke else []
    lines += [Text.assemble(lead, (page.verdict, "bold"))]
    lines += [Text(page.also)] if page.also else []
    lines += [Text(text, "yellow") for text in page.warnings] + [Text(text, "dim") for text in page.caveats]
    body = Group(*lines, key_figures, Text.assemble("report: ", link, overflow="fold"))
    border = "red" if warn else "blue"
    return Panel(body, title=Text(page.question), title_align="left", border_style=border, padding=(1, 2))
