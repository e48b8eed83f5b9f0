"""Writes the report on a run directory: report.html (one self-contained file), report.md and figures/*.svg."""

import base64
import gzip
import io
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from reports import drawing, figures, limits, openings
from reports.document import About, Explorer, Figure, Gallery, Opening, PictureError, Section, Table, shown_width
from reports.drawing import svg
from reports.pages import page_of
from reports.results import Run, read_run
from reports.schema import content

SHADES, FILM_SHADES = 32, 16  # values per channel of a picture in a page
PICTURE = re.compile(r'<img src="data:image/png;base64,([\w+/=]+)"[^>]* data-picture="([^"]+)"')


def write_report(directory: Path) -> Path:
    """The path of report.html, after writing the report on the run in `directory`.

    Raises:
        FileNotFoundError: `directory` has no run.json or no table.csv.
        ValueError: a file of the run breaks a rule of `schema`, the experiment has no report, or a table was
            edited so that no page can be made of it.
    """
    run = read_run(directory)
    page = page_of(run.info["experiment"])
    unpack_pictures(directory)
    with _blaming_edits(run), figures.style():
        return write_pages(directory, about(run), page.sections(run), footer(run), page.opening(run))


def read_opening(directory: Path) -> tuple[Run, Opening]:
    """The run in `directory` and the first screen of its report. Nothing is written. Errors as in `write_report`."""
    run = read_run(directory)
    page = page_of(run.info["experiment"])
    with _blaming_edits(run):
        return run, page.opening(run)


def about(run: Run) -> About:
    """What a run is about. Its page may say it in its own way."""
    words: About = getattr(page_of(run.info["experiment"]), "about", openings.about)(run)
    return words


@contextmanager
def _blaming_edits(run: Run) -> Iterator[None]:
    """An error in the block is a ValueError if a table was edited, so that no page can be made of it."""
    try:
        yield
    except (PictureError, OSError):
        raise
    except Exception as error:
        if run.info.get("files"):  # the tables are as the run wrote them, so this is a bug here
            raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(at.filename).name}, line {at.lineno}"
        raise ValueError(
            f"{run.directory}: no page can be made of its tables: {type(error).__name__}: {error} ({place}). Was a "
            "table edited? Run the command again; finished results are in the store"
        ) from error


def write_pages(
    directory: Path,
    about: About,
    parts: Sequence[Section | None],
    footer: list[tuple[str, str]],
    opening: Opening,
) -> Path:
    """The path of report.html, after writing report.html, report.md and figures/ into `directory`.

    A part that is None or empty is left out. Figures of an earlier report are removed. Call it under
    `figures.style()`, like the functions that made the drawings.
    """
    sections = [part for part in parts if part and part.blocks]
    blocks = [block for part in sections for block in part.blocks]
    drawings = [opening.figure, *(block.figure if isinstance(block, Explorer) else block for block in blocks)]
    drawn = {figure.name: (svg(figure.drawing), figure.alt) for figure in drawings if isinstance(figure, Figure)}
    folder = directory / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.svg"):
        stale.unlink()
    for name, (text, _) in drawn.items():
        (folder / f"{name}.svg").write_text(drawing.still(text), encoding="utf-8")
    page = {"about": about, "opening": opening, "sections": sections, "footer": footer}
    pictures = {path for block in blocks if isinstance(block, Gallery) for path, _ in block.pictures}
    pictures |= {path for path, _ in opening.pictures}
    tables = {block.file for block in blocks if isinstance(block, Table) and block.file}
    embedded = {
        "figures": {name: drawing.inline(text, name, alt) for name, (text, alt) in drawn.items()},
        "pictures": {path: embedded_picture(path) for path in pictures},
        "tables": {path: uri for path in tables if len(uri := packed_table(path)) < limits.DOWNLOAD},
    }
    write_template(directory / "report.md", "report.md.j2", page)
    return write_template(directory / "report.html", "report.html.j2", page | embedded)


def footer(run: Run) -> list[tuple[str, str]]:
    """The origin of the numbers: command, commit, versions, machine, dates, failures."""
    command, *rest = origin(run.info)
    finished = sorted(filter(None, run.rows["finished_at"]))
    return [
        command,
        *([("Preset", run.info["preset"])] if run.info["preset"] else []),
        *rest,
        ("Runs finished", f"{finished[0]} to {finished[-1]}" if finished else "none"),
        ("Failed runs", str(len(run.failed()))),
        *[("Note", str(note)) for note in run.info.get("notes", [])],
    ]


def origin(info: dict[str, Any]) -> list[tuple[str, str]]:
    """Command, commit, versions and machine, from the keys of these names; what is missing is unknown."""
    commit = info.get("commit") or "unknown"
    if info.get("dirty"):
        commit += ", with uncommitted changes"
    elif info.get("commit") and info.get("dirty") is None:
        commit += ", unknown whether there were uncommitted changes"
    return [
        ("Command", info.get("command", "unknown")),
        ("Commit", commit),
        ("Versions", ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items()) or "unknown"),
        ("Machine", info.get("machine") or "unknown"),
    ]


def write_template(path: Path, template: str, page: dict[str, Any]) -> Path:
    """`path`, after writing a template to it. HTML is escaped."""
    loader, html = FileSystemLoader(Path(__file__).parent / "templates"), path.suffix == ".html"
    environment = Environment(
        loader=loader, autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"md": markdown, "shown_width": shown_width}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # so that a reader sees the old page or the new one
    temporary.write_text(environment.get_template(template).render(page), encoding="utf-8")
    return temporary.replace(path)


def markdown(text: str) -> str:
    """`text` on one line, with every special character of Markdown and HTML escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))


def unpack_pictures(directory: Path) -> None:
    """Writes the pictures of an earlier report.html that are not in images/: published results keep them only there."""
    page = directory / "report.html"
    for picture, name in PICTURE.findall(page.read_text(encoding="utf-8")) if page.is_file() else ():
        path = directory / "images" / f"{Path(name).name}.png"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(base64.b64decode(picture))


def embedded_picture(path: Path) -> Markup:
    """A PNG as a link that holds it with fewer shades: half the bytes, and hardly anybody sees the difference."""
    most = (FILM_SHADES if path.stem.endswith(("-film", "-denoised")) else SHADES) - 1
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.point(lambda value: (value * most + 127) // 255 * 255 // most).save(buffer, "PNG", optimize=True)
    return _data_uri(buffer.getvalue(), "image/png")


def packed_table(path: Path) -> Markup:
    """A table, compressed, as a link that holds it."""
    return _data_uri(gzip.compress(content(path) or b"", mtime=0), "application/gzip")


def _data_uri(content: bytes, kind: str) -> Markup:
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")
