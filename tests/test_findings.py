"""Numbers in docs/findings.md are those of the published reports, and links into the docs lead to headings."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports" / "published"
SECTIONS = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8").split("\n## ")[1:]
NUMBER = r"[−\d][\d.,]*"
INTERVAL = re.compile(rf"({NUMBER}) \(({NUMBER})\s+to\s+({NUMBER})\)")


def published(section: str) -> np.ndarray:
    """(n, 3) difference, low and high in all tables of the reports that a section links to; KD and MMD times 1000."""
    reports = set(re.findall(r"reports/published/([\w-]+)/", section))
    tables = ("contrasts.csv*", "gains.csv*", "claims.csv*")  # large ones are compressed
    paths = [path for report in reports for table in tables for path in (PUBLISHED / report).glob(table)]
    rows = pd.concat([pd.read_csv(path) for path in paths])
    values = (
        rows[["difference", "low", "high"]].to_numpy() * np.where(rows["metric"].isin(["kd", "mmd"]), 1000, 1)[:, None]
    )
    return np.asarray(values)


def test_sections_have_an_answer_a_figure_and_what_would_change_it() -> None:
    assert len(SECTIONS) == 5
    for section in SECTIONS:
        assert re.search(r"^\*\*", section, re.MULTILINE) and "![" in section and "| --- |" in section
        assert "Where it differs:" in section and "What would change our mind:" in section


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_every_interval_stands_in_a_report_of_its_section(section: str) -> None:
    rows = published(section)
    for text in INTERVAL.findall(section):
        printed = [float(number.replace("−", "-").replace(",", "")) for number in text]
        half = [0.5 * 10.0 ** -len(number.partition(".")[2]) + 1e-9 for number in text]
        assert (np.abs(rows - printed) <= half).all(axis=1).any(), f"{text} is in no table"


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda path: path.name)
def test_anchors_lead_to_headings(path: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
        target = path.parent / file if file else path
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
