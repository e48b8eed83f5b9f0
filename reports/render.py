"""Writes the page on a result: report.html (one self-contained file), report.md and figures/*.svg."""

import base64
import io
import lzma
import os
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from reports.page import Figure, Line, Page
from reports.results import LoadedResult, find_files, read
from reports.schema import NO_DIFFERENCE, TABLES, read_bytes

PAGES = {  # experiment -> module of its page, in the order of the index
    **dict.fromkeys(("beta", "schedules", "noise_levels", "sweep"), "answers"), "run": "score",
    **dict.fromkeys(("factors", "compare"), "answers"), "score": "score", "harmless": "harmless", "levels": "levels",
    "check_sampler": "conformance",
}  # fmt: skip
WIDTH = 40  # characters of a bar in report.md
LETTERS = 46  # of a label in report.md; a longer one gets a line of its own
GLYPHS = {"open": "○", "grey": "•", "diamond": "◆"}  # of marks in report.md
BREAK = "\u200b"  # in a long label, where a line of a page may break
SHADES = 32  # values per channel of a picture in the page: half the bytes, and hardly anybody sees the difference
INTERVAL = re.compile(r"(?<= )\([^()]*\bto\b[^()]*\)")  # in a title
LONGEST = 24  # letters of a name that no line breaks
LARGE = 4_000  # bytes of a table that `publish_result` compresses
LARGER = 50_000  # the same for table.csv
TRAINING = (  # paths of the code that trains
    "diffusion_core/training.py", "diffusion_core/networks", "diffusion_core/noise", "diffusion_core/weightings.py",
    "diffusion_core/data", "diffusion_core/exact", "diffusion_core/tensors.py", "experiments/run/networks.py",
)  # fmt: skip


def read_page(folder: Path) -> Page:
    """The page on the result in a folder. Nothing is written.

    Raises:
        FileNotFoundError: there is no run.json.
        ValueError: a file cannot be read, or this version has no page for the experiment.
    """
    return make_page(read(folder))


def make_page(result: LoadedResult) -> Page:
    """The page on a result. ValueError if this version has no page for its experiment."""
    if (name := result.info["experiment"]) not in PAGES:
        reason = f"this version has no page for it, only for {', '.join(PAGES)}"
        raise ValueError(f"run.json: experiment={name!r}: {reason}; a report.html beside it stays as it was written")
    page: Page = import_module(f"{__package__}.pages.{PAGES[name]}").page(result)
    return page


def write_report(folder: Path) -> Page:
    """The page, after writing it as report.html, report.md and figures/*.svg. Errors as in `read_page`."""
    page = read_page(folder)
    write_page(folder, page)
    return page


def write_page(folder: Path, page: Page) -> None:
    """Writes a page and its figures; figures of an earlier report are removed."""
    from reports.figures import draw_page  # seaborn takes long to import, and `read_page` does not need it

    target = folder / "figures"
    target.mkdir(parents=True, exist_ok=True)
    for stale in target.glob("*.svg"):
        stale.unlink()
    texts = draw_page(page)
    for name, text in texts.items():
        (target / f"{name}.svg").write_text(text, encoding="utf-8")
    images = folder / "images"
    values = {
        "p": page,
        "pictures": {shown.name: read_picture(images / f"{shown.name}.png") for shown in page.pictures},
        "strips": {name: read_strip(path) for name in page.strips for path in find_files(images, [f"{name}-4.png"])},
        "drawing": Markup(texts[page.plot.name].partition("?>")[2]) if page.plot else "",
    }
    for end in ("md", "html"):
        write_template(folder / f"report.{end}", f"page.{end}", values)


def publish_result(folder: Path, out: Path) -> None:
    """Copies tables and the pictures of the page to `out`, and writes the page there.

    Raises:
        FileNotFoundError, ValueError: as in `read_page`; `out` exists; the code had changes or no commit, or networks
            were trained by other code.
    """
    if out.exists():
        raise ValueError(f"{out}: it exists; choose a new folder")
    result = read(folder)
    page = make_page(result)
    commit = result.info.get("commit")
    trained = {text for text in result.table["trained_commit"] if text}
    others = sorted(text for text in trained if not (commit and trains_alike(text, commit)))
    if not commit or result.info.get("dirty") or others:
        reason = f"its code had changes since commit {commit}"
        if not commit:
            reason = "an installed version made it, which names no commit"
        if others:
            reason = f"commit {others[0]} trained its networks, not {commit}"
        raise ValueError(f"{folder}: {reason}; run it again from a clean checkout, with a new --store")
    pictures = [f"{picture.name}.png" for picture in page.pictures] + [f"{name}-4.png" for name in page.strips]
    for path in (*find_files(folder, ["run.json", "choices.json"]), *find_files(folder / "images", pictures)):
        copy = out / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for name in TABLES:
        table = read_bytes(folder / name)
        if table is not None and len(table) > (LARGER if name == "table.csv" else LARGE):
            (out / f"{name}.xz").write_bytes(lzma.compress(table, preset=9 | lzma.PRESET_EXTREME))
        elif table is not None:
            (out / name).write_bytes(table)
    write_report(out)


