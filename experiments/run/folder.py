"""The result folder: tables as CSV, run.json, images, and the report on them. Reports read nothing else.

This is the one module of experiments/ that knows reports/: which tables a page reads, and how it is written.
"""

import csv
import fcntl
import io
import math
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

import torch
from PIL import Image

from experiments.distances.intervals import ENOUGH_NETWORKS, GRAINY, LEVEL, POWER
from experiments.edge import program
from experiments.own.files import write_json, write_text
from experiments.run.compare import Row
from experiments.run.hardware import describe
from reports.page import Page as Page  # also for those who write a result here
from reports.render import write_report
from reports.schema import TABLES, written

MARK = ".sigmabench"  # an empty file that marks a result folder, so that its results may be replaced
SHOWN = 16  # images in a picture
SIDE = math.isqrt(SHOWN)
FEW = 4  # images in a strip, a small picture
LARGEST = 64  # side of an image in a picture
SHADES = 16  # of its pixels, per channel
FORMER = ("films.csv", "histograms.csv", "losses.csv", "levels.csv")  # tables of older versions
SINGLE = ("run.json", "settings.json", "report.html", "report.md")
PARTS = {"images": "*.png", "figures": "*.svg", "export": "*-evaluations-*"}
VERSIONS = ("sigmabench", "torch", "torch-fidelity", "numpy", "scipy")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes a result folder, or takes that of an earlier run. Until the block ends no other command writes there.

    ValueError if nothing can be written there, if it holds results that no run wrote, or if another command writes
    there.
    """
    name = f"out={str(folder)!r}"
    earlier(folder)
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


def earlier(folder: Path) -> list[Path]:
    """The results of an earlier run in a folder. ValueError if no run wrote them."""
    tables = dict.fromkeys((*TABLES, *FORMER))
    names = (*tables, *(f"{name}.gz" for name in tables), *SINGLE)
    files = [path for name in names if (path := folder / name).exists()]
    files += [
        path for part, kind in PARTS.items() for path in (folder / part).glob(kind) if part != "images" or _ours(path)
    ]
    if files and not (folder / MARK).exists():
        found = files[0].relative_to(folder)
        raise ValueError(f"out={str(folder)!r}: it holds {found}, which no run wrote; choose another folder")
    if inside := next((path for path in files if path.is_dir()), None):
        raise ValueError(f"out={str(folder)!r}: {inside.name} is a folder there; choose another folder")
    return files


def _ours(picture: Path) -> bool:
    """Whether a picture has a name that a run or `score` gives, or an older version gave, and is not a user's own."""
    return (
        re.fullmatch(rf"(real|set-\d+|[0-9a-f]{{12}})(-{FEW})?|[0-9a-f]{{12}}-(film|denoised)", picture.stem)
        is not None
    )


def clear(folder: Path) -> None:
    """Removes what an earlier run left there, so that a report never mixes two runs."""
    for path in earlier(folder):
        path.unlink()


def logs(folder: Path) -> Path:
    """The folder of the tracebacks of runs that fail, made empty."""
    place = folder / "logs"
    place.mkdir(exist_ok=True)
    for path in place.glob("*.log"):
        path.unlink()
    return place


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
    write_json(folder / "run.json", {"schema": 2} | origin() | dict(info) | {"statistics": rules})
    return write_report(folder)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes rows as CSV, with the columns of its table. Values are not rounded; missing values are empty.

    A text that a spreadsheet would take for a formula, such as a file's name, gets a quote before it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, written(TABLES[path.name]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        formulas = {name: f"'{value}" for name, value in row.items() if isinstance(value, str) and is_formula(value)}
        writer.writerow({**row, **formulas})
    write_text(path, text.getvalue())


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would calculate a text of a CSV file that is no number."""
    if not text.startswith(("=", "+", "-", "@")):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def square(images: torch.Tensor) -> Image.Image:
    """The first 16 of images uint8 (n, C, H, W) in a square."""
    return tiled(_first(images, SHOWN).unflatten(0, (SIDE, SIDE)))


def strip(images: torch.Tensor) -> Image.Image:
    """The first 4 of images uint8 (n, C, H, W) in a row, in 16 shades per channel, so that its file is small."""
    step = 255 // (SHADES - 1)
    nearest = (_first(images, FEW).int() + step // 2) // step * step
    return tiled(nearest.to(torch.uint8)[None])


def _first(images: torch.Tensor, n: int) -> torch.Tensor:
    """The first n images, black where there are fewer, reduced to LARGEST pixels per side."""
    tiles = torch.zeros(n, *images.shape[1:], dtype=torch.uint8)
    tiles[: len(images)] = images[:n]
    height, width = (min(side, LARGEST) for side in images.shape[2:])
    if (height, width) == images.shape[2:]:
        return tiles
    return torch.nn.functional.adaptive_avg_pool2d(tiles.float(), (height, width)).round().to(torch.uint8)


def tiled(tiles: torch.Tensor) -> Image.Image:
    """One picture of tiles uint8 (rows, columns, C, H, W), grey (C = 1) or RGB (C = 3)."""
    rows, columns, channels, height, width = tiles.shape
    whole = tiles.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    return Image.fromarray(whole.squeeze(2).numpy())


def command() -> str:
    """The command line of this process."""
    return shlex.join([*program().split(), *sys.argv[1:]])


def origin(packages: Iterable[str] = VERSIONS) -> dict[str, Any]:
    """The command, the code, and the machine that made the numbers, with the versions of Python and of packages."""
    commit, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    versions = {"python": platform.python_version()} | {package: version(package) for package in packages}
    dirty = None if changes is None else bool(changes)  # both are None outside a checkout
    return {"command": command(), "commit": commit, "dirty": dirty, "versions": versions, "machine": describe()}


def _git(*arguments: str) -> str | None:
    try:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
