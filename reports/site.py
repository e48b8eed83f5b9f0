"""`python -m reports site FOLDER OUT`: all results of a folder as static pages, for instance for GitHub Pages."""

from pathlib import Path
from urllib.parse import quote, urlsplit

from reports import figures
from reports.document import About, Opening
from reports.folders import first_screen, result_folders, write_report
from reports.index import NAME, write_index

CARD = "card.png"
MARK = '<p class="from">Sigmabench'


def write_site(folder: Path, out: Path, url: str = "") -> Path:
    """The path of OUT/index.html, after writing it, and each report with its card, in its own folder of OUT.

    Reports are copied as they are, and written first where there is none yet.

    Args:
        folder: has result folders in it, at any depth.
        out: a folder that does not exist.
        url: where OUT will be found. Other sites show cards only with it: they need whole addresses.

    Raises:
        FileNotFoundError: there is no result folder below `folder`.
        ValueError: `out` exists, `url` is none, or a result cannot be read.
    """
    if out.exists():
        raise ValueError(f"{out}: it exists; choose a new folder")
    if url and not (urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc):
        raise ValueError(f"url={url!r}: must start with https:// or http://")
    pages = [_page(directory, directory.relative_to(folder), url.rstrip("/")) for directory in result_folders(folder)]
    for where, page, about, opening in pages:
        (out / where).mkdir(parents=True)
        (out / where / "report.html").write_text(page, encoding="utf-8")
        with figures.style():
            card = figures.card(about, opening)
            card.savefig(out / where / CARD, metadata={"Software": None}, pil_kwargs={"optimize": True})
    (out / ".nojekyll").touch()  # GitHub Pages then publishes the files as they are
    return write_index(folder, out)


def _page(directory: Path, where: Path, url: str) -> tuple[Path, str, About, Opening]:
    """Where a report goes, and its page, which links to the index and names its card; and its first screen."""
    report = directory / "report.html"
    try:
        about, opening = first_screen(directory)
        page = (report if report.is_file() else write_report(directory)).read_text(encoding="utf-8")
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error
    if MARK not in page:
        raise ValueError(f"{report}: an earlier version wrote it; run `python -m reports {directory}` first")
    base = f"{url}/{quote(where.as_posix())}/" if url else ""
    card = (
        f'<meta property="og:image" content="{base}{CARD}">\n<meta name="twitter:card" content="summary_large_image">'
    )
    index = "../" * len(where.parts) + NAME
    page = page.replace("</title>", f"</title>\n{card}", 1)
    return where, page.replace(MARK, f'{MARK[:16]}<a href="{index}">Sigmabench: all results</a>', 1), about, opening
