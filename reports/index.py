"""`python -m reports index FOLDER`: one page on all result folders below FOLDER, to sort and to filter."""

from dataclasses import dataclass
from pathlib import Path

from reports import figures
from reports.openings import about
from reports.render import embedded_picture, read_opening, write_template
from reports.samplers.page import first_screen
from reports.samplers.rows import FILE as SAMPLERS
from reports.samplers.rows import Checks, read_checks

NAME = "index.html"


@dataclass(frozen=True)
class Entry:
    """One result folder, or the reason why it cannot be read (`broken`)."""

    link: str
    folder: str
    question: str = ""
    verdict: str = ""
    about: str = ""  # data, network, features, date, time taken
    date: str = ""
    picture: Path | None = None
    label: str = ""
    broken: str = ""


def result_folders(folder: Path) -> list[Path]:
    """The result folders below `folder`. Raises FileNotFoundError if there is none."""
    folders = sorted(path.parent for name in ("run.json", SAMPLERS) for path in folder.rglob(name))
    if not folders:
        raise FileNotFoundError(f"{folder}: no result folder below it; a result folder has a run.json")
    return folders


def write_index(folder: Path, out: Path | None = None) -> Path:
    """The path of index.html in `out` (by default `folder`), after writing it. It links to the reports next to it.

    Folders that cannot be read are listed with the reason.

    Raises:
        FileNotFoundError: there is no result folder below `folder`.
    """
    out = out or folder
    entries = [entry(path, folder, out) for path in result_folders(folder)]
    pictures = {one.picture: embedded_picture(one.picture) for one in entries if one.picture}
    return write_template(out / NAME, "index.html.j2", {"entries": entries, "pictures": pictures})


def entry(directory: Path, root: Path, out: Path) -> Entry:
    """What the index in `out` says of one result folder below `root`."""
    where = directory.relative_to(root).as_posix()
    link = f"{where}/report.html" if (out / where / "report.html").is_file() else ""
    try:
        if (directory / SAMPLERS).is_file():
            return _of_samplers(link, where, read_checks(directory))
        run, opening = read_opening(directory)
    except (OSError, ValueError) as error:
        return Entry(link, where, broken=str(error))
    dates = sorted(filter(None, run.rows["finished_at"]))
    picture, label = opening.pictures[-1] if opening.pictures else (None, "")
    return Entry(
        link, where, run.info["question"], opening.answer, about(run).line,
        dates[-1][:10] if dates else "", picture, label, "; ".join(opening.warnings),
    )  # fmt: skip


def _of_samplers(link: str, where: str, checks: Checks) -> Entry:
    with figures.style():
        about, opening = first_screen(checks)
    return Entry(link, where, about.question, opening.answer, about.line, checks.info["finished_at"][:10])
