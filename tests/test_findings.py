"""Numbers in docs/findings.md and docs/defaults.md are those of the published reports; docs/my-fid.md has its table."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports" / "published"
TEXT = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
SECTIONS = TEXT.split("\n## ")[1:]
ARCHIVE = (ROOT / "docs" / "archive" / "why_noise.md").read_text(encoding="utf-8")
ARGUMENTS = re.findall(r"^\| \d+ \|.*$", (ROOT / "docs" / "defaults.md").read_text(encoding="utf-8"), re.MULTILINE)
NUMBER = r"[−\d][\d.,]*"
INTERVAL = re.compile(rf"({NUMBER}) \(({NUMBER})\s+to\s+({NUMBER})\)")


def read(report: str, table: str) -> pd.DataFrame:
    """A table of a published report; large ones are compressed."""
    (path,) = (PUBLISHED / report).glob(f"{table}.csv*")
    return pd.read_csv(path)


def published(section: str) -> np.ndarray:
    """(n, 3) difference, low and high in all tables of the reports that a section links to; KD and MMD times 1000."""
    reports = set(re.findall(r"reports/published/([\w.-]+)/", section))
    tables = ("contrasts.csv*", "effects.csv*", "gains.csv*", "claims.csv*")  # large ones are compressed
    paths = [path for report in reports for table in tables for path in (PUBLISHED / report).glob(table)]
    paths += [
        ROOT / "docs" / "data" / name for name in ("few_steps.csv", "consistency.csv") if f"data/{name}" in section
    ]
    rows = pd.concat([pd.read_csv(path) for path in paths])
    scales = np.where(rows["metric"].isin(["kd", "mmd"]), 1000, 1)
    values = rows[["difference", "low", "high"]].to_numpy() * scales[:, None]
    computed = [intervention()] if "above_or_below.csv" in section else []
    return np.concatenate([values, *computed])


def over_networks(differences: pd.Series) -> list[float]:
    """Mean, low and high by Student's t."""
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.sem()
    return [differences.mean(), differences.mean() - half, differences.mean() + half]


def intervention() -> np.ndarray:
    """(n, 3) gains of better networks, their differences, and changes without noise, with 95 % t intervals."""
    rows = pd.read_csv(ROOT / "docs" / "data" / "above_or_below.csv")
    rows["root"] = np.exp(rows["log"] / 2)  # log: of FD - floor
    found = []
    for _, mine in rows.melt(["data", "seed", "denoiser", "eta"]).groupby(["data", "variable"]):
        wide = mine.pivot_table(index=["denoiser", "seed"], columns="eta", values="value")
        gains, without = (wide[1.0] - wide[0.0]).unstack("denoiser"), wide[0.0].unstack("denoiser")
        pairs = [gains, gains.sub(gains["network"], axis=0), gains.sub(gains["better below"], axis=0)]
        each = pd.concat([*pairs, without.sub(without["network"], axis=0)], axis=1).dropna(axis=0)
        half = stats.t.ppf(0.975, len(each) - 1) * each.sem()
        found.append(np.stack([each.mean(), each.mean() - half, each.mean() + half], axis=1))
    return np.concatenate(found)


def shares() -> dict[str, list[Sequence[float]]]:
    """Per cent, low and high of each share in the text, by the words after it."""
    steps = []
    chosen = "metric == 'fd' and n_steps == 66 and setting == 'eta 1' and part == 'whole' and train_seed.isna()"
    for report in ("why_noise-laptop", "why_noise-fashion-mixture"):  # the exact denoiser's gain, of the mean gain
        rows = read(report, "gains").query(chosen).set_index("kind")
        exact = rows.loc["exact", ["difference", "high", "low"]]
        steps.append(tuple(exact / rows.loc["network", "difference"]))
    rows = pd.read_csv(ROOT / "docs" / "data" / "above_or_below.csv").query("data == 'mnist5k'")
    wide = rows.pivot_table(index="seed", columns=["denoiser", "eta"], values="fd")
    gains = wide.xs(1.0, axis=1, level="eta") - wide.xs(0.0, axis=1, level="eta")
    return {"steps": steps, "kept": [over_networks(gains["better above"] / gains["network"])]}


def test_shares_are_computed_from_the_tables():
    found = re.findall(r"(\d+) %(?: of the gain)? \((\d+) to (\d+)\)", TEXT + ARCHIVE)
    known = [share for part in shares().values() for share in part]
    for text in found:
        assert any(np.allclose(100 * np.array(share), [float(word) for word in text], atol=0.5) for share in known)
    assert len(found) == len(known)


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
    [*SECTIONS, ARCHIVE, *filter(INTERVAL.search, ARGUMENTS)],
    ids=lambda section: section.splitlines()[0][:40],
)
def test_every_interval_stands_in_a_report_of_its_section(section: str):
    rows = published(section)
    for text in INTERVAL.findall(section):
        printed = [float(word.replace("−", "-").replace(",", "")) for word in text]
        half = [0.5 * 10.0 ** -len(word.partition(".")[2]) + 1e-9 for word in text]
        assert (np.abs(rows - printed) <= half).all(axis=1).any(), f"{text} is in no table"


def test_my_fid_says_what_its_program_measured():
    page = (ROOT / "docs" / "my-fid.md").read_text(encoding="utf-8")
    rows = pd.read_csv(ROOT / "docs" / "data" / "my_fid.csv")[["fd", "low", "high"]].to_numpy()
    said = INTERVAL.findall(page)
    assert len(said) > 40
    for text in said:
        assert (np.abs(rows - [float(word.replace("−", "-")) for word in text]) <= 0.0051).all(axis=1).any(), text
