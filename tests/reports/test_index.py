"""`python -m reports index`: all results of a folder on one page."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.index import write_index
from reports.render import write_report

Make = Callable[..., Path]
Rows = dict[str, str]


@pytest.fixture
def rows(beta: Make, sweep: Make, tmp_path: Path) -> Rows:
    """The rows of an index on five results, by folder: two of one question, and two that have no page."""
    (tmp_path / "deep").mkdir()
    beta(info={"wall_seconds": 600}).rename(tmp_path / "deep/one")
    beta(control=3.0, control_verdict="failed").rename(tmp_path / "two <b>")
    sweep({"g": {"base": (12, "", 0, False), "x": (8, "better", 0.02, False)}}).rename(tmp_path / "three")
    beta(info={"experiment": "gone", "question": "Why <b>?", "commit": "1a2b"}).rename(tmp_path / "four")
    beta().rename(tmp_path / "five")
    write_report(tmp_path / "deep/one")
    (tmp_path / "five" / "table.csv").write_text("experiment\nbeta\n")
    html = write_index(tmp_path).read_text(encoding="utf-8")
    assert write_index(tmp_path).read_text(encoding="utf-8") == html and "<h1>5 results</h1>" in html
    assert "<script" not in html and "Why <b>" not in html and "two <b>" not in html
    live, _, archived = html.partition('<details class="archived">')
    groups = [(part.partition("</h2>")[0], part.count('class="entry"')) for part in live.split("<h2>")[1:]]
    assert groups == [("Does fresh noise in every step give better images?", 2), ("Cannot be read", 1), ("Which?", 1)]
    assert archived.count('class="entry"') == 1
    parts = html.split('<div class="entry">')[1:]
    return {re.findall(r"<small>([^·]*?)(?: ·| \(no|</small>)", part)[0].strip(): part for part in parts}


def test_a_row_has_verdict_link_effect_thumbnail_evidence_time_and_date(rows: Rows) -> None:
    row = rows["deep/one"]
    assert '<a href="deep/one/report.html">Yes. With the same 66 evaluations, fresh noise lowers FD from 7.6' in row
    assert "· mnist5k · small network, 9,000 training images · digits features</small>" in row
    assert "<small>5 × 500 · 10 min · 20 November 2026</small>" in row
    assert '<img src="data:image/png;base64,' in row and '<span class="bar better">' in row and "flag" not in row


def test_a_row_has_its_caveats_or_the_reason_why_it_cannot_be_read(rows: Rows, tmp_path: Path) -> None:
    assert "<small>Fine noise in the samples of x (grain 0.020).</small>" in rows["three"]
    assert "<a" not in rows["three"] and '<span class="bar better">' in rows["three"]
    assert "The control failed" in rows["two &lt;b&gt;"] and "(no report yet)" in rows["three"]
    assert "⚑ table.csv: missing columns: section, setting" in rows["five"]
    with pytest.raises(FileNotFoundError, match="no result folder below it; a result folder has a run"):
        write_index(tmp_path / "deep" / "one" / "images")


def test_a_result_of_a_command_that_is_gone_is_archived(rows: Rows) -> None:
    row = rows["gone"]
    assert '<a href="four/">four: Why &lt;b&gt;?</a>' in row and "gone · commit 1a2b" in row and "⚑" not in row
