"""The report on speed: what it says of fixed numbers, and what it does with files that are none."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.edge import guarded
from reports import figures
from reports.__main__ import run
from reports.speed.page import bars, write_bench_report
from reports.speed.rows import read_benchmarks

HERE = Path(__file__).parent
FILE = HERE / "bench.json"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """The committed file with one change."""

    def write(change: Change) -> Path:
        content = json.loads(FILE.read_text())
        change(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content))
        return path

    return write


def text(file: Path, folder: Path) -> str:
    return write_bench_report(file, folder).with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_text_is_as_committed(tmp_path: Path, as_committed: Any) -> None:
    as_committed(text(FILE, tmp_path / "a"), HERE / "expected.md")
    first, second = (write_bench_report(FILE, tmp_path / name).read_bytes() for name in "ab")
    assert first == second and b"http" not in first.replace(b"http://www.w3.org", b"")


def test_what_was_not_measured_is_left_out(changed: Callable[[Change], Path], tmp_path: Path) -> None:
    def keep(*suites: str) -> Change:
        return lambda content: content.update(
            benchmarks=[b for b in content["benchmarks"] if b["extra_info"].get("suite") in suites]
        )

    loop = text(changed(keep("loop")), tmp_path / "loop")
    assert "| 0.02 |" in loop and "## The loop alone" in loop and "| nan" not in loop
    assert "## Training" not in loop and "outside the network |" not in loop
    assert "\nSampling and training were not measured.\n" in loop
    noise = text(changed(keep("noise")), tmp_path / "noise")
    assert "The loop alone" not in noise and "| block noise | 0.24 |" in noise


def test_ours_alone_is_compared_with_nobody(changed: Callable[[Change], Path], tmp_path: Path) -> None:
    def ours(content: dict[str, Any]) -> None:
        content["benchmarks"] = [b for b in content["benchmarks"] if b["extra_info"].get("ours")]

    found = text(changed(ours), tmp_path / "ours")
    assert "at most; at least 0.2 %" in found and "fastest other" not in found
    assert found.split("\n\n")[2].startswith("Sampling makes 853 images per second. The loop takes at most 1.1 %")


def test_the_answer_opens_with_the_default_even_if_another_mode_is_faster(
    changed: Callable[[Change], Path], tmp_path: Path
) -> None:
    def default(content: dict[str, Any]) -> None:
        for bench in content["benchmarks"]:
            info = bench["extra_info"]
            info["default"] = info.get("suite") == "sampling" and info["ours"] and not info["compiled"]

    found = text(changed(default), tmp_path / "default")
    first = "By default, sampling is 1.0 times as fast as the fastest other loop (diffusers Euler). The loop takes"
    assert found.split("\n\n")[2] == f"{first} at most 1.1 % of the time."
    assert "| **213** | **205** | **1.1 %** |" in found and "ours, eta 0, fp32; 3 rounds, 203 to 222" in found


def test_bars_are_in_the_order_of_the_rows_and_ours_are_blue() -> None:
    rows = read_benchmarks(FILE).suite("loop").assign(label="any")
    ax = bars(rows, "ms_per_step", "ms", figures.panels(1, 1, 3)[1][0, 0])
    assert [bar.get_width() for bar in ax.patches] == [0.02, 0.2, 0.25, 0.5]
    assert [bar.get_facecolor()[2] > 0.65 for bar in ax.patches] == [True, True, False, False]


def test_the_first_screen_is_short_and_the_tables_are_folded(tmp_path: Path) -> None:
    page = write_bench_report(FILE, tmp_path / "page").read_text(encoding="utf-8")
    first, _, rest = page.partition("</section>")
    verdict = first.partition('<p class="verdict">')[2].partition("</p>")[0]
    assert len(verdict.replace("\u00a0", " ").split()) <= 25
    assert first.count('<dd class="value">') == 4 and first.count("<svg") == 1 and 'class="status"' in first
    assert "<table" not in first and "<table" in rest.partition("<details")[2]
    assert "<table" not in rest.partition("<details")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("benchmarks"), "not a file of pytest-benchmark"),
        (lambda content: content["benchmarks"][0].pop("stats"), "not a file of pytest-benchmark"),
        (lambda content: content["benchmarks"][0]["extra_info"].pop("nfe"), "ours, eta 0: extra_info has no nfe"),
        (lambda content: content.update(benchmarks=[]), "no benchmark in it has `suite`"),
    ],
    ids=["no benchmarks", "no stats", "no nfe", "empty"],
)
def test_other_files_are_errors(changed: Callable[[Change], Path], change: Change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_benchmarks(changed(change))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bench", "none.json"], "none.json: no such file; `pytest --benchmark"),
        (["."], "run.json: no such file; a run"),
    ],
    ids=["bench", "a run"],
)
def test_what_is_not_there_is_one_line_and_status_2(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["reports", *arguments])
    assert guarded(run) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {line}") and error.count("\n") == 1
