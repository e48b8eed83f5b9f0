"""The last screen of a run on the terminal: the question, the verdict, the large numbers, and where the report lies."""

from pathlib import Path

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
    console.print(f"verdict: {f'{opening.lead} {opening.verdict}'.strip()}", soft_wrap=True, highlight=False)
    for one in opening.numbers:
        notes = f" ({'; '.join(one.notes)})" if one.notes else ""
        console.print(f"  {one.word}: {one.value}{notes}", soft_wrap=True, highlight=False)
    console.print(f"report: {report}", style="bold", soft_wrap=True)


def _panel(question: str, opening: Opening, report: Path) -> Panel:
    numbers = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    numbers.add_column()
    numbers.add_column(justify="right", style="bold")
    numbers.add_column()
    for one in opening.numbers:
        numbers.add_row(Text(one.word), Text(one.value), Text("; ".join(one.notes)))
    verdict = Text.assemble((f"{opening.lead} " if opening.lead else "", "bold green"), (opening.verdict, "bold"))
    lines = [Text.assemble((f"{name}: ", "bold"), text) for name, text in opening.lines]
    where = Text.assemble("report: ", (str(report), f"bold link {report.absolute().as_uri()}"), overflow="fold")
    warnings = [Text(warning, "bold white on red") for warning in opening.warnings]
    status = Text(" · ".join(opening.status), "dim")
    body = Group(*warnings, verdict, *lines, numbers, status, where)
    return Panel(body, title=Text(question), title_align="left", border_style="blue", padding=(1, 2))
