"""`python -m reports index FOLDER`: one page on all results below FOLDER, a row each, grouped by question."""

from dataclasses import dataclass
from pathlib import Path

from reports.page import KeyFigure, Page, Source
from reports.render import PAGES, read_page, read_picture, write_template
from reports.results import read_info

NAME = "index.html"


@dataclass(frozen=True)
class IndexRow:
    """A result folder and its page. `archived`: it was made by a command that is gone; its page is empty."""

    folder: str
    link: str
    page: Page
    error: str = ""
    thumbnail: str = ""
    archived: bool = False

    @property
    def effect(self) -> KeyFigure | None:
        """The key figure of the difference; none if the control failed."""
        return None if self.page.failed else self._find("effect")

    @property
    def evidence(self) -> str:
        """Networks × images."""
        figure = self._find("evidence")
        return figure.value if figure else ""

    def _find(self, role: str) -> KeyFigure | None:
        return next((figure for figure in self.page.key_figures if figure.role == role), None)


def write_index(folder: Path) -> Path:
    """The path of index.html in `folder`, after writing it: links to the reports below it, archived results folded.

    Raises:
        FileNotFoundError: there is no result folder below `folder`.
    """
    paths = sorted(path.parent for path in folder.rglob("run.json"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no result folder below it; a result folder has a run.json")
    rows = [index_row(path, folder) for path in paths]
    groups: dict[str, list[IndexRow]] = {}
    for row in rows:
        if not row.archived:
            groups.setdefault(row.page.question, []).append(row)
    values = {"groups": groups, "archived": [row for row in rows if row.archived], "count": len(rows)}
    return write_template(folder / NAME, "index.html", values)


def index_row(path: Path, root: Path) -> IndexRow:
    """What the index shows of one result folder below `root`."""
    folder = path.relative_to(root).as_posix()
    link = f"{folder}/report.html" if (path / "report.html").is_file() else ""
    try:
        info = read_info(path / "run.json")
        if info["experiment"] not in PAGES:
            about = Source([info["experiment"], f"commit {info.get('commit', 'unknown')}"])
            return IndexRow(folder, link or f"{folder}/", Page(about, info["question"], "", ""), archived=True)
        page = read_page(path)
    except (OSError, ValueError) as error:
        return IndexRow(folder, link, Page(Source(), "Cannot be read", "", ""), str(error))
    thumbnails = [read_picture(path / "images" / f"{picture.name}.png")[0] for picture in page.pictures[-1:]]
    return IndexRow(folder, link, page, thumbnail=thumbnails[0] if thumbnails else "")
