"""`python -m reports index FOLDER`: one page on all result folders below FOLDER, to sort and to filter."""

from dataclasses import dataclass
from pathlib import Path

from reports.openings import data
from reports.render import embedded_picture, read_opening, write_template

NAME = "index.html"


@dataclass(frozen=True)
class Entry:
    """One result folder, or the reason why it cannot be read (`broken`)."""

    link: str
    folder: str
    question: str = ""
    verdict: str = ""
    experiment: str = ""
    about: str = ""  # data and network
    date: str = ""
    picture: Path | None = None
    label: str = ""
    broken: str = ""


def write_index(folder: Path) -> Path:
    """The path of FOLDER/index.html, after writing it. Folders that cannot be read are listed with the reason.

    Raises:
        FileNotFoundError: there is no result folder below `folder`.
    """
    found = sorted(path.parent for path in folder.rglob("run.json"))
    if not found:
        raise FileNotFoundError(f"{folder}: no result folder below it; a result folder has a run.json")
    entries = [entry(path, folder) for path in found]
    pictures = {one.picture: embedded_picture(one.picture) for one in entries if one.picture}
    return write_template(folder / NAME, "index.html.j2", {"entries": entries, "pictures": pictures})


def entry(directory: Path, root: Path) -> Entry:
    """What the index says of one result folder."""
    where = directory.relative_to(root).as_posix()
    link = f"{where}/report.html" if (directory / "report.html").is_file() else ""
    try:
        run, opening = read_opening(directory)
    except (OSError, ValueError) as error:
        return Entry(link, where, broken=str(error))
    rows = run.ok()
    about = f"{data(rows.iloc[0])}, network “{rows['network'].iloc[0]}”" if len(rows) else "no run succeeded"
    dates = sorted(filter(None, run.rows["finished_at"]))
    picture, label = opening.pictures[-1] if opening.pictures else (None, "")
    return Entry(
        link, where, run.info["question"], opening.answer, run.info["experiment"], about,
        dates[-1][:10] if dates else "", picture, label, "; ".join(opening.warnings),
    )  # fmt: skip
