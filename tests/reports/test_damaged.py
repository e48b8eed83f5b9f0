"""A damaged file of a result folder gives one error that names it, and never half a report."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.entrypoint import run_main
from reports.__main__ import run
from reports.render import write_report


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "a text"])
@pytest.mark.parametrize("name", ["real", "-4"])
def test_a_damaged_picture_is_named_in_one_line_and_the_old_report_stays(
    beta: Callable[..., Path], name: str, cut: bool
) -> None:
    write_report(directory := beta())
    before = {end: (directory / f"report.{end}").read_bytes() for end in ("html", "md")}
    path = max((directory / "images").glob(f"*{name}.png"))
    path.write_bytes(path.read_bytes()[:40] if cut else b"<svg/>")
    with pytest.raises(ValueError, match=rf"^{path}: no picture: [^\n]+$"):
        write_report(directory)
    assert {end: (directory / f"report.{end}").read_bytes() for end in before} == before
    assert not list(directory.glob(".*"))


@pytest.mark.parametrize(("arguments", "line"), [
    ("bench none.json", "none.json: no such file; `pytest --benchmark"), ("index .", ".: no result folder below it"),
    (".", "run.json: no such file; a result folder has one"), ("publish . .", ".: it exists; choose a new folder"),
])  # fmt: skip
def test_what_is_not_there_is_one_line_and_status_2(
    arguments: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["reports", *arguments.split()])
    assert run_main(run) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {line}") and error.count("\n") == 1
