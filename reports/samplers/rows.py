"""The files of a check of samplers: samplers.json, verdicts.csv and budgets.csv, as DataFrames."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.schema import content

FILE = "samplers.json"  # its presence makes a folder a check of samplers
NEEDED = {
    "verdicts.csv": "sampler group kind sentence order left_over how limit_ratio limit_mean_error note link",
    "budgets.csv": "sampler n_steps data_std ratio mean_error ratio_se",
}
NARROW = 0.1  # directions of a smaller standard deviation only show noise that is left over
KINDS = (
    "right", "wrong limit", "noise left over", "irregular in the number of steps", "order lost",
    "unlike its reference", "undecided",
)  # fmt: skip


@dataclass(frozen=True)
class Checks:
    """Verdicts on samplers: `info` is samplers.json, `verdicts` a row per sampler, `budgets` one per direction too."""

    directory: Path
    info: dict[str, Any]
    verdicts: pd.DataFrame
    budgets: pd.DataFrame

    def worst(self, sampler: str) -> pd.Series:
        """Number of steps -> the ratio of standard deviations that is farthest from 1, over the wide directions."""
        rows = self.budgets[(self.budgets["sampler"] == sampler) & (self.budgets["data_std"] > NARROW)]
        rows = rows[rows["ratio"].notna()]  # it is not, where the samples are not finite
        farthest = rows.loc[(rows["ratio"] - 1).abs().groupby(rows["n_steps"]).idxmax()]
        return farthest.set_index("n_steps")["ratio"]


def found(path: Path) -> bytes:
    """The bytes of a table, which may be compressed. FileNotFoundError if it is missing."""
    if (table := content(path)) is None:
        raise FileNotFoundError(f"{path}: no such file; a check of samplers has one")
    return table


def read_checks(directory: Path) -> Checks:
    """The checks in a folder.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not as a check wrote it.
    """
    try:
        info = json.loads((directory / FILE).read_text(encoding="utf-8"))
        tables = [pd.read_csv(io.BytesIO(found(directory / name))) for name in NEEDED]
    except ValueError as error:
        raise ValueError(f"{directory}: it cannot be read: {error}") from error
    for (name, columns), table in zip(NEEDED.items(), tables, strict=True):
        if absent := [column for column in columns.split() if column not in table]:
            raise ValueError(f"{name}: missing columns: {', '.join(absent)}")
    verdicts, budgets = tables
    if strange := sorted({*verdicts["kind"]} - {*KINDS}):
        raise ValueError(f"verdicts.csv: kind={strange[0]!r}: must be one of {', '.join(KINDS)}")
    return Checks(directory, info, verdicts, budgets)
