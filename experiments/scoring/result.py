"""The results of `compare` and `score`: views of the rows of the result folder, for a notebook."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.scoring.inputs import Input
from experiments.scoring.sides import COPIES, SpaceResult
from reports.schema import PRIMARY_METRIC, Row, say_near

PAIRS = {
    "names": "images of the same name are compared in pairs",
    "order": "images at the same place are compared in pairs",
    "none": "no pairs: the sets are independent",
}
MMD = "MMD x1000"  # a column, which people type in Python
OF_MMD = ("difference", "low", "high", "value_a", "value_b", "detectable")  # in its unit


@dataclass(frozen=True)
class Scores:
    """The answer: `print` shows it."""

    real: str  # the name of the real images
    n_real: int
    n: int  # images of each set that are compared
    pairs: str  # how they are paired: names, order or none
    space: SpaceResult  # the rows, in its feature space
    notes: tuple[str, ...] = ()  # what was done with the images, one sentence each
    warnings: tuple[str, ...] = ()  # reasons for doubt, one sentence each
    inputs: tuple[Input, ...] = ()  # the images, first the real ones
    chosen: tuple[NDArray[np.intp], ...] = ()  # the order in which those of each are taken

    @property
    def tables(self) -> Mapping[str, Sequence[Row]]:
        """All rows by the name of their table."""
        return {name: rows for name, rows in self.space.tables.items() if rows or name != "best_sets.csv"}

    @property
    def values(self) -> Mapping[str, Mapping[str, SimpleNamespace]]:
        """By set and metric its distance: value, low and high."""
        return _by_metric(self.space.tables["scores.csv"], "setting")

    @property
    def differences(self) -> Mapping[str, Mapping[str, SimpleNamespace]]:
        """By set and metric its difference from the first set, raw columns of contrasts.csv; and its copies."""
        tables = self.space.tables
        first = tables["table.csv"][0]["setting"]
        return _by_metric([row for row in tables["contrasts.csv"] if row["b"] == first], "a")

    @property
    def verdict(self) -> str:
        """The verdict on the second set against the first; empty if there is only one."""
        return self.difference.verdict if self.differences else ""

    @property
    def difference(self) -> SimpleNamespace:
        """The second set minus the first in MMD ×1000, as printed: difference, low, high, verdict, p and more."""
        if not self.differences:
            raise ValueError("difference: there is one set only, so nothing is compared; its distances are in `values`")
        row = vars(next(iter(self.differences.values()))[PRIMARY_METRIC])
        shown = {name: 1000 * row[name] for name in OF_MMD if row[name] is not None}
        return SimpleNamespace(**{**row, **shown, "metric": MMD})

    @property
    def best(self) -> tuple[str, ...]:
        """The sets that cannot be told from the best, best first, if there are three sets or more."""
        rows = [row for row in self.space.tables["best_sets.csv"] if row["in_set"]]
        return tuple(row["setting"] for row in sorted(rows, key=lambda row: float(row["value"])))

    @property
    def pairing(self) -> str:
        """How images are paired; empty for one set."""
        return PAIRS[self.pairs] if self.differences else ""

    def frame(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A row per set, with real images last, and one per difference from the first set.

        `low` and `high` are the limits of the 95 % interval of MMD. FD of fewer real images than a set has is missing,
        since FD falls with their number.
        """
        sets = list[Row]()
        tables = self.space.tables
        intervals = {row["setting"]: row for row in tables["scores.csv"] if row["metric"] == PRIMARY_METRIC}
        floor = {row["metric"]: row["mean"] for row in tables["floors.csv"]}
        n = tables["floors.csv"][0]["n_samples"]
        if n < self.n:
            del floor["fd"]
        for row in (*tables["table.csv"], {"setting": f"{n} real images"} | floor):
            ends = intervals.get(row["setting"], {})
            sets.append(
                {"set": row["setting"], MMD: 1000 * row[PRIMARY_METRIC]}
                | {end: 1000 * ends.get(end, math.nan) for end in ("low", "high")}
                | {"FD": row.get("fd", math.nan), "precision": row["precision"], "recall": row["recall"]}
                | {"visible_noise": math.nan if row.get("visible_noise") is None else row["visible_noise"]}
            )
        pairs = [
            {"a": row["a"], "b": row["b"], f"{MMD} difference": 1000 * row["difference"]}
            | {end: 1000 * row[end] for end in ("low", "high")} | {"verdict": row["verdict"]}
            for row in self.space.deciding()
        ]  # fmt: skip
        return pd.DataFrame(sets), pd.DataFrame(pairs)

    def __str__(self) -> str:
        sets, pairs = self.frame()
        sets[MMD] = sets[MMD].astype(object)
        for at, row in sets[sets["low"] <= 0].iterrows():
            sets.loc[at, [MMD, "low", "high"]] = [say_near(row["high"], f"{row['high']:.3g}"), math.nan, math.nan]
        lines = [f"feature space {self.space.features}, 95 % intervals:"]
        for frame in (sets, pairs):
            if len(frame):
                lines.append(frame.to_string(index=False, na_rep="", float_format="{:.3f}".format) + "\n")
        notes = [*filter(None, [self.pairing]), *self.notes, *(f"warning: {text}" for text in self.warnings)]
        return "\n".join([*lines, *notes])

    __repr__ = __str__


def _by_metric(rows: Sequence[Row], column: str) -> dict[str, dict[str, SimpleNamespace]]:
    """Rows as name in `column` -> metric -> row."""
    names = dict.fromkeys(row[column] for row in rows)
    return {name: {row["metric"]: SimpleNamespace(**row) for row in rows if row[column] == name} for name in names}


def with_interval(row: SimpleNamespace) -> list[object]:
    """A distance, or a difference, with the limits of its interval; of copies with the verdict too."""
    ends = [getattr(row, "value" if hasattr(row, "value") else "difference"), row.low, row.high]
    return [*ends, row.verdict] if getattr(row, "metric", "") == COPIES else ends
