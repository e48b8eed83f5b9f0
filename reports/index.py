"""`python -m reports index FOLDER`: what to use, from what was confirmed in the results below FOLDER; then each one."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from reports.formats import are_set, evaluations, join, number, scale_metric, short
from reports.page import Column, Page, Row, Source, Table
from reports.render import PAGES, make_page, read_picture, write_template
from reports.results import LoadedResult, read, read_info
from reports.schema import CONFIRM, PRIMARY_METRIC, RIVAL

MOST = 16  # rows of what to use
FRAME = ("Training images", "Features")  # what was fixed: shown where it differs
HEADS = (
    *FRAME, "Evaluations", "Use", "MMD ×1000", "FD", "Fresh noise", "Report",
)  # fmt: skip
TWINS = ("beta", "schedules", "noise_levels")  # experiments whose results are compared if one fixed choice differs
NUMBERS = {"last level": "sigma_min", "training images": "images_seen"}  # and columns: fixed choices of twins


def write_index(folder: Path) -> Path:
    """The path of index.html in `folder`, after writing it: what to use, and links to the reports below it, and back.

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
        "use": list_what_to_use(results),
    }  # fmt: skip
    write_links(folder, [row for row in rows if row["result"] and row["link"]])
    return write_template(folder / "index.html", "index.html", values)


def write_links(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes links into the reports below `folder`: to the index, and to results that differ in one fixed choice."""
    fixed = {row["link"]: describe_fixed(row["result"]) for row in rows}
    for link, own in fixed.items():
        places = {"All results": "index.html"}
        for other, choices in fixed.items():
            changed = [text for text, mine in zip(choices, own, strict=False) if text != mine]
            if len(choices) == len(own) and len(changed) == 1 and changed[0]:
                places[f"Compare: {changed[0]}"] = quote(other)
        up = "../" * link.count("/")
        links = "".join(Markup('<a href="{}{}">{}</a> ').format(up, *item[::-1]) for item in places.items())
        before, start, html = (folder / link).read_text(encoding="utf-8").partition("<nav>")
        end = html[html.find('<a href="#terms"') :]
        (folder / link).write_text("".join([before, start, links if start else "", end]), encoding="utf-8")


def describe_fixed(result: LoadedResult) -> list[str]:
    """The question of a result, then its fixed choices in words, "" where several competed; [] if it has no twins."""
    if result.info["experiment"] not in TWINS:
        return []
    runs = result.runs
    values = {name: runs[name] for name in ("data", "network", "features")}
    values |= {name: runs[column].dropna().map(short) for name, column in NUMBERS.items()}
    said = (f"{name} {found.iloc[0]}" if found.nunique() == 1 else "" for name, found in values.items())
    return [result.info["question"], *said]


def describe_source(rows: Sequence[dict[str, Any]]) -> str:
    """The version that wrote the last result, and its day."""
    last = max(rows, key=lambda row: str(row["page"].source.date))
    day = last["page"].source.day
    return f"Sigmabench {last['version']}".strip() + (f" · last result of {day}" if day else "")


def list_what_to_use(results: Mapping[str, LoadedResult]) -> Table:
    """The table of what each confirmed result advises; results by their folder.

    A data set without such a result has the command for one. The name of a row is its data set; columns that never
    differ are left out.
    """
    rows = [cells for name, result in results.items() for cells in list_advice(name, result)]
    rows.sort(key=lambda row: str(row["Data"]))
    known = {row["Data"] for row in rows}
    trained = (result.runs for result in results.values() if result.runs["images_seen"].max() > 0)
    for name in dict.fromkeys(name for runs in trained for name in runs["data"].head(1)):
        if name not in known:
            rows.append({"Data": name, "Use": f"not confirmed: python -m experiments beta --data {name}"})
    texts = {head: [str(row.get(head, "")) for row in rows[:MOST]] for head in HEADS}
    kept = {head: cells for head, cells in texts.items() if len({*cells} - {""}) > (head in FRAME)}
    cells = [Row(row["Data"], [of[at] for of in kept.values()]) for at, row in enumerate(rows[:MOST])]
    return Table("What to use", [Column(head) for head in kept], cells)


def list_advice(folder: str, result: LoadedResult) -> Iterator[dict[str, str]]:
    """The cells of each confirmed advice on sampling, with its scores and the change that it brings."""
    rows = result.judged
    confirmed = rows[rows["family"].eq(CONFIRM) & rows["within"].notna()]
    seen = result.runs["images_seen"].max()
    rivals = confirmed[confirmed["b_is"] == RIVAL].groupby("verdict", sort=False)["within"]
    noise = "; ".join(f"{verdict} within {join(number(n, 0) for n in within)}" for verdict, within in rivals)
    for _, row in confirmed[are_set(confirmed["advised"])].iterrows():
        side = "a" if row["use"] == row["a"] else "b"
        fd = result.beside(row, "fd")
        yield {
            "Data": result.runs["data"].iloc[0], "Training images": number(seen, 0) if seen > 0 else "",
            "Features": result.features, "Evaluations": evaluations(row["nfe"]), "Use": row["use"],
            "MMD ×1000": scale_metric(PRIMARY_METRIC, row[f"value_{side}"]),
            "FD": "" if fd is None else scale_metric("fd", fd[f"value_{side}"]),
            "Fresh noise": noise, "Report": folder,
        }  # fmt: skip


def index_row(path: Path, root: Path) -> dict[str, Any]:
    """Reads the values that the index shows of one result folder below `root`; archived if its command is gone."""
    folder = path.relative_to(root).as_posix()
    link = f"{folder}/report.html" if (path / "report.html").is_file() else ""
    info: dict[str, Any] = {}
    error = thumbnail = ""
    archived = False
    result = None
    try:
        info = read_info(path / "run.json")
        if archived := info["experiment"] not in PAGES:
            about = Source([info["experiment"], f"commit {info.get('commit', 'unknown')}"])
            page = Page(about, info["question"], "", "")
            link = link or f"{folder}/"
        else:
            result = read(path)
            page = make_page(result)
            for picture in page.pictures[-1:]:
                thumbnail = read_picture(path / "images" / f"{picture.name}.png")[0]
    except (OSError, ValueError) as failure:
        page = Page(Source(), "Cannot be read", "", "")
        result = None
        error = str(failure)
    order = [*PAGES]
    return {
        "folder": folder, "link": link, "page": page, "result": result, "error": error,
        "thumbnail": thumbnail, "archived": archived,
        "place": order.index(info["experiment"]) if not error and not archived else len(order),
        "version": info.get("versions", {}).get("sigmabench", ""),
    }  # fmt: skip
