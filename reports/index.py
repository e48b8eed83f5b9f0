"""`python -m reports index FOLDER`: what to use, from what was confirmed in the results below FOLDER; then each one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.formats import difference, number, scale_metric, short
from reports.page import Column, Page, Row, Source, Table
from reports.pages.chosen import choose_by_question
from reports.render import PAGES, make_page, read_picture, write_template
from reports.results import LoadedResult, read, read_info
from reports.schema import ASKED, CONFIRM, JUDGE

MOST = 10  # rows of what to use
SAMPLING = ("schedules", "tune")  # experiments that compare with a default, by number of evaluations


def write_index(folder: Path) -> Path:
    """The path of index.html in `folder`, after writing it: what to use, and links to the reports below it.

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
    archived = [row for row in rows if row["archived"]]
    results = {row["folder"]: row["result"] for row in rows if row["result"]}
    values = {
        "groups": by_question, "archived": archived, "count": len(rows) - len(archived),
        "source": describe_source(rows), "flagged": any(row["error"] or row["page"].warnings for row in rows),
        "use": list_what_to_use(results), "depends": say_what_turns(rows),
    }  # fmt: skip
    return write_template(folder / "index.html", "index.html", values)


def describe_source(rows: Sequence[dict[str, Any]]) -> str:
    """The version that wrote the last result, and its day."""
    last = max(rows, key=lambda row: str(row["page"].source.date))
    day = last["page"].source.day
    return f"Sigmabench {last['version']}".strip() + (f" · last result of {day}" if day else "")


def list_what_to_use(results: Mapping[str, LoadedResult]) -> Table:
    """By data set and evaluations the recommended setting, or the default if none is; results by their folder.

    Of data sets without such a result, what would fill the row. More than MOST rows: those go first in which more
    evaluations score no better than fewer; the name of a row is its data set, its strip the folder.
    """
    cells = list[tuple[bool, Row]]()
    confirmed = {name: result for name, result in results.items() if result.info["experiment"] in SAMPLING}
    confirmed = {name: result for name, result in confirmed.items() if result.was_confirmed}
    for folder, result in confirmed.items():
        best = float("inf")
        for _, row in choose_by_question(result.over_networks(kind=CONFIRM)).iterrows():
            advised = row["recommended"]
            sides = ("value_b", "value_a") if advised else ("value_b",)
            scores = [
                " → ".join(scale_metric(name, match[side]) for side in sides)
                for name in (JUDGE, "fd")
                if (match := result.pooled(row, name)) is not None
            ]
            change = "{} ({})".format(*difference(row)) if advised else ""
            setting = row["a"] if advised else row["b"]
            last = result.runs.loc[result.runs["setting"].eq(setting), "sigma_min"].iloc[0]
            use = setting if advised else f"{setting} (default)"
            values = [number(row["budget"], 0), use, short(last), *scores, change, folder]
            cells.append((row[sides[-1]] < best, Row(result.runs["data"].iloc[0], values)))
            best = min(best, row[sides[-1]])
    if len(cells) > MOST:
        cells = [cell for cell in cells if cell[0]]
    known = {row.name for _, row in cells}
    others = dict.fromkeys(name for result in results.values() for name in result.runs["data"].head(1))
    empty = [
        Row(name, ["", f"not confirmed: python -m experiments schedules --data {name}", "", "", "", "", ""])
        for name in others
        if name not in known
    ]
    heads = ("Evaluations", "Use", "Last level", "MMD ×1000", "FD", "Change of MMD (95 % interval)", "Report")
    return Table("What to use", [Column(head) for head in heads], [*(row for _, row in cells), *empty][:MOST])


def say_what_turns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the last `robustness` of these results found, and which are newer; empty of fewer than two to compare."""
    asked = [row for row in rows if row["result"] and row["result"].info["experiment"] in ASKED]
    if len(asked) < 2:
        return {}
    tables = [row for row in rows if row["result"] and row["result"].info["experiment"] == "robustness"]
    if not tables:
        return {"said": "", "newer": [], "run": True}
    last = max(tables, key=lambda row: str(row["finished"]))
    newer = [row["folder"] for row in asked if row["finished"] > last["finished"]]
    return {"said": last["page"].headline, "link": last["link"], "newer": newer, "run": newer}


def index_row(path: Path, root: Path) -> dict[str, Any]:
    """What the index shows of one result folder below `root`; archived if its command is gone."""
    folder = path.relative_to(root).as_posix()
    link = f"{folder}/report.html" if (path / "report.html").is_file() else ""
    info: dict[str, Any] = {}
    error = thumbnail = ""
    archived = False
    result = None
    finished = ""
    try:
        info = read_info(path / "run.json")
        if archived := info["experiment"] not in PAGES:
            about = Source([info["experiment"], f"commit {info.get('commit', 'unknown')}"])
            page = Page(about, info["question"], "", "")
            link = link or f"{folder}/"
        else:
            result = read(path)
            page = make_page(result)
            finished = max([*result.table["finished_at"], info.get("finished_at", "")])
            for picture in page.pictures[-1:]:
                thumbnail = read_picture(path / "images" / f"{picture.name}.png")[0]
    except (OSError, ValueError) as failure:
        page = Page(Source(), "Cannot be read", "", "")
        result = None
        error = str(failure)
    order = [*PAGES]
    return {
        "folder": folder, "link": link, "page": page, "result": result, "error": error,
        "thumbnail": thumbnail, "archived": archived, "finished": finished,
        "place": order.index(info["experiment"]) if not error and not archived else len(order),
        "version": info.get("versions", {}).get("sigmabench", ""),
    }  # fmt: skip
