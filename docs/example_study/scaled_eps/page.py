"""The page of the report. It reads tables, and imports neither torch nor the rest of the study."""

import pandas as pd

from reports import tables
from reports.document import Opening, Section, table
from reports.formats import number
from reports.results import Run
from reports.schema import Column

COLUMNS = {"factor": Column("factor"), "eps_size": Column("size of eps")}  # that reports does not know
TABLES = {"eps_sizes.csv": ("factor", "sigma", "eps_size")}  # that this study writes besides


def opening(run: Run) -> Opening:
    """The first screen."""
    worse = run.of_kind("noise")["verdict"].eq("worse").sum()
    return Opening(f"Noise makes {worse} denoisers worse.")


def sections(run: Run) -> list[Section | None]:
    """The sections below it."""
    body = pd.DataFrame([
        {"factor": number(row["factor"]), "sigma": number(row["sigma"]), "size of eps": number(row["eps_size"])}
        for _, row in run.eps_sizes.iterrows()
    ])  # fmt: skip
    sizes = table(body, "Root mean square of eps on images with noise.")
    return [Section("The size of eps", [sizes]), Section("Tables", tables.runs(run, ("network", "eta")))]
