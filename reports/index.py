"""`python -m reports index FOLDER`: what to use, from what was confirmed in the results below FOLDER; then each one."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from reports import settings
from reports.formats import difference, evaluations, join, number, scale_metric, short
from reports.page import Column, Page, Row, Source, Table
from reports.pages import beta
from reports.pages.chosen import choose_by_question
from reports.render import PAGES, make_page, read_picture, write_template
from reports.results import LoadedResult, read, read_info
from reports.schema import CONFIRM, PRIMARY_METRIC, WITH

MOST = 16  # rows of what to use
FRAME = ("Training images", "Features")  # what was fixed: shown where it differs
HEADS = (
    *FRAME, "Evaluations", "Use", "MMD ×1000", "FD", "Change of MMD (95 % interval)", "Fresh noise", "Report",
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
    """The table of what each confirmed result advises, by number of evaluations; results by their folder.

    A data set without such a result has the command for one. More than MOST rows: those go first in which more
    evaluations score no better than fewer. The name of a row is its data set; columns that never differ are left out.
    """
    confirmed = {name: result for name, result in results.items() if result.was_confirmed}
    found = [(result, cells) for name, result in confirmed.items() for cells in list_advice(name, result)]
    if len(found) > MOST:
        found = [(result, cells) for result, cells in found if cells["best"]]
    rows = [{"Data": result.runs["data"].iloc[0], **cells} for result, cells in found]
    rows.sort(key=lambda row: str(row["Data"]))
    known = {row["Data"] for row in rows}
    trained = (result.runs for result in results.values() if result.runs["images_seen"].max() > 0)
    others = dict.fromkeys(name for runs in trained for name in runs["data"].head(1))
    for name in others:
        if name not in known:
            rows.append({"Data": name, "Use": f"not confirmed: python -m experiments beta --data {name}"})
    texts = {head: [str(row.get(head, "")) for row in rows[:MOST]] for head in HEADS}
    kept = {head: cells for head, cells in texts.items() if len({*cells} - {""}) > (head in FRAME)}
    cells = [Row(row["Data"], [of[at] for of in kept.values()]) for at, row in enumerate(rows[:MOST])]
    return Table("What to use", [Column(head) for head in kept], cells)


def list_advice(folder: str, result: LoadedResult) -> Iterator[dict[str, Any]]:
    """The cells of a confirmed result: of `beta` one row, of other sampling one for each number of evaluations."""
    seen = result.runs["images_seen"].max()
    frame = {"Training images": number(seen, 0) if seen > 0 else "", "Features": result.features, "Report": folder}
    contests = result.over_networks(kind=CONFIRM)
    contests = contests[contests["budget"].notna()].sort_values("budget", kind="stable")  # of samplings, not trainings
    if contests["choice"].eq(WITH).any():
        every = settings.summarise_settings(result)
        if (use := beta.choose_use(result, every, contests)) is not None:
            scores = {
                "MMD ×1000": scale_metric(PRIMARY_METRIC, use[PRIMARY_METRIC]),
                "FD": scale_metric("fd", use["fd"]),
            }
            said = contests.groupby("verdict", sort=False)["budget"]
            noise = "; ".join(f"{verdict} within {join(number(n, 0) for n in of)}" for verdict, of in said)
            yield frame | scores | {
                "Evaluations": evaluations(use["nfe"]), "Use": use["setting"], "Fresh noise": noise, "best": True,
            }  # fmt: skip
        return
    best = float("inf")
    for _, row in choose_by_question(contests).iterrows():
        advised = row["recommended"]
        sides = ("value_b", "value_a") if advised else ("value_b",)
        scores = {
            head: " → ".join(scale_metric(name, match[side]) for side in sides)
            for head, name in (("MMD ×1000", PRIMARY_METRIC), ("FD", "fd"))
            if (match := result.pooled(row, name)) is not None
        }
        setting = row["a"] if advised else row["b"]
        yield frame | scores | {
            "Evaluations": number(row["budget"], 0), "Use": setting if advised else f"{setting} (default)",
            "best": row[sides[-1]] < best,
            "Change of MMD (95 % interval)": "{} ({})".format(*difference(row)) if advised else "",
        }  # fmt: skip
        best = min(best, row[sides[-1]])


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