def trains_alike(one: str, other: str) -> bool:
    """Whether the code that trains is the same in two commits, as git says in the checkout of this file."""
    root = Path(__file__).parents[1]
    words = ["git", "-C", str(root), "diff", "--quiet", one, other, "--", *TRAINING]
    return one == other or subprocess.run(words, capture_output=True).returncode == 0


def write_template(path: Path, template: str, values: dict[str, Any]) -> Path:
    """`path`, after writing a template to it. HTML is escaped, and so are special characters of Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    html = path.suffix == ".html"
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=html, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"md": escape_markdown, "drawn": draw_line, "drawn_legend": draw_legend}
    environment.filters["names"] = keep_names
    environment.filters["small_intervals"] = lambda text: Markup(INTERVAL.sub(r"<small>\g<0></small>", str(text)))
    environment.filters["marked"] = lambda text, look: (text, look)
    environment.filters["link"] = lambda name: f"[{escape_markdown(name)}]({name})"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # so that a reader sees the old page or the new one
    temporary.write_text(environment.get_template(template).render(values), encoding="utf-8")
    return temporary.replace(path)


def escape_markdown(text: str) -> str:
    """`text` on one line, with every special character of Markdown and HTML escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))


def keep_names(text: str) -> Markup:
    """`text` as HTML, with no break within a name that has hyphens, an interval's end, or an eta."""
    kept = Markup('<span class="name">{}</span>')
    words = re.sub(r" (?=%)|(?<= to) (?=−)|(?<=\beta) |(?<=\(FD) ", "\u00a0", text).split(" ")
    return Markup(" ").join(kept.format(word) if "-" in word and len(word) <= LONGEST else word for word in words)


def draw_line(line: Line, figure: Figure) -> str:
    """A line of a figure in characters, for Markdown, where a mark is ●, or ○ if it is no verdict."""
    low, high, zero, *marks = (
        round(place / 100 * (WIDTH - 1))
        for place in (line.bar.low, line.bar.high, figure.zero, *(place for _, place in line.bar.marks))
    )
    characters = ["─" if low <= at <= high else " " for at in range(WIDTH)]
    characters[zero] = "┼" if characters[zero] == "─" else "│"
    usual = "○" if line.bar.look == "not" else "●"
    for at, (look, _) in zip(marks, line.bar.marks, strict=True):
        characters[at] = GLYPHS.get(look, usual)
    labels = [" ".join(other.label.replace(BREAK, "").split()) for other in (line, *figure.lines)]
    label, width = labels[0], min(max(map(len, labels)), LETTERS)
    if len(label) > width:
        label += f"\n{'':{width + 2}}"
    word = line.word if line.word not in ("better", "worse", NO_DIFFERENCE) else ""
    interval = f" ({line.interval})" if line.interval else ""
    word += f": {line.note}" if line.note else ""
    return f"{label:<{width}} {''.join(characters)} {line.value:>7}{interval} {word}".rstrip()


def draw_legend(figure: Figure) -> str:
    """The marks of a figure of samplers and what they are, in characters."""
    marks = (f"{GLYPHS.get(look, '●')} {text}" for look, text in figure.legend)
    return f" {', '.join(marks)}." if figure.long and figure.legend else ""


def read_picture(path: Path) -> tuple[str, int]:
    """A PNG as a link that holds it, with fewer shades, and its shown width: a whole multiple of its own."""
    buffer = io.BytesIO()
    most = SHADES - 1
    with Image.open(path) as image:
        image.point(lambda value: (value * most + 127) // 255 * 255 // most).save(buffer, "PNG", optimize=True)
        return _data_uri(buffer.getvalue()), image.width * max(1, 256 // image.width)


def read_strip(path: Path) -> tuple[str, int, int]:
    """Four samples in a row as a link that holds them, with width and height."""
    with Image.open(path) as image:
        return _data_uri(path.read_bytes()), *image.size


def _data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
