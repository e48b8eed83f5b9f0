"""The result folder: tables as CSV, run.json, images, and the report on them; what the terminal shows of it.

This is the one module of experiments/ that knows how reports/ writes a page.
"""

import csv
import fcntl
import io
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image
from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from experiments.distances.intervals import CONFIDENCE, ENOUGH_NETWORKS, GRAINY, POWER
from experiments.entrypoint import program_name
from experiments.run.compare import Row
from experiments.run.images import FEW
from experiments.run.machine import code_version, describe_machine
from experiments.user.json_io import write_json, write_text
from reports.page import Page as Page  # also for those who write a result here
from reports.render import write_report
from reports.schema import TABLES, all_columns

MARK = ".sigmabench"  # an empty file that marks a result folder, so that its results may be replaced
SINGLE = ("run.json", "settings.json", "best.json", "report.html", "report.md")
PICTURE = rf"(real|set-\d+|[0-9a-f]{{12}})(-{FEW})?"  # the name of one that a run or `score` writes
PARTS = {"images": "*.png", "figures": "*.svg", "export": "*-evaluations-*"}
WORKS = "Everything works. This test run is too small to show anything else."
VERSIONS = ("sigmabench", "torch", "torch-fidelity", "numpy", "scipy")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Makes a result folder, or takes that of an earlier run. Until the block ends no other command writes there.

    ValueError if nothing can be written there, if another command writes there, or as in `existing_results`.
    """
    name = f"out={str(folder)!r}"
    existing_results(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark = (folder / MARK).open("a")
    except OSError as error:
        raise ValueError(f"{name}: nothing can be written there: {error.strerror or error}") from None
    with mark:  # closing it ends the lock
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{name}: another command is writing there; wait for it, or choose another") from None
        except OSError:  # a file system without locks
            pass
        yield


def existing_results(folder: Path) -> list[Path]:
    """The results of an earlier run in a folder. ValueError if it holds such files, but no run wrote them."""
    names = (*TABLES, *(f"{name}.gz" for name in TABLES), *SINGLE)
    files = [path for name in names if (path := folder / name).is_file()]
    files += [path for part, kind in PARTS.items() for path in (folder / part).glob(kind) if path.is_file()]
    files = [path for path in files if path.parent.name != "images" or re.fullmatch(PICTURE, path.stem)]
    if files and not (folder / MARK).exists():
        name = files[0].relative_to(folder)
        raise ValueError(f"out={str(folder)!r}: it contains {name}, which Sigmabench did not write; choose another")
    return files


def write_tables(
    folder: Path, tables: Mapping[str, Iterable[Row]], pictures: Mapping[str, Image.Image] | None = None
) -> None:
    """Replaces the results of an earlier run by tables, rows by the name of their file, and pictures by name.

    Values are not rounded; missing values are empty.
    """
    for path in existing_results(folder):
        path.unlink()
    for name, rows in tables.items():
        text = io.StringIO()
        writer = csv.DictWriter(text, all_columns(TABLES[name]), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_text(folder / name, text.getvalue())
    if pictures:
        (folder / "images").mkdir(exist_ok=True)
    for name, picture in (pictures or {}).items():
        picture.save(folder / "images" / f"{name}.png", optimize=True)


def write(folder: Path, info: Mapping[str, Any]) -> Page:
    """Writes run.json and the report. Returns its page.

    `info`: what run.json says besides where the numbers come from: experiment, question, preset, notes, wall_seconds.
    """
    rules = {"level": CONFIDENCE, "power": POWER, "enough_networks": ENOUGH_NETWORKS, "grainy": GRAINY}
    write_json(folder / "run.json", {"schema": 2} | provenance() | dict(info) | {"statistics": rules})
    return write_report(folder)


def write_finished(
    folder: Path, info: Mapping[str, Any], tables: Mapping[str, Iterable[Row]], seconds: float,
    pictures: Mapping[str, Image.Image] | None = None,
) -> Page:  # fmt: skip
    """Writes all of a result that ends now and took `seconds`; the rest as in `write_tables` and `write`."""
    write_tables(folder, tables, pictures)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return write(folder, {"preset": "", "wall_seconds": round(seconds, 1), "finished_at": finished} | dict(info))


def command() -> str:
    return shlex.join([*program_name().split(), *sys.argv[1:]])


def provenance(packages: Iterable[str] = VERSIONS) -> dict[str, Any]:
    """The command, the code, and the machine that made the numbers, with the versions of Python and of packages."""
    versions = {"python": platform.python_version()} | {package: version(package) for package in packages}
    return {"command": command()} | code_version() | {"versions": versions, "machine": describe_machine()}


def print_page(page: Page, report: Path, path: str, smoke: bool, console: Console) -> None:
    """Prints the first screen of a page: a panel on a terminal, plain lines elsewhere.

    `report` is the path of its report.html, `path` how it is shown. After a `smoke` run it says first that all works.
    """
    if console.is_terminal:
        link = Text(path, f"bold link {report.absolute().as_uri()}")
        console.print(_panel(page, smoke, link), soft_wrap=False)
        return
    for line in ([WORKS] if smoke else []) + page.text:
        console.print(line)
    console.print(f"report: {path}", style="bold")


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


def _panel(page: Page, smoke: bool, link: Text) -> Panel:
    key_figures = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for style in ("", "bold", ""):
        key_figures.add_column(justify="right" if style else "left", style=style)
    for figure in page.key_figures:
        key_figures.add_row(Text(figure.label), Text(figure.value), Text("; ".join(figure.notes)))
    warn = page.failed and not smoke
    look = "bold white on red" if warn else "bold red" if page.alarm else "bold green"
    lead = (f"{page.lead} " if page.lead else "", look)
    lines = [Text(WORKS, "bold green")] if smoke else []
    lines += [Text.assemble(lead, (page.verdict, "bold"))]
    lines += [Text(page.also)] if page.also else []
    lines += [Text(text, "yellow") for text in page.warnings] + [Text(text, "dim") for text in page.caveats]
    body = Group(*lines, key_figures, Text.assemble("report: ", link, overflow="fold"))
    border = "red" if warn else "blue"
    return Panel(body, title=Text(page.question), title_align="left", border_style=border, padding=(1, 2))
