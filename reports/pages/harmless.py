"""The page of `score --margin`: are images after a change as good as before, up to a margin?"""

from typing import Any

import pandas as pd

from reports import settings
from reports.details import describe_origin, list_files
from reports.formats import (
    capital,
    is_missing,
    join,
    number,
    plural,
    sentence,
    values_and_difference,
)
from reports.page import Axis, Bar, Column, KeyFigure, Page, Row, Table
from reports.results import LoadedResult
from reports.schema import BETTER, HARMFUL, HARMLESS, WORSE

LOOKS = {HARMLESS: BETTER, HARMFUL: WORSE}
TERMS = [
    (
        "As far as replacing", "How far the images after are from those before, as the share of images whose "
        "replacement, picked at random, could cause it: MMD² ≤ s² (1 + the mean kernel of two images before). Do not "
        "read it as a count of images: of subtler damage more images count the same. Pairs of one group do not meet. "
        "The upper end is at least that of 4.75 images, or groups: so few may not show.",
    ),
    ("Harmless", "The upper end of the 95 % interval is below the margin, and so is the share of more copies."),
    ("Harmful", "The lower end is above the margin, or the share of more copies is."),
    ("Not decided", "Neither. More images may decide."),
    ("More copies", "The share of images that are copies of others after the change, beyond that before."),
]  # fmt: skip


def page(result: LoadedResult) -> Page:
    facts: dict[str, Any] = result.info["harmless"]
    checks = result.harms
    distances = result.contrasts[result.contrasts["metric"] != "copies"]
    what = "images of each" if facts["pairs"] == "none" else "pairs of images"
    margin = percent(facts["margin"]) or "not given"
    return Page(
        settings.describe_source(result, f"{number(facts['n'], 0)} {what}", f"margin {margin}"),
        result.info["question"], f"{capital(facts['verdict'])}:", facts["reason"] + ".",
        alarm=facts["verdict"] == HARMFUL, caveats=[sentence(note) for note in result.info.get("notes", [])],
        key_figures=_key_figures(facts, checks),
        tables=[_checks_table(checks), *([_distances_table(result, distances)] if len(distances) else [])],
        noun="check", order="", note="All must hold.",
        details=[*TERMS, *describe_origin(result.info), ("Files", list_files(result))],
    )  # fmt: skip


def percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return "" if is_missing(share) else "0 %" if share < 1e-4 else f"{float(f'{100 * share:.2g}'):g} %"


def _key_figures(facts: dict[str, Any], checks: pd.DataFrame) -> list[KeyFigure]:
    first = checks.iloc[0]
    axis = Axis((0.0, max(1.15 * first["limit"], 1.05 * min(first["high"], 1.0))))
    bar = Bar.of(axis, [first["value"], first["low"], first["high"]], LOOKS.get(first["verdict"], ""))
    interval = f"95 % interval {percent(first['low'])} to {percent(first['high'])}"
    effect = KeyFigure(
        "As far as replacing", percent(first["value"]), [interval, f"limit {percent(first['limit'])}"],
        [bar, Bar.dot(axis, first["limit"], "real")], axis.place(0), [("real", "limit")],
    )  # fmt: skip
    if is_missing(facts["margin"]):
        bad = list(checks.loc[checks["verdict"] == HARMFUL, "check"])
        held = KeyFigure("Harmful checks", f"{len(bad)} of {len(checks)}", [join(bad)] if bad else [])
    else:
        bad = list(checks.loc[checks["verdict"] != HARMLESS, "check"])
        failed = [f"not: {join(bad)}"] if bad else []
        held = KeyFigure("Checks that hold", f"{len(checks) - len(bad)} of {len(checks)}", failed)
    notes = [f"of {plural(facts['n_units'], 'group')}"] if facts["n_units"] < facts["n"] else []
    notes.append(f"can show {percent(facts['at_best'])} at best")
    groups = f" in {number(facts['needed_groups'], 0)} groups" if facts.get("needed_groups") else ""
    notes += [f"about {number(facts['needed'], 0)}{groups} would decide"] if facts.get("needed") else []
    pairs = "Images of each" if facts["pairs"] == "none" else "Pairs"
    evidence = KeyFigure(pairs, number(facts["n"], 0), notes)
    return [effect, held, evidence]


def _checks_table(checks: pd.DataFrame) -> Table:
    rows = []
    for _, row in checks.iterrows():
        interval = "" if is_missing(row["low"]) else f"{percent(row['low'])} to {percent(row['high'])}"
        rows.append(Row(row["check"], [percent(row["value"]), interval, percent(row["limit"]), row["verdict"]]))
    columns = [Column("Value", "n"), Column("95 % interval", "wide"), Column("Limit", "n", "limit ")]
    return Table("What must hold", [*columns, Column("Verdict", "n")], rows)


def _distances_table(result: LoadedResult, distances: pd.DataFrame) -> Table:
    rows = []
    for _, row in distances.iterrows():
        before, after, change, interval = values_and_difference(row)
        rows.append(Row(result.metric_name(row["metric"]), [before, after, f"{change} ({interval})"]))
    columns = Column("Before", "n", "before "), Column("After", "n", "after "), Column("Difference", "wide")
    return Table("Distances to the reference, which do not decide", columns, rows)
