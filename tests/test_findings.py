"""Numbers in docs/findings.md are those of the published reports."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

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
    paths += [ROOT / "docs" / "data" / "few_steps.csv"] if "few_steps.csv" in section else []
    rows = pd.concat([pd.read_csv(path) for path in paths])
    values = (
        rows[["difference", "low", "high"]].to_numpy() * np.where(rows["metric"].isin(["kd", "mmd"]), 1000, 1)[:, None]
    )
    return np.concatenate([values, intervention() if "above_or_below.csv" in section else np.empty((0, 3))])


def intervention() -> np.ndarray:
    """(n, 3) gains of better networks, and their differences, with 95 % t intervals."""
    rows = pd.read_csv(ROOT / "docs" / "data" / "above_or_below.csv")
    found = []
    for _, mine in rows.melt(["data", "seed", "denoiser", "eta"]).groupby(["data", "variable"]):
        wide = mine.pivot_table(index=["denoiser", "seed"], columns="eta", values="value")
        gains = (wide[1.0] - wide[0.0]).unstack("denoiser")
        pairs = [gains, gains.sub(gains["network"], axis=0), gains.sub(gains["better below"], axis=0)]
        each = pd.concat(pairs, axis=1).dropna(axis=0)
        half = stats.t.ppf(0.975, len(each) - 1) * each.sem()
        found.append(np.stack([each.mean(), each.mean() - half, each.mean() + half], axis=1))
    return np.concatenate(found)


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
