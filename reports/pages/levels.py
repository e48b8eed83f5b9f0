"""The page of `levels`: the noise levels that one or two schedules visit."""

import re

import pandas as pd

from reports import settings
from reports.details import describe_origin
from reports.formats import capital, number, plural
from reports.page import Column, KeyFigure, Page, Plot, Row, Table
from reports.pages.conformance import short
from reports.results import LoadedResult

TERMS = [
    ("Level", "sigma = s / a of x = a x0 + s z, in the unit of the data; t = sigma / (1 + sigma) in flow matching."),
    ("Schedule", "It fits if ln sigma differs by less than 0.001 at every level. flow(shift=3, end=1/n) has n levels: "
     "t from 1 to 1/n before the shift; 0 follows. Names that are joined by = are the same levels."),
    ("Evaluations", "Of the network. Methods of several evaluations per step visit other levels between."),
]  # fmt: skip
DOTS = "A dot per network evaluation. A line joins the levels of a schedule that is known; sigma above 10,000 is cut."
COLUMNS = (
    Column("Steps", "n", after=" steps"), Column("Evaluations", "n", after=" evaluations"),
    Column("First sigma", "n few", "from "), Column("Last sigma", "n few", "to "), Column("Levels", "wide"),
)  # fmt: skip


def page(result: LoadedResult) -> Page:
    rows = result.schedules
    gaps = [capital(f"{gap}.") for gap in result.info["notes"]]
    wrong = [text for _, row in rows.iterrows() if (text := _wrong(row))]
    two = rows["schedule"].nunique() == 2
    if wrong or gaps:
        lead = "No." if two else "Something is wrong."
        verdict = capital(f"{wrong[-1]}.") if wrong else gaps[0]
    else:
        lead = "Yes." if two else ""
        visits = _visits(rows.iloc[-1], result)
        verdict = f"Both visit {visits}." if two else f"{visits}. Nothing is wrong."
    largest = rows.groupby("schedule", sort=False).tail(1) if two else rows.tail(3)
    key_figures = [
        KeyFigure(_title(row), plural(row["evaluations"], "evaluation"), [_ends(row)]) for _, row in largest.iterrows()
    ]
    cells = [
        Row(row["schedule"], [
            number(row["n_steps"], 0), number(row["evaluations"], 0),
            _sigma(row["first_sigma"], 3),
            f"{row['last_sigma']:.3g}",
            "; ".join(filter(None, [row["form"], row["nearest"], row["faults"], row["note"]])),
        ])
        for _, row in rows.iterrows()
    ]  # fmt: skip
    notes = largest[largest["note"] != ""]
    caveats = [f"{_title(row)}: {row['note']}." for _, row in notes.iterrows()]
    levels = result.levels.merge(rows[["schedule", "n_steps", "form"]])
    most = levels["n_steps"].max()
    source = settings.describe_source(result, "exact network", plural(len(rows), "run"))
    return Page(
        source, result.info["question"], lead, verdict, alarm=bool(wrong or gaps),
        warnings=gaps if wrong else (), caveats=caveats, key_figures=key_figures,
        plot=Plot("levels", f"The levels with {most:.0f} steps", DOTS, (levels,)),
        tables=[Table("By number of steps", COLUMNS, cells)], noun="schedule", order="",
        details=[*TERMS, *describe_origin(result.info), ("Files", ["schedules.csv", "levels.csv"])],
    )  # fmt: skip


def _title(row: pd.Series) -> str:
    return f"{short(row['schedule'])}, {plural(row['n_steps'], 'step')}"


def _visits(row: pd.Series, result: LoadedResult) -> str:
    """How many levels, their ends, which the name of the schedule then lacks, and that name."""
    levels = result.levels
    visited = levels.loc[(levels["schedule"] == row["schedule"]) & (levels["n_steps"] == row["n_steps"]), "sigma"]
    n_levels = visited.map("{:.5g}".format).nunique()
    form = re.sub(r"(, )?sigma_max=[^,)]+, sigma_min=[^,)]+", "", row["form"]).replace("()", "").replace("(, ", "(")
    return f"{plural(n_levels, 'level')} from {_sigma(row['first_sigma'])} to {_sigma(row['last_sigma'])}: {form}"


def _sigma(sigma: float, digits: int = 4) -> str:
    return "pure noise" if sigma > 1e6 else f"{sigma:.{digits}g}"


def _ends(row: pd.Series) -> str:
    last = row["last_sigma"]
    first = _sigma(row["first_sigma"])
    return f"{'' if first == 'pure noise' else 'sigma '}{first} to {last:.4g}, t {last / (1 + last):.4g}"


def _wrong(row: pd.Series) -> str:
    """Says what is wrong with a schedule, with its number of steps; "" if nothing is."""
    text = "; ".join(filter(None, [row["nearest"], row["faults"]]))
    return f"with {number(row['n_steps'], 0)} steps: {text}" if text else ""
