"""`python -m reports publish DIR OUT`: what a reader of a result needs, in few files, and what renders it again.

The pictures are in report.html, so images/ keeps those of the first screen only, which report.md shows.
"""

import gzip
import shutil
from pathlib import Path

from reports.render import read_opening, write_report
from reports.schema import content

LARGE, LARGER = 4_000, 50_000  # bytes of a table that is compressed; the latter of table.csv


def publish(directory: Path, out: Path) -> Path:
    """The path of OUT/report.html, after writing the report on a run and copying it there.

    Raises:
        FileNotFoundError, ValueError: as in `write_report`; `out` exists.
    """
    if out.exists():
        raise ValueError(f"{out}: it exists; choose a new folder")
    write_report(directory)
    _, opening = read_opening(directory)
    rest = (path for pattern in ("figures/*.svg", "settings.json", "export/*") for path in directory.glob(pattern))
    shown = (picture for picture, _ in opening.pictures)
    files = [path.relative_to(directory).as_posix() for path in (*shown, *rest)]
    for name in ("report.html", "report.md", "run.json", *files):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(directory / name, out / name)
    for name in sorted({path.name.removesuffix(".gz") for path in directory.glob("*.csv*")}):
        table = content(directory / name) or b""
        if len(table) <= (LARGER if name == "table.csv" else LARGE):
            (out / name).write_bytes(table)
        else:
            (out / f"{name}.gz").write_bytes(gzip.compress(table, mtime=0))
    return out / "report.html"
