"""The last screen of a run is the first screen of its page, on a terminal and elsewhere."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from rich.console import Console

from experiments.run.pairs import Pair
from experiments.run.printing import NetworkLines
from experiments.run.result_folder import print_failures, print_page
from reports.page import KeyFigure, Page, Source

PAGE = Page(
    Source(), "Does fresh noise help?", "Yes.", "FD from 15.6 to 11.9 (difference −3.7; −4.8 to −2.5).",
    also="With 8 evaluations: keep eta 0.", warnings=["Far from real images."], caveats=["Fine noise."],
    key_figures=(
        KeyFigure("Effect on MMD ×1000", "−12.1", ("95 % interval −14.0 to −10.2",)),
        KeyFigure("FD, before → after", "15.6 → 11.9", ("real images 0.9",), legend=(("before", "eta 0"),)),
    ),
)  # fmt: skip
BAD = replace(PAGE, lead="It is wrong.", alarm=True)


def print_lines(page: Page, terminal: bool, works: bool = False, color: Literal["standard"] | None = None) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, markup=False, color_system=color)
    print_page(page, Path("/runs/x/report.html"), "runs/x/report.html", works, console)
    return text.getvalue()


def test_lines_are_the_first_screen_in_its_order():
    assert print_lines(PAGE, terminal=False).splitlines() == [
        "verdict: Yes. FD from 15.6 to 11.9 (difference −3.7; −4.8 to −2.5).",
        "also: With 8 evaluations: keep eta 0.",
        "warning: Far from real images.",
        "caveat: Fine noise.",
        "  Effect on MMD ×1000: −12.1 (95 % interval −14.0 to −10.2)",
        "  FD, before → after: 15.6 → 11.9 (real images 0.9)",
        "report: runs/x/report.html",
    ]
    bare = print_lines(replace(PAGE, also="", warnings=(), caveats=(), key_figures=()), terminal=False).splitlines()
    assert [line.partition(":")[0] for line in bare] == ["verdict", "report"]


GREEN, RED = "\x1b[1;32m", "\x1b[1;31m"  # bold


@pytest.mark.parametrize("works", [True, False], ids=["smoke", "laptop"])
def test_bad_news_is_red(works: bool):
    """After the green line that all works, if the run asked only that."""
    text = print_lines(BAD, True, works, "standard")
    before, found, _ = text.partition("It is wrong.")
    assert found and before.endswith(f"{RED}verdict: ")
    assert (f"{GREEN}Everything works" in before) == works == (GREEN in text)


def test_what_failed_is_said_with_its_log_and_what_to_do(tmp_path: Path):
    """One line per setting and message; a run without a log has none."""
    (tmp_path / "r1.log").write_text("Traceback")
    broken = {"run_id": "r1", "status": "failed", "section": "all", "setting": "broken"}
    broken["error"] = "RuntimeError: [no] gain"
    lost = broken | {"run_id": "r3", "setting": "lost", "error": "OSError: disk"}
    rows = [broken, broken | {"run_id": "r2"}, lost, {"status": "ok"}]
    text = io.StringIO()
    for some in (rows, rows[3:]):
        print_failures(some, tmp_path, Console(file=text, width=400, color_system=None, markup=False))
    assert text.getvalue().splitlines() == [
        f"failed: all: broken (2 runs): RuntimeError: [no] gain; traceback: {tmp_path / 'r1.log'}",
        "failed: all: lost: OSError: disk",
        "to do: repair the cause, then give the same command again; what is finished is not computed again",
    ]


def test_a_network_that_is_done_is_a_line_with_the_scores_of_both_sides():
    """Lines are some seconds apart, the last network has none, and no score is named where a side did not run."""
    runs: Any = [
        SimpleNamespace(network=SimpleNamespace(seed=seed), impossible="", setting=SimpleNamespace(key=("s", 0, name)))
        for seed in (0, 1) for name in ("a", "b", "c")
    ]  # fmt: skip
    scores: Any = {"a": {"fd": 2.0}, "b": {"fd": 3.0}, "c": None}
    text = io.StringIO()
    for other in ("b", "c"):
        pairs = [Pair("s", [("s", 0, "a")], [("s", 0, other)])]
        console = Console(file=text, width=200)
        lines = NetworkLines(console, runs, pairs, lambda run: scores[run.setting.key[2]], 0.0)
        for done in (runs[:3], runs[:3], runs):
            lines(done, {})
    assert text.getvalue().splitlines() == [
        "1 of 2 networks done; FD 3.0 with b, 2.0 with a; no verdict before all 2",
        "1 of 2 networks done; no verdict before all 2",
    ]
