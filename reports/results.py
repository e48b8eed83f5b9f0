"""The files of a result folder as DataFrames: numbers are float64, flags booleans, texts str.

A missing number is NaN, a missing flag NA, a missing text "".
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from reports.formats import evaluations, metric_name
from reports.schema import (
    CONFIRM,
    EXPLORE,
    FLAGS,
    PRIMARY_METRIC,
    TABLES,
    TEXTS,
    all_columns,
    read_bytes,
    required_columns,
)

SCHEMA = 2  # version of the format of a result folder
PAIR = ["question", "family", "section", "within", "a", "nfe_a", "b", "nfe_b"]  # these columns name a comparison
FLAG = {"True": True, "False": False, "": pd.NA}


@dataclass(frozen=True)
class LoadedResult:
    """A result in memory: `info` is run.json, and the table NAME.csv is `result.NAME`."""

    folder: Path
    info: dict[str, Any]
    tables: Mapping[str, pd.DataFrame]

    def __getattr__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    @property
    def features(self) -> str:
        """The feature space of all distances."""
        return next((name for name in self.table["features"] if name), "")

    def metric_name(self, metric: str = PRIMARY_METRIC) -> str:
        """The name of a metric in the feature space of this result."""
        return metric_name(metric, self.features)

    @property
    def question(self) -> str:
        return str(self.info["question"]).replace("images", f"{self.unit}s")

    @property
    def unit(self) -> str:
        """The noun for a sample: image, or point."""
        return "point" if self.features == "values" else "image"

    @property
    def limit(self) -> float | None:
        """The limit of visible noise, the same for all settings; None in results of the time before it."""
        value = self.info.get("statistics", {}).get("visible_noise")
        return None if value is None else float(value)

    @property
    def fixed_beforehand(self) -> bool:
        """Whether the comparison of the verdict was fixed before any result; otherwise it is exploratory."""
        return bool(self.info.get("fixed_beforehand"))

    @property
    def runs(self) -> pd.DataFrame:
        """The runs that succeeded, without those of explorers."""
        return self.table[(self.table["status"] == "ok") & self.table["section"].ne(EXPLORE)]

    @property
    def trained_here(self) -> bool:
        """Whether its networks were trained for it: then others chose; otherwise the same one, with other noise."""
        return bool(self.runs["trained_by"].eq("sigmabench").any())

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The comparisons in the primary metric, with what answers.csv says of each: use, nfe, cost, advised, reason.

        Columns asked, name_a and name_b: question and settings with numbers of evaluations where these differ.
        """
        rows = self.contrasts[self.contrasts["metric"] == PRIMARY_METRIC]
        told = self.answers[[*PAIR, "use", "nfe", "cost", "advised", "reason"]]
        rows = rows.merge(told, "left", PAIR, suffixes=("_none", "")).fillna({"use": "", "advised": False})
        several = rows.groupby("question")[["within", "nfe_a", "nfe_b"]].transform("nunique") > 1
        asked = rows["question"].where(
            ~several["within"], rows["question"] + rows["within"].map(", within {:.0f}".format)
        )
        costs = several.any(axis=1) | rows["nfe_a"].ne(rows["nfe_b"])
        for side in "ab":
            named = rows[side] + rows[f"nfe_{side}"].map(lambda nfe: f", {evaluations(nfe)} evaluations")
            rows[f"name_{side}"] = named.where(costs & rows[f"nfe_{side}"].ne(rows["within"]), rows[side])
        return rows.assign(reason=rows["reason"].fillna(rows["reason_none"]), asked=asked)

    @property
    def was_confirmed(self) -> bool:
        """Whether other networks than those that chose compared the settings."""
        return bool((self.contrasts["family"] == CONFIRM).any())

    def beside(self, row: pd.Series, metric: str) -> pd.Series | None:
        """The comparison of the same pair in another metric, if there is one."""
        rows = self.contrasts[self.contrasts["metric"] == metric]
        for name in PAIR:
            rows = rows[rows[name].isna() if pd.isna(row[name]) else rows[name].eq(row[name])]
        return rows.iloc[0] if len(rows) else None

    def hold_for(self, n: float) -> bool:
        """Whether the intervals over n networks are about networks in general."""
        return n >= self.info.get("statistics", {}).get("enough_networks", 5)

    @property
    def confidence(self) -> float:
        """The confidence of all intervals."""
        return float(self.info.get("statistics", {}).get("level", 0.95))

    def floor(self, metric: str, n_samples: float) -> pd.Series | None:
        """The score of that many real images, or of the nearest number that was measured."""
        rows = self.floors[self.floors["metric"] == metric]
        return rows.loc[(rows["n_samples"] - n_samples).abs().idxmin()] if len(rows) else None


def find_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """Those of these files that lie in the folder itself. A path for a name, or a link, may lead out of a result."""
    paths = [folder / name for name in names if Path(name).name == name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def read(folder: Path) -> LoadedResult:
    """The result in a folder. Only run.json must exist.

    Raises:
        FileNotFoundError: there is no run.json.
        ValueError: a file cannot be read, or lacks a column.
    """
    info = read_info(folder / "run.json")
    tables = {name.removesuffix(".csv"): _table(folder / name, columns) for name, columns in TABLES.items()}
    return LoadedResult(folder, info, tables)


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The CSV at `path`, which must have `columns`. Without the file: no rows."""
    content = read_bytes(path)
    if content is None:
        content = f"{','.join(required_columns(columns))}\n".encode()
    frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    if absent := [name for name in required_columns(columns) if name not in frame]:
        raise ValueError(f"{path.name}: missing columns: {', '.join(absent)}")
    for name in all_columns(columns):
        texts = frame.get(name, pd.Series("", frame.index))
        if name in FLAGS:
            frame[name] = texts.map(FLAG.__getitem__).astype("boolean")  # any other text is a KeyError
        else:
            frame[name] = texts if name in TEXTS else pd.to_numeric(texts.mask(texts == "")).astype("float64")
    return frame


def read_info(path: Path) -> dict[str, Any]:
    """The content of run.json, without what is null. Errors as in `read`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a result folder has one")
    info = json.loads(path.read_text(encoding="utf-8"))
    if info.get("schema") != SCHEMA:
        raise ValueError(f"run.json: schema={info.get('schema')!r}: this version reads {SCHEMA}; run the command again")
    return {name: value for name, value in info.items() if value is not None}
