"""Reading the files of a result folder, what this version cannot read, and the index of all results."""

import gzip
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.entrypoint import run_main
from reports.__main__ import run
from reports.index import compare_verdicts, describe_source, write_index
from reports.page import Page, Source
from reports.render import read_page, write_report
from reports.results import read

Make = Callable[..., Path]


def test_every_column_has_its_type_and_a_table_may_be_compressed(beta: Make) -> None:
    result = read(directory := beta())
    assert result.features == "digits" and result.table["train_seed"].iloc[0] == "0"
    assert (result.table["mmd"].dtype, result.table["final_denoise"].dtype) == ("float64", "boolean")
    assert len(result.runs) == 15 and len(result.over_networks()) == 2 and result.choices.empty
    assert [len(result.match(result.over_networks().iloc[0], metric)) for metric in ("mmd", "fd", "kd")] == [6, 6, 0]
    assert result.floor("fd", 9)["mean"] == 1.4 and result.floor("kd", 500) is None
    path = directory / "table.csv"
    (directory / "table.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    pd.testing.assert_frame_equal(read(directory).table, result.table)


@pytest.mark.parametrize(("total", "says"), [
    (30.0, "30 s of computing on a CPU, 2 cores"), (2490.0, "42 min of computing on a CPU, 2 cores, summed over runs"),
])  # fmt: skip
def test_a_page_has_the_time_of_making_everything_stored_parts_too(total: float, says: str, beta: Make) -> None:
    info = {"machine": "a CPU, 2 cores", "wall_seconds": 30.0, "total_seconds": total, "computed": 0.1}
    assert read_page(beta(info=info)).source.time == says


@pytest.mark.parametrize(("info", "message"), [
    ({"schema": 1}, r"run\.json: schema=1: this version reads 2; run the command again"),
    ({"experiment": "gone"}, "run.json: experiment='gone': this version has no page for it, only for beta, "),
    ({}, r"table\.csv: missing columns: beta, eta"),
])  # fmt: skip
def test_what_another_version_wrote_is_named(beta: Make, info: dict[str, Any], message: str) -> None:
    path = beta(info=info) / "table.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",beta,eta,", ",b,e," if not info else ",beta,eta,", 1))
    with pytest.raises(ValueError, match=message):
        read_page(path.parent)


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


Rows = dict[str, str]


@pytest.fixture
def rows(beta: Make, sweep: Make, tmp_path: Path) -> Rows:
    """The rows of an index on five results, by folder: two of one question, and two that have no page."""
    (tmp_path / "deep").mkdir()
    beta(info={"wall_seconds": 600}).rename(tmp_path / "deep/one")
    beta(control=3.0, control_verdict="failed").rename(tmp_path / "two <b>")
    sweep(
        {"g": {"base": (12, "", 0, False), "y": (9, "better", 0, False), "x": (8, "better", 0.03, False)}}, use="y"
    ).rename(tmp_path / "three")
    beta(info={"experiment": "gone", "question": "Why <b>?", "commit": "1a2b"}).rename(tmp_path / "four")
    beta().rename(tmp_path / "five")
    write_report(tmp_path / "deep/one")
    (tmp_path / "five" / "table.csv").write_text("experiment\nbeta\n")
    html = write_index(tmp_path).read_text(encoding="utf-8")
    assert write_index(tmp_path).read_text(encoding="utf-8") == html and "<h1>4 results, 1 archived</h1>" in html
    assert "<script" not in html and "Why <b>" not in html and "two <b>" not in html
    assert "⚑ marks what may change a verdict. Add yours: " in html
    live, _, archived = html.partition('<details class="archived">')
    groups = [(part.partition("</h2>")[0], part.count('class="entry"')) for part in live.split("<h2>")[1:]]
    assert groups == [("Does fresh noise in every step give better images?", 2), ("Which?", 1), ("Cannot be read", 1)]
    assert archived.count('class="entry"') == 1
    parts = html.split('<div class="entry">')[1:]
    return {re.findall(r"<small>([^·]*?)(?: ·| \(no|</small>)", part)[0].strip(): part for part in parts}


def test_a_row_has_verdict_link_effect_thumbnail_evidence_time_and_date(rows: Rows) -> None:
    row = rows["deep/one"]
    assert '<a href="deep/one/report.html">On the geometric schedule, fresh noise lowers FD from 7.6' in row
    assert "· mnist5k · small network, 9,000 images seen in training · digits features</small>" in row
    assert "<small>5 × 500 · 10 min · 20 November 2026</small>" in row
    assert '<img src="data:image/png;base64,' in row and '<span class="bar better">' in row and "flag" not in row


def test_a_row_has_its_caveats_or_the_reason_why_it_cannot_be_read(rows: Rows, tmp_path: Path) -> None:
    assert "x scores lower, but shows more noise than base." in rows["three"]
    assert "<a" not in rows["three"] and '<span class="bar better">' in rows["three"]
    assert "The A/A test failed" in rows["two &lt;b&gt;"] and "(no report yet)" in rows["three"]
    assert "⚑ table.csv: missing columns: section, setting" in rows["five"]
    with pytest.raises(FileNotFoundError, match="no result folder below it; a result folder has a run"):
        write_index(tmp_path / "deep" / "one" / "images")


@pytest.mark.parametrize(("verdicts", "text"), [
    (["better"], ""), (["better", ""], ""),
    (["better", "better"], "The same verdict on the first comparison in all 2: better."),
    (["worse", "better", "", "better"], "3 results: 2 better and 1 worse."),
])  # fmt: skip
def test_the_index_says_whether_results_of_one_question_agree(verdicts: list[str], text: str) -> None:
    assert compare_verdicts([{"verdict": verdict} for verdict in verdicts]) == text


def test_the_index_has_version_and_day_of_the_last_result() -> None:
    days = {"0.10.0": "2026-11-30", "0.9.1": "2026-11-05", "": ""}
    rows = [{"version": name, "page": Page(Source(date=day), "", "", "")} for name, day in days.items()]
    assert describe_source(rows) == "Sigmabench 0.10.0 · last result of 30 November 2026"
    assert describe_source(rows[2:]) == "Sigmabench"


def test_a_result_of_a_command_that_is_gone_is_archived(rows: Rows) -> None:
    row = rows["gone"]
    assert '<a href="four/">four: Why &lt;b&gt;?</a>' in row and "gone · commit 1a2b" in row and "⚑" not in row
