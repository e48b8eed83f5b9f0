"""The page of `score --margin`: are images after a change as good as before, up to a margin?"""

from typing import Any

import pandas as pd

from reports import settings
from reports.details import describe_origin, list_files
from reports.formats import (
    capital,
    is_missing,
    join,
    metric_name,
    number,
    plural,
    sentence,
    values_and_difference,
)
from reports.page import Axis, Bar, Column, KeyFigure, Page, Row, SampleGrid, Table
from reports.results import LoadedResult
from reports.schema import BETTER, HARMFUL, HARMLESS, WORSE

LOOKS = {HARMLESS: BETTER, HARMFUL: WORSE}
ROW = 4  # pairs of a strip
TERMS = [
    (
        "As far as replacing", "How far the images after are from those before, as the share of images whose "
        "replacement, picked at random, could cause it: MMD² ≤ s² (1 + the mean kernel of two images before). Do not "
        "read it as a count of images: of subtler damage more images count the same. Pairs of one group do not meet. "
        "The upper end is at least that of 4.75 images, or groups: so few may not show.",
    ),
    ("Harmless", "The upper end of the 95 % interval is below the margin, and every other check holds."),
    ("Harmful", "The lower end is above the margin, or that of another check is above its limit; without an "
        "interval, its value."),
    ("Not decided", "Neither. More images may decide."),
    ("More grain", "Fine noise in the pixels beyond that before, in grey levels of 255."),
    (
        "Texture of latents", "As far as replacing that many latents can move, per channel, the mean difference of "
        "neighbours over the standard deviation.",
    ),
    ("More copies", "The share of images that are copies of others after the change, beyond that before."),
]  # fmt: skip


def page(result: LoadedResult) -> Page:
    facts: dict[str, Any] = result.info["harmless"]
    checks = result.harms
    of_control = checks[checks["a"] != checks["a"].iloc[0]]
    checks = checks.drop(of_control.index)
    distances, first = result.contrasts[result.contrasts["metric"] != "copies"], checks.iloc[0]
    what = "images of each" if facts["pairs"] == "none" else "pairs of images"
    margin = percent(facts["margin"]) or "not given"
    return Page(
        settings.describe_source(result, f"{number(facts['n'], 0)} {what}", f"margin {margin}"),
        result.info["question"], f"{capital(facts['verdict'])}:", facts["reason"] + ".",
        alarm=facts["verdict"] == HARMFUL, caveats=[sentence(note) for note in result.info.get("notes", [])],
        key_figures=[*_key_figures(facts, first, checks), *_metric_figures(result.metrics)],
        grid=_make_grid(result, first),
        tables=[
            _checks_table("What must hold", checks),
            *([_checks_table("The unchanged pipeline, which does not decide", of_control)] if len(of_control) else []),
            *([_distances_table(distances)] if len(distances) else []),
        ], noun="check",
        order="", note="All must hold. Pairs that differ most are in worst_pairs.csv.",
        details=[*TERMS, *describe_origin(result.info), ("Files", list_files(result))],
    )  # fmt: skip


def percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return "" if is_missing(share) else "0 %" if share < 1e-4 else f"{float(f'{100 * share:.2g}'):g} %"


