"""`python -m reports index FOLDER`: one page on all results below FOLDER, a row each, grouped by question."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.formats import join
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
    rows = sorted((index_row(path, folder) for path in paths), key=lambda row: row["place"])
    by_question: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if not row["archived"]:
            by_question.setdefault(row["page"].question, []).append(row)
    groups = {question: (compare_verdicts(rows), rows) for question, rows in by_question.items()}
    archived = [row for row in rows if row["archived"]]
    values = {
        "groups": groups, "archived": archived, "count": len(rows) - len(archived), "source": describe_source(rows),
        "flagged": any(row["error"] or row["page"].warnings for row in rows),
    }  # fmt: skip
    return write_template(folder / "index.html", "index.html", values)


def describe_source(rows: Sequence[dict[str, Any]]) -> str:
    """The version that wrote the last result, and its day."""
    last = max(rows, key=lambda row: str(row["page"].source.date))
    day = last["page"].source.day
    return f"Sigmabench {last['version']}".strip() + (f" · last result of {day}" if day else "")


def compare_verdicts(rows: Sequence[dict[str, Any]]) -> str:
    """How many results of one question have each verdict, as "4 results: 3 better and 1 no verdict"; "" of one."""
    counts = Counter(row["verdict"] for row in rows if row["verdict"])
    if counts.total() < 2:
        return ""
    if len(counts) == 1:
        return f"The same verdict on the first comparison in all {counts.total()}: {next(iter(counts))}."
    return f"{counts.total()} results: {join(f'{count} {verdict}' for verdict, count in counts.most_common())}."


def index_row(path: Path, root: Path) -> dict[str, Any]:
    """What the index shows of one result folder below `root`; archived if its command is gone."""
    folder = path.relative_to(root).as_posix()
    link = f"{folder}/report.html" if (path / "report.html").is_file() else ""
    info: dict[str, Any] = {}
    error = thumbnail = ""
    archived = False
    try:
        info = read_info(path / "run.json")
        if archived := info["experiment"] not in PAGES:
            about = Source([info["experiment"], f"commit {info.get('commit', 'unknown')}"])
            page = Page(about, info["question"], "", "")
            link = link or f"{folder}/"
        else:
            page = read_page(path)
            for picture in page.pictures[-1:]:
                thumbnail = read_picture(path / "images" / f"{picture.name}.png")[0]
    except (OSError, ValueError) as failure:
        page = Page(Source(), "Cannot be read", "", "")
        error = str(failure)
    figures = {figure.role: figure for figure in reversed(page.key_figures)}
    effect = None if page.failed else figures.get("effect")
    order = [*PAGES]
    return {
        "folder": folder, "link": link, "page": page, "error": error, "thumbnail": thumbnail, "archived": archived,
        "effect": effect, "verdict": effect.bars[0].verdict if effect and effect.bars else "",
        "evidence": figures["evidence"].value if "evidence" in figures else "",
        "place": order.index(info["experiment"]) if not error and not archived else len(order),
        "version": info.get("versions", {}).get("sigmabench", ""),
    }  # fmt: skip
