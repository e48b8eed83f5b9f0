"""Writes the page on a result: report.html (one self-contained file), report.md and figures/*.svg."""

import base64
import io
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from reports import figures
from reports.page import Figure, Line, Page
from reports.results import read
from reports.schema import NO_DIFFERENCE

PAGES = {  # experiment -> module of its page
    **{name: name for name in ("beta", "harmless", "levels", "run", "score")},
    **dict.fromkeys(("check_policy", "check_sampler"), "conformance"),
    **dict.fromkeys(("sweep", "ladders", "noise_levels", "tune"), "sweep"),
}
WIDTH = 40  # characters of a bar in report.md
BREAK = "\u200b"  # in a long label, where a line of a page may break
SHADES = 32  # values per channel of a picture in the page: half the bytes, and hardly anybody sees the difference


def read_page(folder: Path) -> Page:
    """The page on the result in a folder. Nothing is written.

    Raises:
        FileNotFoundError: there is no run.json.
        ValueError: a file cannot be read, or this version has no page for the experiment.
    """
    result = read(folder)
    if (name := result.info["experiment"]) not in PAGES:  # a file names no module
        raise ValueError(
            f"run.json: experiment={name!r}: this version has no page for it, only for {', '.join(PAGES)}; a "
            "report.html beside it stays as it was written"
        )
    with figures.style():
        page: Page = import_module(f"{__package__}.pages.{PAGES[name]}").page(result)
        return page


def write_report(folder: Path) -> Page:
    """The page, after writing it as report.html, report.md and figures/*.svg. Errors as in `read_page`."""
    page = read_page(folder)
    write_page(folder, page)
    return page


def write_page(folder: Path, page: Page) -> None:
    """Writes a page and its figures; figures of an earlier report are removed."""
    place = folder / "figures"
    place.mkdir(parents=True, exist_ok=True)
    for stale in place.glob("*.svg"):
        stale.unlink()
    with figures.style():
        plots = [figures.differences(figure) for figure in page.figures[:1]]
        plots += [page.plot] if page.plot else []
        texts = {plot.name: figures.svg(plot.figure) for plot in plots}
    for name, text in texts.items():
        (place / f"{name}.svg").write_text(text, encoding="utf-8")
    images = folder / "images"
    embedded = {
        "pictures": {shown.name: read_picture(images / f"{shown.name}.png") for shown in page.pictures},
        "strips": {name: read_strip(path) for name in page.strips if (path := images / f"{name}-4.png").is_file()},
        "drawing": Markup(texts[page.plot.name].partition("?>")[2]) if page.plot else "",
    }
    write_template(folder / "report.md", "page.md", {"p": page, "strips": embedded["strips"]})
    write_template(folder / "report.html", "page.html", {"p": page, **embedded})


def write_template(path: Path, template: str, values: dict[str, Any]) -> Path:
    """`path`, after writing a template to it. HTML is escaped, and so are special characters of Markdown."""
    html = path.suffix == ".html"
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=html, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"md": escape_markdown, "drawn": draw_line}
    environment.filters["link"] = lambda name: f"[{escape_markdown(name)}]({name})"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # so that a reader sees the old page or the new one
    temporary.write_text(environment.get_template(template).render(values), encoding="utf-8")
    return temporary.replace(path)


def escape_markdown(text: str) -> str:
    """`text` on one line, with every special character of Markdown and HTML escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))


def draw_line(line: Line, figure: Figure) -> str:
    """A line of a figure in characters, for Markdown, where a mark is ●, or ○ if it is no verdict."""

    def column(place: float) -> int:
        return round(place / 100 * (WIDTH - 1))

    characters = [" "] * WIDTH
    for at in range(column(line.bar.low), column(line.bar.high) + 1):
        characters[at] = "─"
    zero = column(figure.zero)
    characters[zero] = "┼" if characters[zero] == "─" else "│"
    for kind, place in line.bar.marks:
        looks = {"open": "○", "grey": "•", "diamond": "◆"}
        characters[column(place)] = looks.get(kind, "○" if line.bar.look == "not" else "●")
    labels = [" ".join(other.label.replace(BREAK, "").split()) for other in (line, *figure.lines)]
    label, width = labels[0], max(map(len, labels))
    word = line.word if line.word not in ("better", "worse", NO_DIFFERENCE) else ""
    interval = f" ({line.interval})" if line.interval else ""
    word += f": {line.note}" if line.note else ""
    return f"{label:<{width}} {''.join(characters)} {line.value:>7}{interval} {word}".rstrip()


def read_picture(path: Path) -> tuple[str, int]:
    """A PNG as a link that holds it, with fewer shades, and its shown width: a whole multiple of its own."""
    image, buffer, most = _read_image(path), io.BytesIO(), SHADES - 1
    image.point(lambda value: (value * most + 127) // 255 * 255 // most).save(buffer, "PNG", optimize=True)
    return _data_uri(buffer.getvalue()), image.width * max(1, 256 // image.width)


def read_strip(path: Path) -> tuple[str, int, int]:
    """Four samples in a row as a link that holds them, their width and their height."""
    return _data_uri(path.read_bytes()), *_read_image(path).size


def _read_image(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: no picture: {error}") from None


def _data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
