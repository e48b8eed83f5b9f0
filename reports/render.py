"""Writes the report on a run directory: report.html (one self-contained file), report.md and figures/*.svg."""

import base64
import io
import os
import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import figures
from reports.document import Figure, Gallery, PictureError, Section
from reports.pages import ladders, noise_levels, sweep
from reports.pages import run as single
from reports.pages.beta import page as beta
from reports.pages.why_noise import page as why_noise
from reports.results import Run, read_run

EXPERIMENTS: dict[str, Callable[[Run], list[Section | None]]] = {
    "beta": beta.sections,
    "noise_levels": noise_levels.sections,
    "ladders": ladders.sections,
    "why_noise": why_noise.sections,
    "run": single.sections,
    "sweep": sweep.sections,
}


def write_report(directory: Path) -> Path:
    """The path of report.html, after writing the report on the run in `directory`.

    Raises:
        FileNotFoundError: `directory` has no run.json or no table.csv.
        ValueError: a file of the run breaks a rule of `columns.FILES`, the experiment has no report, or a table was
            edited so that no page can be made of it.
    """
    run = read_run(directory)
    name = run.info["experiment"]
    if name not in EXPERIMENTS:
        raise ValueError(f"run.json: experiment={name!r}: must be one of {', '.join(EXPERIMENTS)}")
    try:
        with figures.style():
            return write_pages(directory, run.info["question"], EXPERIMENTS[name](run), footer(run))
    except (PictureError, OSError):
        raise
    except Exception as error:
        if run.info.get("files"):  # the tables are as the run wrote them, so this is a bug here
            raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(at.filename).name}, line {at.lineno}"
        raise ValueError(
            f"{directory}: no page can be made of its tables: {type(error).__name__}: {error} ({place}). Was a table "
            "edited? Run the command again; finished results are in the store"
        ) from error


def write_pages(directory: Path, title: str, parts: Sequence[Section | None], footer: list[tuple[str, str]]) -> Path:
    """The path of report.html, after writing report.html, report.md and figures/ into `directory`.

    A part that is None or empty is left out. Figures of an earlier report are removed. Call it under
    `figures.style()`, like the functions that made the drawings.
    """
    sections = [part for part in parts if part and part.blocks]
    drawings = {
        block.name: svg(block.drawing) for part in sections for block in part.blocks if isinstance(block, Figure)
    }
    pictures = {
        path for part in sections for block in part.blocks if isinstance(block, Gallery) for path, _ in block.pictures
    }
    folder = directory / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.svg"):
        stale.unlink()
    for name, drawing in drawings.items():
        (folder / f"{name}.svg").write_bytes(drawing)
    page = {"title": title, "sections": sections, "footer": footer}
    embedded = {name: _data_uri(drawing, "svg+xml") for name, drawing in drawings.items()}
    embedded |= {path.stem: _data_uri(path.read_bytes(), "png") for path in pictures}
    _write(directory / "report.md", "report.md.j2", page)
    return _write(directory / "report.html", "report.html.j2", page | {"embedded": embedded})


def svg(drawing: matplotlib.figure.Figure) -> bytes:
    """The figure as SVG. The same drawing gives the same bytes."""
    buffer = io.BytesIO()
    figures.settle(drawing).savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    return buffer.getvalue()


def footer(run: Run) -> list[tuple[str, str]]:
    """The origin of the numbers: command, commit, versions, machine, dates, failures."""
    info, finished = run.info, sorted(filter(None, run.rows["finished_at"]))
    commit = info.get("commit") or "unknown"
    if info.get("dirty"):
        commit += ", with uncommitted changes"
    elif info.get("commit") and info.get("dirty") is None:
        commit += ", unknown whether there were uncommitted changes"
    versions = ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items())
    return [
        ("Command", info["command"]),
        ("Preset", info["preset"]),
        ("Commit", commit),
        ("Versions", versions or "unknown"),
        ("Machine", info.get("machine") or "unknown"),
        ("Runs finished", f"{finished[0]} to {finished[-1]}" if finished else "none"),
        ("Failed runs", str(len(run.failed()))),
        *[("Note", str(note)) for note in info.get("notes", [])],
    ]


def _write(path: Path, template: str, page: dict[str, Any]) -> Path:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader,
        autoescape=path.suffix == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = markdown
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # so that a reader sees the old page or the new one
    temporary.write_text(environment.get_template(template).render(page), encoding="utf-8")
    return temporary.replace(path)


def markdown(text: str) -> str:
    """`text` on one line, with every special character of Markdown and HTML escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))


def _data_uri(content: bytes, kind: str) -> Markup:
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode()}")
