"""Reading the files of a result folder, what this version cannot read, and the index of all results."""

import lzma
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.entrypoint import run_main
from reports.__main__ import run
from reports.index import describe_source, list_what_to_use, write_index
from reports.page import Page, Source
from reports.render import read_page, write_report
from reports.results import read
from reports.settings import summarise_settings

Make = Callable[..., Path]


def test_every_column_has_its_type_and_a_table_may_be_compressed(beta: Make):
    result = read(directory := beta())
    assert result.features == "digits" and result.table["train_seed"].iloc[0] == "0"
    assert (result.table["mmd"].dtype, result.table["final_denoise"].dtype) == ("float64", "boolean")
    assert len(result.runs) == 10 and len(result.judged) == 1 and result.choices.empty
    row = result.judged.iloc[0]
    assert (row["use"], bool(row["advised"]), row["reason"], row["asked"]) == ("eta 1", True, "better", row["question"])
    found = {metric: result.beside(row, metric) for metric in ("mmd", "fd", "kd")}
    assert [None if other is None else other["metric"] for other in found.values()] == ["mmd", "fd", None]
    assert result.floor("fd", 9)["mean"] == 1.4 and result.floor("kd", 500) is None
    table = result.table.assign(train_seed=[f"{8 + at % 5}" for at in range(len(result.table))])
    seeds = summarise_settings(
        replace(result, tables=result.tables | {"table": table.assign(sample_seed=table["train_seed"])})
    )
    assert {*seeds["sample_seed"]} == {"8"}, "of the first network"
    path = directory / "table.csv"
    (directory / "table.csv.xz").write_bytes(lzma.compress(path.read_bytes()))
    path.unlink()
    pd.testing.assert_frame_equal(read(directory).table, result.table)


@pytest.mark.parametrize("total, says", [
    (30.0, "30 s of computing on a CPU, 2 cores"), (2490.0, "42 min of computing on a CPU, 2 cores, summed over runs"),
])  # fmt: skip
def test_a_page_has_the_time_of_making_everything_stored_parts_too(total: float, says: str, beta: Make):
    info = {"machine": "a CPU, 2 cores", "wall_seconds": 30.0, "total_seconds": total, "computed": 0.1}
    assert read_page(beta(info=info)).source.time == says


@pytest.mark.parametrize("info, message", [
    ({"schema": 1}, r"run\.json: schema=1: this version reads 2; run the command again"),
    ({"experiment": "gone"}, "run.json: experiment='gone': this version has no page for it, only for beta, "),
    ({}, r"table\.csv: missing columns: beta, eta"),
])  # fmt: skip
def test_what_another_version_wrote_is_named(beta: Make, info: dict[str, Any], message: str):
    path = beta(info=info) / "table.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",beta,eta,", ",b,e," if not info else ",beta,eta,", 1))
    with pytest.raises(ValueError, match=message):
        read_page(path.parent)


