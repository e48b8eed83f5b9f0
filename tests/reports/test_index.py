"""`python -m reports index`: all runs of a folder on one page."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from reports.index import write_index

HERE = Path(__file__).parent


def copy(folder: Path, name: str, run: str = "run") -> Path:
    return Path(shutil.copytree(HERE / run, folder / name))


def test_the_index_has_every_result_and_says_which_cannot_be_read(tmp_path: Path) -> None:
    images = copy(tmp_path, "deep/one") / "images"
    for name in pd.read_csv(images.parent / "table.csv")["samples_id"].dropna():
        shutil.copy(images / "real.png", images / f"{name}.png")
    (tmp_path / "deep" / "one" / "report.html").touch()
    copy(tmp_path, "two", "run-ladders")
    broken = copy(tmp_path, "three <b>")
    (broken / "table.csv").write_text("experiment\nbeta\n")
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert page.count("<article") == 3 and "3 results" in page
    assert "Yes. Putting noise back lowers FD from 15.56 to 11.91 at the same cost." in page
    assert 'href="deep/one/report.html"' in page and "two (no report yet)" in page
    assert "table.csv: missing columns" in page and "three &lt;b&gt;" in page and "<b>" not in page
    assert "2026-11-20" in page and page.count("data:image/png") == 1
    assert write_index(tmp_path).read_text(encoding="utf-8") == page
    with pytest.raises(FileNotFoundError, match="no result folder below it"):
        write_index(images)


def test_a_run_that_is_not_to_be_trusted_is_marked_in_the_index(tmp_path: Path) -> None:
    directory = copy(tmp_path, "one", "run-noise_levels")
    assert json.loads((directory / "run.json").read_text())["experiment"] == "noise_levels"
    assert 'class="warning">Do not rely on this result' in write_index(tmp_path).read_text(encoding="utf-8")
