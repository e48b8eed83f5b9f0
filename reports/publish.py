"""`python -m reports publish DIR OUT`: what a reader of a result needs, in few files, and what renders it again."""

import gzip
import shutil
from pathlib import Path

from reports.render import read_page, write_report
from reports.schema import TABLES, content

LARGE, LARGER = 4_000, 50_000  # bytes of a table that is compressed; the latter of table.csv


def publish_result(folder: Path, out: Path) -> Path:
    """The path of OUT/report.html, after copying tables, the pictures of the page and exports there, and writing it.

    Raises:
        FileNotFoundError, ValueError: as in `read_page`; `out` exists.
    """
    if out.exists():
        raise ValueError(f"{out}: it exists; choose a new folder")
    page = read_page(folder)
    pictures = [f"{one.name}.png" for one in page.pictures] + [f"{name}-4.png" for name in page.strips]
    files = [path for pattern in ("run.json", "settings.json", "export/*") for path in folder.glob(pattern)]
    files += [path for name in pictures if (path := folder / "images" / name).is_file()]
    root = folder.resolve()
    for path in (path for path in files if path.resolve().parent in (root, root / path.parent.name)):  # no links
        copy = out / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for name in TABLES:
        if (table := content(folder / name)) is None:
            continue
        if len(table) <= (LARGER if name == "table.csv" else LARGE):
            (out / name).write_bytes(table)
        else:
            (out / f"{name}.gz").write_bytes(gzip.compress(table, mtime=0))
    write_report(out)
    return out / "report.html"
