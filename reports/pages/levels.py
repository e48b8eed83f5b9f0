"""The page of `levels`: the noise levels that one or two ladders visit."""

import pandas as pd

from reports import figures, settings
from reports.details import describe_origin
from reports.formats import capital, is_missing, number, percent, plural
from reports.page import Column, Page, Row, Table
from reports.results import LoadedResult

TERMS = [
    ("Level", "sigma = s / a of x = a x0 + s z, in the unit of the data; t = sigma / (1 + sigma) in flow matching."),
    ("Ladder", "It fits if ln sigma differs by less than 0.001 at every level. flow(shift=3, end=1/n) has n levels: t "
     "from 1 to 1/n before the shift; 0 follows. Names that are joined by = are the same levels."),
    ("Evaluations", "Of the network. Methods of several evaluations per step visit other levels between."),
]  # fmt: skip
COLUMNS = (
    Column("Steps", "n", after=" steps"), Column("Evaluations", "n", after=" evaluations"),
    Column("Sigma", "n", "sigma "), Column("Levels", "wide"), Column("What is wrong", "wide"),
)  # fmt: skip


def page(result: LoadedResult) -> Page:
    rows, gaps = result.ladders, [capital(f"{gap}.") for gap in result.info["notes"]]
    forms, wrong = rows["form"].unique(), [_wrong(row) for _, row in rows.iterrows() if _wrong(row)]
    two = rows["ladder"].nunique() == 2
    lead, verdict = "Yes." if two else "", f"{'Both visit ' * two}{', '.join(forms)}."
    if wrong or gaps:
        lead, verdict = "No." if two else "Something is wrong.", capital(f"{wrong[-1]}.") if wrong else gaps[0]
    cells = [
        Row(row["ladder"], [
            number(row["n_steps"], 0), number(row["evaluations"], 0),
            f"{row['first_sigma']:.4g} to {row['last_sigma']:.4g}", row["form"] or "unknown",
            ". ".join(filter(None, [_wrong(row), row["note"], _shares(row)])) or "nothing",
        ])
        for _, row in rows.iterrows()
    ]  # fmt: skip
    files = sorted(path.name for path in result.folder.glob("*.csv"))
    source = settings.describe_source(result, "exact network", plural(len(rows), "run"))
    return Page(
        source, result.info["question"], lead, verdict, warnings=gaps if wrong else (),
        plot=figures.levels(result.levels.merge(rows[["ladder", "n_steps", "form"]])),
        tables=[Table("By number of steps", COLUMNS, cells)], noun="ladder", order="",
        details=[*TERMS, *describe_origin(result.info), ("Files", files)],
    )  # fmt: skip


def _wrong(row: pd.Series) -> str:
    """What is wrong with a ladder, with its number of steps."""
    text = row["faults"] or row["nearest"]
    return f"with {number(row['n_steps'], 0)} steps: {text}" if text else ""


def _shares(row: pd.Series) -> str:
    """How much of the training noise lies outside the ladder."""
    if is_missing(row["share_above"]):
        return ""
    return f"training noise above: {percent(row['share_above'])}, below: {percent(row['share_below'])}"