def _key_figures(facts: dict[str, Any], first: pd.Series, checks: pd.DataFrame) -> list[KeyFigure]:
    axis = Axis((0.0, max(1.15 * first["limit"], 1.05 * min(first["high"], 1.0))))
    bar = Bar.of(axis, [first["value"], first["low"], first["high"]], LOOKS.get(first["verdict"], ""))
    interval = f"95 % interval {percent(first['low'])} to {percent(first['high'])}"
    effect = KeyFigure(
        "As far as replacing", percent(first["value"]), [interval, f"limit {percent(first['limit'])}"],
        [bar, Bar.dot(axis, first["limit"], "real")], axis.place(0), [("real", "limit")],
    )  # fmt: skip
    rest = "each has its own limit"
    if is_missing(facts["margin"]):
        bad = list(checks.loc[checks["verdict"] == HARMFUL, "check"])
        held = KeyFigure("Harmful checks", f"{len(bad)} of {len(checks)}", [join(bad) if bad else rest])
    else:
        bad = list(checks.loc[checks["verdict"] != HARMLESS, "check"])
        n_good, failed = len(checks) - len(bad), f"not: {join(bad)}" if bad else rest
        held = KeyFigure("Checks that hold", f"{n_good} of {len(checks)}", [failed])
    notes = [f"of {plural(facts['n_units'], 'group')}"] if facts["n_units"] < facts["n"] else []
    notes.append(f"can show {percent(facts['at_best'])} at best")
    groups = f" in {number(facts['needed_groups'], 0)} groups" if facts.get("needed_groups") else ""
    notes += [f"about {number(facts['needed'], 0)}{groups} would decide"] if facts.get("needed") else []
    pairs = "Images of each" if facts["pairs"] == "none" else "Pairs"
    evidence = KeyFigure(pairs, number(facts["n"], 0), notes)
    return [effect, held, evidence]


def _metric_figures(metrics: pd.DataFrame) -> list[KeyFigure]:
    """The user's metrics, next to those of the unchanged pipeline."""
    figures = []
    for name, rows in metrics.groupby("metric", sort=False):
        first, *control = (row for _, row in rows.iterrows())
        notes = [f"95 % interval {number(first['low'], 3)} to {number(first['high'], 3)}; it does not decide"]
        notes += [f"largest {number(first['largest'], 3)}: {first['pair']}"]
        notes += [f"unchanged pipeline {number(row['mean'], 3)}" for row in control]
        figures.append(KeyFigure(name, number(first["mean"], 3), notes))
    return figures


def _make_grid(result: LoadedResult, first: pd.Series) -> SampleGrid | None:
    """The pairs that are furthest apart, before and after side by side."""
    worst, rows = result.worst_pairs, []
    for at in range(len(worst) // ROW):
        part = worst.iloc[ROW * at : ROW * (at + 1)]
        share = f"{percent(part['share'].sum())} of all squared distances"
        cells = [(f"worst-{at + 1}-before", ", ".join(part["pair"])), (f"worst-{at + 1}-after", share)]
        rows.append((f"{ROW * at + 1} to {ROW * (at + 1)}", cells))
    if not (result.folder / "images" / "worst-1-after-4.png").is_file():
        return None
    note = "They are furthest apart in features: four pairs in a row, before on the left and after on the right."
    return SampleGrid("The pairs that differ most", note, [first["b"], first["a"]], rows)


def _checks_table(title: str, checks: pd.DataFrame) -> Table:
    def show(row: pd.Series, name: str) -> str:
        if is_missing(row[name]) or row["unit"] == "share":
            return percent(row[name])
        return f"{number(row[name])} {row['unit']}"

    rows = []
    for _, row in checks.iterrows():
        interval = "" if is_missing(row["low"]) else f"{show(row, 'low')} to {show(row, 'high')}"
        rows.append(Row(row["check"], [show(row, "value"), interval, show(row, "limit"), row["verdict"]]))
    columns = [Column("Value", "n"), Column("95 % interval", "wide"), Column("Limit", "n", "limit ")]
    return Table(title, [*columns, Column("Verdict", "n")], rows)


def _distances_table(distances: pd.DataFrame) -> Table:
    rows = []
    for _, row in distances.iterrows():
        before, after, change, interval = values_and_difference(row)
        rows.append(Row(metric_name(row["metric"], row["features"]), [before, after, f"{change} ({interval})"]))
    columns = Column("Before", "n", "before "), Column("After", "n", "after "), Column("Difference", "wide")
    return Table("Distances to the reference, which do not decide", columns, rows)
