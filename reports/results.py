"""The files of a result folder as DataFrames: numbers are float64, flags booleans, texts str.

A missing number is NaN, a missing flag NA, a missing text "".
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.formats import metric_name
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

    @property
    def was_confirmed(self) -> bool:
        """Whether other networks than those that chose compared the settings."""
        return bool((self.contrasts["kind"] == CONFIRM).any())

    def over_networks(self, metric: str = PRIMARY_METRIC, kind: str = "") -> pd.DataFrame:
        """The contrasts over all networks in one metric, or those of one kind."""
        rows = self.contrasts
        return rows[(rows["train_seed"] == "") & (rows["metric"] == metric) & (rows["kind"].eq(kind) | (not kind))]

    def match(self, contrast: pd.Series, metric: str = PRIMARY_METRIC) -> pd.DataFrame:
        """The rows of a contrast in one metric: those of single networks, then that over networks."""
        rows = self.contrasts
        names = ["kind", "section", "a", "b", "n_samples"]
        alike = (rows[names] == contrast[names]).all(axis=1) & (rows["metric"] == metric)
        for name in ("budget", "nfe_a", "final_denoise"):
            alike &= rows[name].isna() if pd.isna(contrast[name]) else rows[name].eq(contrast[name]).fillna(False)
        return rows[alike]

    def pooled(self, contrast: pd.Series, metric: str) -> pd.Series | None:
        """The row of a contrast over all networks in one metric, if there is one."""
        rows = self.match(contrast, metric)
        rows = rows[rows["train_seed"] == ""]
        return rows.iloc[0] if len(rows) else None

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
