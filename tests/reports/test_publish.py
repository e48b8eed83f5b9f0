"""Published results: few files, small, and rendered again from what they hold."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import publish as publishing
from reports.pages import PAGES
from reports.publish import publish
from reports.render import PICTURE, write_report

PUBLISHED = Path(__file__).parents[2] / "reports" / "published"


def test_published_reports_are_few_and_small() -> None:
    files = [path for path in PUBLISHED.rglob("*") if path.is_file()]
    assert len(files) <= 300 and sum(path.stat().st_size for path in files) <= 12_000_000


@pytest.mark.parametrize("name", ["beta-mnist", "noise_levels-natural", "ladders-laptop"])
def test_a_published_report_is_rendered_from_its_tables(
    name: str, text_of: Callable[[Path], str], tmp_path: Path
) -> None:
    text = text_of(Path(shutil.copytree(PUBLISHED / name, tmp_path / name)))
    assert text == (PUBLISHED / name / "report.md").read_text(encoding="utf-8")


def test_a_report_whose_command_has_gone_says_so_first() -> None:
    infos = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in PUBLISHED.glob("*/run.json")}
    kept = {folder: info["commit"] for folder, info in infos.items() if info["experiment"] not in PAGES}
    assert len(kept) == 7
    for folder, commit in kept.items():
        for name in ("report.md", "report.html"):
            text = (folder / name).read_text(encoding="utf-8")
            assert f"Made by commit {commit}. Its command, " in text[: text.index("Sigmabench ·")]
        with pytest.raises(ValueError, match="this version has no page for it"):
            write_report(folder)


@pytest.mark.slow
def test_what_is_published_gives_the_same_report_again(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "LARGE", 1_000)
    directory = Path(shutil.copytree(page.parent, tmp_path / "run"))
    (directory / "figures" / "stale.svg").write_text("<svg/>")
    out = publish(directory, tmp_path / "out")
    assert not (out.parent / "figures" / "stale.svg").exists() and out.read_bytes() == page.read_bytes()
    before, pictures = out.read_bytes(), {path.name for path in (out.parent / "images").iterdir()}
    assert "real.png" in pictures and len(pictures) == 3
    assert (out.parent / "films.csv.gz").is_file() and not (out.parent / "films.csv").exists()
    assert (out.parent / "table.csv").is_file()
    write_report(out.parent)
    assert out.read_bytes() == before
    unpacked = {path.stem for path in (out.parent / "images").iterdir()}
    assert unpacked == {name for _, name in PICTURE.findall(before.decode())} and len(unpacked) > 20
    with pytest.raises(ValueError, match=r"out: it exists; choose a new folder$"):
        publish(page.parent, out.parent)
