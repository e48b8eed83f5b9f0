"""`python -m reports index FOLDER`: one page on all result folders below FOLDER, to sort and to filter."""

from dataclasses import dataclass
from pathlib import Path

from reports.folders import first_screen, result_folders
from reports.render import embedded_picture, write_template

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
        about, opening = first_screen(directory)
    except (OSError, ValueError) as error:
        return Entry(link, where, broken=str(error))
    picture, label = opening.pictures[-1] if opening.pictures else (None, "")
    warnings = "; ".join(opening.warnings)
    return Entry(link, where, about.question, opening.answer, about.line, about.date, picture, label, warnings)
