"""`python -m reports index FOLDER`: one page on all results below FOLDER, a row each, grouped by question."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reports.page import Page, Slot, Source
from reports.render import picture, read_page, write_template

NAME = "index.html"


@dataclass(frozen=True)
class Entry:
    """A result folder: its page, or what its own report.md says if this version makes no page of it."""

    folder: str
    link: str
    page: Page
    error: str = ""
    thumbnail: str = ""

    @property
    def effect(self) -> Slot | None:
        """The slot of the difference; none if the control failed."""
        return None if self.page.failed else self._slot("effect")

    @property
    def evidence(self) -> str:
        """Networks × images."""
        slot = self._slot("evidence")
        return slot.value if slot else ""

    def _slot(self, role: str) -> Slot | None:
        return next((slot for slot in self.page.slots if slot.role == role), None)


def write_index(folder: Path) -> Path:
    """The path of index.html in `folder`, after writing it. It links to the reports below `folder`.

    Raises:
        FileNotFoundError: there is no result folder below `folder`.
    """
    found = sorted(path.parent for path in folder.rglob("run.json"))
    if not found:
        raise FileNotFoundError(f"{folder}: no result folder below it; a result folder has a run.json")
    groups: dict[str, list[Entry]] = {}
    for path in found:
        one = entry(path, folder)
        groups.setdefault(one.page.question, []).append(one)
    return write_template(folder / NAME, "index.html", {"groups": groups, "count": len(found)})


def entry(path: Path, root: Path) -> Entry:
    """What the index says of one result folder below `root`."""
    where = path.relative_to(root).as_posix()
    link = f"{where}/report.html" if (path / "report.html").is_file() else ""
    try:
        page = read_page(path)
    except (OSError, ValueError) as error:
        page = written(path / "report.md")
        return Entry(where, link, page, "" if page.verdict else str(error))
    shown = [path / "images" / f"{one.name}.png" for one in page.pictures[-1:]]
    thumbnails = [picture(file)[0] for file in shown]
    return Entry(where, link, page, thumbnail=thumbnails[0] if thumbnails else "")


def written(report: Path) -> Page:
    """The question and the first sentences of a report that an earlier version wrote."""
    lines = list(_lines(report))
    question = next((line[2:] for line in lines if line.startswith("# ")), "Cannot be read")
    source = next((line.strip("*").split(" · ")[1:] for line in lines if line.startswith("*Sigmabench")), [])
    verdict = next((line for line in lines if line[:1] not in "#*>|!-<" or line.startswith("**")), "")
    return Page(Source(source), question, "", verdict.replace("**", ""))


def _lines(report: Path) -> Iterator[str]:
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    yield from (line.replace("\\", "") for line in text.splitlines() if line.strip())
