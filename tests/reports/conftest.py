"""A small run directory of fixed rows, and a way to change it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports import render

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the committed run."""
    return Path(shutil.copytree(Path(__file__).parent / "run", tmp_path / "run"))


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the committed run, written once; only to be read."""
    folder = tmp_path_factory.mktemp("report") / "run"
    return render.write_report(Path(shutil.copytree(Path(__file__).parent / "run", folder)))


@pytest.fixture
def text_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """Writes a report and returns its Markdown; figures are drawn but not laid out, which takes most of the time."""
    monkeypatch.setattr(render, "svg", lambda drawing: "<svg/>")
    return lambda directory: render.write_report(directory).with_suffix(".md").read_text(encoding="utf-8")


@pytest.fixture
def change(directory: Path) -> Callable[[str, Change], None]:
    """Rewrites one CSV of the copy: `change("table.csv", lambda frame: ...)`; all cells are text."""

    def apply(name: str, how: Change) -> None:
        frame = pd.read_csv(directory / name, dtype=str, keep_default_na=False)
        how(frame).to_csv(directory / name, index=False)

    return apply
