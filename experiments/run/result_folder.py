"""The result folder: tables as CSV, run.json, images, and the report on them; what the terminal shows of it.

This is the one module of experiments/ that knows how reports/ writes a page.
"""

import csv
import fcntl
import io
import json
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from rich.console import Console
from rich.text import Text

from experiments.distances.intervals import CONFIDENCE, ENOUGH_NETWORKS, POWER
from experiments.entrypoint import program_name
from experiments.run.images import FEW
from experiments.run.machine import code_version, describe_machine
from experiments.user.json_io import read_json, write_bytes, write_json
from reports.page import Page as Page  # also for those who write a result here
from reports.render import read_page, write_report
from reports.schema import FLAGS, TABLES, TEXTS, VISIBLE, Row, all_columns, read_bytes

MARK = ".sigmabench"  # an empty file that marks a result folder, so that its results may be replaced
WORKS = "Everything works. This test run is too small to show anything else."
SINGLE = ("run.json", "report.html", "report.md")
PICTURE = rf"(real|set-\d+|[0-9a-f]{{12}})(-{FEW})?"  # the name of one that a run or `score` writes
FOLDERS = {"images": "*.png", "figures": "*.svg"}
TIMES = {
    "wall_seconds",
    "total_seconds",
    "computed",
    "finished_at",
}  # in run.json: of the command that made the numbers first
VERSIONS = ("sigmabench", "torch", "torch-fidelity", "numpy", "scipy")


@dataclass(frozen=True)
class StudyResult:
    """The rows, and the page on them. `interrupted`: the table has the finished rows only, and there is no page."""

    folder: Path
    rows: Sequence[Row] = ()
    page: Page | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def report(self) -> Path | None:
        return self.folder / "report.html" if self.page else None

    @property
    def status(self) -> int:
        return int(bool(self.failed))


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
    names = (*TABLES, *(f"{name}.xz" for name in TABLES), *SINGLE)
    files = [path for name in names if (path := folder / name).is_file()]
    files += [path for name, pattern in FOLDERS.items() for path in (folder / name).glob(pattern) if path.is_file()]
    files = [path for path in files if path.parent.name != "images" or re.fullmatch(PICTURE, path.stem)]
    if files and not (folder / MARK).exists():
        name = files[0].relative_to(folder)
        raise ValueError(f"out={str(folder)!r}: it contains {name}, which Sigmabench did not write; choose another")
    return files


def write_tables(
    folder: Path, tables: Mapping[str, Iterable[Row] | pd.DataFrame], pictures: Mapping[str, Image.Image] | None = None
) -> None:
    """Replaces the results of an earlier run by tables, rows by the name of their file, and pictures by name.

    Values are not rounded; missing values are empty. Results that are the same stay, with their report.
    """
    contents = {name: _as_csv(name, rows).encode() for name, rows in tables.items()}
    for name, picture in (pictures or {}).items():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        contents[f"images/{name}.png"] = buffer.getvalue()
    earlier = existing_results(folder)
    inputs = [path for path in earlier if path.suffix in (".csv", ".xz", ".png")]  # of the report
    unchanged = {str(path.relative_to(folder)): path.read_bytes() for path in inputs} == contents
    for path in earlier if not unchanged else ():
        path.unlink()
    for name, content in contents.items() if not unchanged else ():
        (folder / name).parent.mkdir(exist_ok=True)
        write_bytes(folder / name, content)


def write_table(folder: Path, name: str, rows: Iterable[Row] | pd.DataFrame) -> None:
    """Writes one table, beside the results that are there."""
    write_bytes(folder / name, _as_csv(name, rows).encode())


def _as_csv(name: str, rows: Iterable[Row] | pd.DataFrame) -> str:
    text = io.StringIO()
    if isinstance(rows, pd.DataFrame):
        return rows.reindex(columns=all_columns(TABLES[name])).to_csv(index=False, lineterminator="\n")
    rows = list(rows)
    factors = dict.fromkeys(factor for row in rows for factor in row.get("factors", ()))
    columns = dict.fromkeys([*all_columns(TABLES[name]), *factors])
    writer = csv.DictWriter(text, [*columns], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_rows(folder: Path, name: str) -> list[Row]:
    """The rows of a table with their values as they were written; missing numbers are None. Without the file: none."""
    text = (read_bytes(folder / name) or b"").decode()
    return [
        {column: _read_value(column, value) for column, value in row.items()}
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def _read_value(column: str, text: str) -> Any:
    if column in TEXTS:
        return text
    if column in FLAGS or not text:
        return {"True": True, "False": False}.get(text)
    return int(text) if text.isdecimal() else float(text)


def write(folder: Path, info: Mapping[str, Any]) -> Page:
    """Writes run.json and the report. Returns its page.

    If `write_tables` kept the report, and the same code says the same besides TIMES, the folder stays as it is.
    `info`: what run.json says besides where the numbers come from: experiment, question, preset, notes, wall_seconds.
    """
    rules = {"level": CONFIDENCE, "power": POWER, "enough_networks": ENOUGH_NETWORKS, "visible_noise": VISIBLE}
    content = {"schema": 2} | provenance() | dict(info) | {"statistics": rules}
    if (folder / "report.html").is_file() and not content["dirty"]:
        earlier = read_json(folder / "run.json") | {name: content[name] for name in TIMES & content.keys()}
        if earlier == json.loads(json.dumps(content)):
            return read_page(folder)
    write_json(folder / "run.json", content)
    return write_report(folder)


def write_finished(
    folder: Path, info: Mapping[str, Any], tables: Mapping[str, Iterable[Row] | pd.DataFrame], seconds: float,
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
    """Prints the first screen of a page.

    `report` is the path of its report.html, `path` how it is shown. After a `smoke` run it says first that all works.
    """
    if smoke:
        console.print(Text(WORKS, "bold green"))
    styles = {"verdict": "bold", "warning": "yellow", "caveat": "dim"}
    if page.alarm:
        styles["verdict"] = "bold red"
    for line in page.text:
        console.print(Text(line, styles.get(line.partition(":")[0], "")))
    console.print(Text.assemble("report: ", (path, f"link {report.absolute().as_uri()}")), style="bold")


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
