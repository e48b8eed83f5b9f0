"""Numbers in docs/findings.md and docs/defaults.md are those of the published reports."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports" / "published"
TEXT = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
SECTIONS = TEXT.split("\n## ")[1:]
ARGUMENTS = re.findall(r"^\| \d+ \|.*$", (ROOT / "docs" / "defaults.md").read_text(encoding="utf-8"), re.MULTILINE)
NUMBER = r"[−\d][\d.,]*"
INTERVAL = re.compile(rf"({NUMBER}) \(({NUMBER})\s+to\s+({NUMBER})\)")


def published(section: str) -> np.ndarray:
    """(n, 3) difference, low and high in the tables that a section links to; KD and MMD times 1000."""
    reports = set(re.findall(r"reports/published/([\w.-]+)/", section))
    paths = [path for report in reports for path in (PUBLISHED / report).glob("contrasts.csv*")]  # may be compressed
    paths += [ROOT / "docs" / "data" / name for name in set(re.findall(r"data/(\w+\.csv)", section))]
    rows = pd.concat([pd.read_csv(path) for path in paths]).dropna(subset=["difference"])
    scales = np.where(rows["metric"].isin(["kd", "mmd"]), 1000, 1)
    return np.asarray(rows[["difference", "low", "high"]].to_numpy() * scales[:, None])


def test_sections_have_an_answer_a_figure_and_what_would_change_it():
    assert len(SECTIONS) == 5
    for section in SECTIONS:
        assert re.search(r"^\*\*", section, re.MULTILINE) and "![" in section and "| --- |" in section
        assert "Where it differs:" in section and "What would change our mind:" in section


def test_each_default_has_a_thread_and_an_interval_or_none_at_all():
    assert len(ARGUMENTS) == 11
    for row in ARGUMENTS:
        threads, said = row.split(" | ")[2], row.split(" | ")[4]
        assert "https://github.com/" in threads
        assert INTERVAL.search(said) and re.search(r"reports/published/|data/", said)


def test_the_tables_are_made_from_the_published_results():
    spec = importlib.util.spec_from_file_location("figures_of_findings", ROOT / "docs" / "figures.py")
    assert spec and spec.loader
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    assert [name for name in figures.MADE if figures.made(name) not in TEXT] == [], "python docs/figures.py table"


@pytest.mark.parametrize(
    "section",
    [*SECTIONS, *filter(INTERVAL.search, ARGUMENTS)],
    ids=lambda section: section.splitlines()[0][:40],
)
def test_every_interval_stands_in_a_report_of_its_section(section: str):
    rows = published(section)
    for text in INTERVAL.findall(section):
        printed = [float(word.replace("−", "-").replace(",", "")) for word in text]
        half = [0.5 * 10.0 ** -len(word.partition(".")[2]) + 1e-9 for word in text]
        assert (np.abs(rows - printed) <= half).all(axis=1).any(), f"{text} is in no table"
