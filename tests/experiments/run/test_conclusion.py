"""The last screen of a run says the verdict, on a terminal and elsewhere."""

import io
import shutil
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from rich.console import Console

from experiments.run.conclusion import show, show_failures

RUN = Path(__file__).parents[2] / "reports" / "run"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUN, tmp_path / "run")) / "report.html"


def shown(report: Path, terminal: bool, works: bool = False, color: Literal["standard"] | None = None) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, markup=False, color_system=color)
    show(report, str(report), works, console)
    return text.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_verdict_and_the_numbers_are_said(report: Path, terminal: bool) -> None:
    text = shown(report, terminal)
    assert "Yes. Putting noise back lowers FD from 15.56 to 11.91 at the same cost." in text
    assert "FD without fresh noise" in text and "95 % interval −" in text
    assert ("╭" in text and "A/A control passed" in text) == terminal
    assert ("verdict: Yes." in text and f"report: {report}" in text) != terminal


GREEN, RED = "\x1b[1;32m", "\x1b[1;37;41m"  # bold green; bold white on red


@pytest.mark.parametrize("works", [True, False], ids=["smoke", "laptop"])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_result_that_must_not_be_trusted_says_so(report: Path, terminal: bool, works: bool) -> None:
    """In red and without green, unless the run asked only whether everything works: it does, and that comes first."""
    frame = pd.read_csv(report.parent / "contrasts.csv", dtype=str, keep_default_na=False)
    frame.loc[frame["kind"] == "control", "clear"] = "True"
    frame.to_csv(report.parent / "contrasts.csv", index=False)
    text = shown(report, terminal, works, "standard")
    assert "Not established." in text and "Do not rely on this result" in text
    assert ("Everything works" in text.partition("Do not rely")[0]) == works
    if terminal:
        assert (f"{GREEN}Everything works" in text) == (GREEN in text) == works and (RED in text) != works


def test_what_failed_is_said_with_its_log_and_what_to_do(tmp_path: Path) -> None:
    """One line per setting and message; a run without a log has none."""
    (tmp_path / "r1.log").write_text("Traceback")
    rows = [
        {"run_id": run, "status": status, "mode": "all", "setting": setting, "error": error}
        for run, status, setting, error in [
            ("r1", "failed", "broken", "RuntimeError: [no] gain"),
            ("r2", "failed", "broken", "RuntimeError: [no] gain"),
            ("r3", "failed", "lost", "OSError: disk"),
            ("r4", "ok", "heun", ""),
        ]
    ]
    text = io.StringIO()
    for some in (rows, rows[3:]):
        show_failures(some, tmp_path, Console(file=text, width=400, color_system=None, markup=False))
    assert text.getvalue().splitlines() == [
        f"failed: all: broken (2 runs): RuntimeError: [no] gain; traceback: {tmp_path / 'r1.log'}",
        "failed: all: lost: OSError: disk",
        "to do: repair the cause, then give the same command again; what is finished is not computed again",
    ]
