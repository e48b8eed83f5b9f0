"""The result folder: tables as CSV, run.json, images, and the report on them. Reports read nothing else.

This is the one module of experiments/ that knows reports/: which tables a page reads, and how it is written.
"""

import csv
import fcntl
import io
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from experiments.distances.intervals import ENOUGH_NETWORKS, GRAINY, LEVEL, POWER
from experiments.entrypoint import program_name
from experiments.run.compare import Row
from experiments.run.images import FEW
from experiments.run.machine import describe_machine
from experiments.user.json_io import write_json, write_text
from reports.page import Page as Page  # also for those who write a result here
from reports.render import write_report
from reports.schema import TABLES, written

MARK = ".sigmabench"  # an empty file that marks a result folder, so that its results may be replaced
SINGLE = ("run.json", "settings.json", "report.html", "report.md")
PICTURE = rf"(real|set-\d+|[0-9a-f]{{12}})(-{FEW})?"  # the name of one that a run or `score` writes
PARTS = {"images": "*.png", "figures": "*.svg", "export": "*-evaluations-*"}
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


def remove_results(folder: Path) -> None:
    """Removes what an earlier run left there, so that a report never mixes two runs."""
    for path in existing_results(folder):
        path.unlink()


def empty_logs(folder: Path) -> Path:
    """The folder of the tracebacks of runs that fail, made empty."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for path in logs.glob("*.log"):
        path.unlink()
    return logs


def write_tables(folder: Path, tables: Mapping[str, Iterable[Row]], pictures: Mapping[str, Image.Image]) -> None:
    """Writes the tables, rows by the name of their file, and the pictures, by name."""
    for name, rows in tables.items():
        write_rows(folder / name, rows)
    if pictures:
        (folder / "images").mkdir(exist_ok=True)
    for name, picture in pictures.items():
        picture.save(folder / "images" / f"{name}.png", optimize=True)


def write(folder: Path, info: Mapping[str, Any]) -> Page:
    """Writes run.json and the report. Returns its page.

    `info`: what run.json says besides where the numbers come from: experiment, question, preset, notes, wall_seconds.
    """
    rules = {"level": LEVEL, "power": POWER, "enough_networks": ENOUGH_NETWORKS, "grainy": GRAINY}
    write_json(folder / "run.json", {"schema": 2} | provenance() | dict(info) | {"statistics": rules})
    return write_report(folder)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes rows as CSV, with the columns of its table. Values are not rounded; missing values are empty.

    A text that a spreadsheet would take for a formula, such as a file's name, gets a quote before it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, written(TABLES[path.name]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"'{value}" if is_formula(value) else value for name, value in row.items()})
    write_text(path, text.getvalue())


def is_formula(value: object) -> bool:
    """Whether a value of a CSV file is a text, and no number, that a spreadsheet would calculate."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@")):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def command() -> str:
    """The command line of this process."""
    return shlex.join([*program_name().split(), *sys.argv[1:]])


def provenance(packages: Iterable[str] = VERSIONS) -> dict[str, Any]:
    """The command, the code, and the machine that made the numbers, with the versions of Python and of packages."""
    commit, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    versions = {"python": platform.python_version()} | {package: version(package) for package in packages}
    dirty = None if changes is None else bool(changes)  # both are None outside a checkout
    return {"command": command(), "commit": commit, "dirty": dirty, "versions": versions, "machine": describe_machine()}


def _git(*arguments: str) -> str | None:
    try:
        where = Path(__file__).parent
        done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
