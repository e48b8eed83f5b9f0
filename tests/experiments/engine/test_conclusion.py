"""The last screen of a run says the verdict, on a terminal and elsewhere."""

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from experiments.engine.conclusion import show

RUN = Path(__file__).parents[2] / "reports" / "run"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUN, tmp_path / "run")) / "report.html"


def shown(report: Path, terminal: bool) -> str:
    text = io.StringIO()
    show(report, Console(file=text, force_terminal=terminal, width=100, markup=False, color_system=None))
    return text.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_verdict_and_the_numbers_are_said(report: Path, terminal: bool) -> None:
    text = shown(report, terminal)
    assert "Yes. Putting noise back lowers FD from 15.56 to 11.91 at the same cost." in text
    assert "FD without noise" in text and "95 % interval −" in text
    assert ("╭" in text and "A/A control passed" in text) == terminal
    assert ("verdict: Yes." in text and f"report: {report}" in text) != terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_a_result_that_must_not_be_trusted_says_so(report: Path, terminal: bool) -> None:
    frame = pd.read_csv(report.parent / "contrasts.csv", dtype=str, keep_default_na=False)
    frame.loc[frame["kind"] == "control", "clear"] = "True"
    frame.to_csv(report.parent / "contrasts.csv", index=False)
    text = " ".join(shown(report, terminal).split())
    assert "Not established. Putting" in text and "Do not rely on this result" in text
