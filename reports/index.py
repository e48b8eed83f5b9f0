"""`python -m reports index FOLDER`: one page on all results below FOLDER, a row each, grouped by question."""

from pathlib import Path
from typing import Any

from reports.page import Page, Source
from reports.render import PAGES, read_page, read_picture, write_template
from reports.results import read_info


def write_index(folder: Path) -> Path:
    """The path of index.html in `folder`, after writing it: links to the reports below it, archived results folded.

    Raises:
        FileNotFoundError: there is no result folder below `folder`.
    """
    paths = sorted(path.parent for path in folder.rglob("run.json"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no result folder below it; a result folder has a run.json")
    rows = [index_row(path, folder) for path in paths]
    by_question: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if not row["archived"]:
            by_question.setdefault(row["page"].question, []).append(row)
    values = {"groups": by_question, "archived": [row for row in rows if row["archived"]], "count": len(rows)}
    return write_template(folder / "index.html", "index.html", values)


def index_row(path: Path, root: Path) -> dict[str, Any]:
    """What the index shows of one result folder below `root`; archived if its command is gone."""
    folder, error, archived, thumbnail = path.relative_to(root).as_posix(), "", False, ""
    link = f"{folder}/report.html" if (path / "report.html").is_file() else ""
    try:
        info = read_info(path / "run.json")
        if archived := info["experiment"] not in PAGES:
            about = Source([info["experiment"], f"commit {info.get('commit', 'unknown')}"])
            page, link = Page(about, info["question"], "", ""), link or f"{folder}/"
        else:
            page = read_page(path)
            for picture in page.pictures[-1:]:
                thumbnail = read_picture(path / "images" / f"{picture.name}.png")[0]
    except (OSError, ValueError) as failure:
        page, error = Page(Source(), "Cannot be read", "", ""), str(failure)
    figures = {figure.role: figure for figure in reversed(page.key_figures)}
    return {
        "folder": folder, "link": link, "page": page, "error": error, "thumbnail": thumbnail, "archived": archived,
        "effect": None if page.failed else figures.get("effect"),
        "evidence": figures["evidence"].value if "evidence" in figures else "",
    }  # fmt: skip
