"""The fold of every page: control, evidence, real images, intervals, what the words mean, command, versions, files."""

from typing import Any

import pandas as pd

from reports.contrast import control, one_more, rate
from reports.formats import capital, difference, listed, metric_name, missing, percent, plural, scaled
from reports.page import Code
from reports.results import Result
from reports.schema import CONTROL_FAILED, CONTROL_UNUSUAL, EXPLORATION, INTERACTIONS, JUDGE, NO_VERDICT, content
from reports.settings import names

ELSEWHERE = " Not comparable with FID, which is that in features of Inception."
TERMS = {
    "MMD ×1000": "Maximum mean discrepancy: the distance between samples and real images in a feature space. Lower is "
    "better, and 0 is a perfect match. It decides.",
    "FD": "Fréchet distance, the better known one. It falls with the number of images, so compare it at equal numbers "
    f"only.{ELSEWHERE}",
    "Grain": "Fine noise in the pixels beyond what the ladder leaves, in standard deviations of the data. 0 is as in "
    "real images; above 0.01 one sees it.",
    "Evaluations": "How often the network runs to make one image. This is the cost.",
    "eta, beta": "eta: the fresh noise per step; 0 has none (DDIM), 1 is DDPM. beta: the part of the noise that a step "
    "puts back after it denoised with rate alpha.",
}
Conditions = list[tuple[str, Any]]


def conditions(result: Result, row: pd.Series | None, *terms: str, more: Conditions | None = None) -> Conditions:
    """The rows of the fold. `row` is the contrast of the verdict; `terms` are what TERMS explains."""
    terms = tuple(term for term in terms if term != "Grain" or result.features != "values")  # which points have not
    rows: Conditions = [*_control(result), *(more or [])]
    if row is not None and not missing(row["detectable"]) and row["verdict"] != NO_VERDICT:
        rows.append(("Evidence", _evidence(result, row)))
    rows += [*_real(result), *_intervals(result)]
    rows += [*_not_run(result), *(_meaning(term, result.features) for term in terms)]
    notes = [f"{str(note).rstrip('.')}." for note in result.info.get("notes", [])]
    rows += [("Notes", " ".join(notes))] if notes else []
    return [*rows, *origin(result.info), ("Files", _files(result))]


def _meaning(term: str, features: str) -> tuple[str, str]:
    """A term, by the name that it has on the page, and what it means."""
    name = metric_name("fd", features) if term == "FD" else term
    return name, TERMS[term].removesuffix(ELSEWHERE) if name == "FID" else TERMS[term]


def _control(result: Result) -> Conditions:
    again = control(result)
    if again is None:
        return []
    text, interval = difference(again)
    outcomes = {
        NO_VERDICT: f"No verdict: {again['no_verdict']}",
        CONTROL_FAILED: f"Failed: a difference this large occurs in {rate(again)} controls",
        CONTROL_UNUSUAL: f"Unusual: a difference this large occurs in {rate(again)} controls",
    }
    outcome = outcomes.get(again["verdict"], "Passed: no difference between a setting and itself")
    name = metric_name(JUDGE, result.features)
    return [("A/A control", f"{again['a']} against {again['b']}: {name} {text} ({interval}). {outcome}.")]


def _evidence(result: Result, row: pd.Series) -> str:
    power = percent(result.info.get("statistics", {}).get("power", 0.8))
    name, size = metric_name(JUDGE, result.features), scaled(JUDGE, row["detectable"])
    text = f"With {power} power this run can detect a difference of {size} in {name}."
    if ends := one_more(row):
        text += f" Train one more such network, and expect a difference from {ends}."
    return text


def _real(result: Result) -> Conditions:
    texts = []
    for _, rows in result.floors.groupby(["n_samples", "n_reference"], sort=False):
        one, values = rows.iloc[0], rows.set_index("metric")
        known = [metric for metric in (JUDGE, "fd") if metric in values.index]
        scores = [
            f"{metric_name(m, result.features)} {scaled(m, values.loc[m, 'mean'])} "
            f"({scaled(m, values.loc[m, 'low'])} to {scaled(m, values.loc[m, 'high'])})"
            for m in known
        ]
        texts.append(
            f"{plural(one['n_samples'], 'image')} against {one['n_reference']:,.0f} others, "
            f"{plural(one['repeats'], 'time')}: {', '.join(scores)}."
        )
    return [("Real images", " ".join(texts))] if texts else []


def _intervals(result: Result) -> Conditions:
    rows = result.over_networks()
    rows = rows[rows["interval"] != ""]
    if rows.empty:
        return []
    how = "; ".join(f"{text} ({plural(count, 'row')})" for text, count in rows["interval"].value_counts().items())
    text = f"{percent(rows['level'].iloc[0])}, each of its own comparison: {how}."
    words = {EXPLORATION: "exploratory comparison", INTERACTIONS: "interaction"}
    sizes = rows[rows["family"].isin(words)].groupby("family", sort=False)["n_compared"].max()
    families = [plural(size, words[name]) for name, size in sizes.items() if size > 1]
    if families:
        text += f" Holm's method corrects the verdicts on {listed(families)}, 5 % in all for each family."
        names = {"primary": "the comparison that was chosen beforehand", "control": "the control"}
        if alone := [name for kind, name in names.items() if (rows["kind"] == kind).any()]:
            text += f" {capital(listed(alone))} {'is a family' if len(alone) == 1 else 'are families'} of one."
    few = rows["holds_for"].max()
    if not missing(few):
        text += " Those over images hold for the networks of this run; others may differ."
    return [("Intervals", text)]


def _not_run(result: Result) -> Conditions:
    """The settings that could not be run, and why."""
    rows = result.table[result.table["status"] == "infeasible"].drop_duplicates(["section", "setting"])
    reasons = [
        f"{names(f'{row.setting} ({row.section})' for row in same.itertuples())}: {why}."
        for why, same in rows.groupby("error", sort=False)
    ]
    return [("Not run", " ".join(reasons))] if reasons else []


def origin(info: dict[str, Any]) -> Conditions:
    """Command, commit, versions and machine; what is missing is unknown."""
    commit = info.get("commit") or "unknown"
    commit += " with changes" if info.get("dirty") else ""
    versions = ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items())
    known = [f"commit {commit}", versions, info.get("machine") or ""]
    return [("Command", Code("", info.get("command", "unknown"))), ("Versions", "; ".join(filter(None, known)))]


def _files(result: Result) -> list[str]:
    """The tables beside the page, by their real names."""
    names = sorted({path.name for path in result.folder.glob("*.csv*")})
    return [name for name in names if content(result.folder / name.removesuffix(".gz"))]