@pytest.mark.parametrize("arguments, line", [
    ("index .", ".: no result folder below it"),
    (".", "run.json: no such file; a result folder has one"), ("publish . .", ".: it exists; choose a new folder"),
])  # fmt: skip
def test_what_is_not_there_is_one_line_and_status_2(
    arguments: str, line: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
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
    beta(-0.5, "no difference detected").rename(tmp_path / "two <b>")
    sweep({"g": {"base": (12, "", 0), "y": (9, "better", 0), "x": (8, "better", 0.05)}}).rename(tmp_path / "three")
    beta(info={"experiment": "gone", "question": "Why <b>?", "commit": "1a2b"}).rename(tmp_path / "four")
    beta().rename(tmp_path / "five")
    for path in (tmp_path / "two <b>").glob("*.csv"):
        path.write_text(path.read_text(encoding="utf-8").replace("digits", "natural"), encoding="utf-8")
    for name in ("deep/one", "two <b>"):
        write_report(tmp_path / name)
    (tmp_path / "five" / "table.csv").write_text("experiment\nbeta\n")
    html = write_index(tmp_path).read_text(encoding="utf-8")
    assert write_index(tmp_path).read_text(encoding="utf-8") == html and "<h2>4 results, 1 archived</h2>" in html
    links = (
        '<a href="../../index.html">All results</a> <a href="../../two%20%3Cb%3E/report.html">Compare: features natural'
    )
    assert f'<nav>{links}</a> <a href="#terms">Terms</a></nav>' in (tmp_path / "deep/one/report.html").read_text()
    assert "<script" not in html and "Why <b>" not in html and "two <b>" not in html
    assert "⚑ marks what may change a verdict. Add yours: " in html
    live, _, archived = html.partition('<details class="archived">')
    groups = [(part.partition("</h3>")[0], part.count('class="entry"')) for part in live.split("<h3>")[1:]]
    assert groups == [("Which?", 3), ("Cannot be read", 1)]
    assert archived.count('class="entry"') == 1
    parts = html.split('<div class="entry">')[1:]
    return {re.findall(r"<small>([^·]*?)(?: ·| \(no|</small>)", part)[0].strip(): part for part in parts}


def test_a_row_has_finding_link_thumbnail_time_and_date(rows: Rows):
    row = rows["deep/one"]
    assert '<a href="deep/one/report.html">Fresh noise on the geometric schedule with 66, yes.</a>' in row
    assert "· mnist5k · small network, 9,000 images seen in training · digits features</small>" in row
    assert "<small>10 min · 20 November 2026</small>" in row
    assert '<img src="data:image/png;base64,' in row and "flag" not in row


def test_a_row_has_its_caveats_or_the_reason_why_it_cannot_be_read(rows: Rows, tmp_path: Path):
    assert "y is better than base." in rows["three"]
    assert "<a" not in rows["three"]
    assert "In FD, eta 1 is better" in rows["two &lt;b&gt;"] and "(no report yet)" in rows["three"]
    assert "⚑ table.csv: missing columns: section, setting" in rows["five"]
    with pytest.raises(FileNotFoundError, match="no result folder below it; a result folder has a run"):
        write_index(tmp_path / "deep" / "one" / "images")


def test_the_index_begins_with_what_to_use(chosen: Make, beta: Make):
    """What is advised, and its scores; of data without a confirmed result the command."""
    duels = [(16, "x", -4.0, "better", {"fd": -2.6}), (66, "y", -5.0, "better", {"noise": 0.05})]
    made = chosen(duels, dearer=[(66, "y", "x", 16, -1.0, "no difference detected")])
    other = beta()
    for path in other.glob("*.csv"):
        path.write_text(path.read_text().replace("mnist5k", "cifar10"))
    table = list_what_to_use({"one": read(made), "two": read(other)})
    heads = ["Evaluations", "Use", "MMD ×1000", "FD", "Report"]
    assert [column.head for column in table.columns] == heads
    assert [[row.name, *row.cells] for row in table.rows] == [
        ["mnist5k", "16", "x", "8.0", "5.0", "one"],
        ["cifar10", "", "not confirmed: python -m experiments beta --data cifar10", "", "", ""],
    ]  # fmt: skip
    html = write_index(made.parent).read_text(encoding="utf-8")
    places = [html.index(text) for text in ("What to use", '<a href="schedules/report.html">', "<h2>2 results")]
    assert places == sorted(places)


def test_the_index_has_version_and_day_of_the_last_result():
    days = {"0.10.0": "2026-11-30", "0.9.1": "2026-11-05", "": ""}
    rows = [{"version": name, "page": Page(Source(date=day), "", "", "")} for name, day in days.items()]
    assert describe_source(rows) == "Sigmabench 0.10.0 · last result of 30 November 2026"
    assert describe_source(rows[2:]) == "Sigmabench"


def test_a_result_of_a_command_that_is_gone_is_archived(rows: Rows):
    row = rows["gone"]
    assert '<a href="four/">four: Why &lt;b&gt;?</a>' in row and "gone · commit 1a2b" in row and "⚑" not in row
