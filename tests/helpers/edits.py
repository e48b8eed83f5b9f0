"""Edits of the tables of a result folder."""

from pathlib import Path
from typing import Any

import pandas as pd

ALL = "index == index"


def edit(folder: Path, table: str, where: str = ALL, copy: str = "", **values: Any) -> Path:
    """Sets values in the rows of a table for which a query holds, or in copies of them, which are then added.

    For the query, what stands in the table is text.
    """
    path = folder / f"{table}.csv"
    rows = pd.read_csv(path, dtype=object, keep_default_na=False)
    edited = rows.query(copy or where).assign(**values)
    rest = rows if copy else rows.drop(edited.index)
    pd.concat([rest, edited]).sort_index(kind="stable", ignore_index=True).to_csv(path, index=False)
    return folder
