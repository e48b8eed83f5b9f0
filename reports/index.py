"""`python -m reports index FOLDER`: one page on all result folders below FOLDER, to sort and to filter."""

from pathlib import Path
from typing import Any

from reports.document import About, Opening
from reports.folders import first_screen, result_folders
from reports.render import embedded_picture, write_template

NAME = "index.html"


def write_index(folder: Path) -> Path:
    """The path of index.html in `folder`, after writing it. It links to the reports next to it.

    Folders that cannot be read are listed with the reason.

    Raises:
        FileNotFoundError: there is no result folder below `folder`.
    """
    entries = [entry(path, folder) for path in result_folders(folder)]
    shown = [picture for one in entries for picture, _ in one["opening"].pictures[-1:]]
    pictures = {picture: embedded_picture(picture) for picture in shown}
    return write_template(folder / NAME, "index.html.j2", {"entries": entries, "pictures": pictures})


def entry(directory: Path, root: Path) -> dict[str, Any]:
    """What the index says of one result folder below `root`: its first screen, or why it cannot be read."""
    where = directory.relative_to(root).as_posix()
    link = f"{where}/report.html" if (directory / "report.html").is_file() else ""
    try:
        about, opening = first_screen(directory)
    except (OSError, ValueError) as error:
        about, opening = About(""), Opening("", warnings=[str(error)])
    return {"folder": where, "link": link, "about": about, "opening": opening}
