"""The files of a run directory as validated DataFrames, and the selections of rows that reports show.

Numbers are float64, flags are pandas booleans, texts are str. A missing cell is NaN, NA or "".
"""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.schema import CHOICES, COLUMNS, METRICS, TABLES, content, needed

SCHEMA = 2  # version of the format of a run directory; since 2, the labels of the runs are columns
RUN_KEYS = {"schema": int, "experiment": str, "preset": str, "question": str, "command": str}
OPTIONAL_KEYS = {"files": dict, "notes": list, "versions": dict} | dict.fromkeys(("commit", "machine"), str)
JSON_NAMES = {int: "number", str: "string", dict: "object", list: "array"}


@dataclass(frozen=True)
class Run:
    """A run directory in memory: `info` is run.json, `rows` table.csv, and any other table NAME.csv is `run.NAME`."""

    directory: Path
    info: dict[str, Any]
    rows: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name not in self.__dict__.get("tables", ()):
            raise AttributeError(name)
        return self.tables[name]

    @property
    def features(self) -> str:
        """The feature space of all distances in this run, or "" if nothing was measured."""
        return next((name for name in self.rows["features"] if name), "")

    @property
    def judge(self) -> str:
        """The metric that decides: the first of METRICS that was measured."""
        return next((name for name in METRICS if name in self.rows and self.rows[name].notna().any()), METRICS[0])

    @property
    def metrics(self) -> tuple[str, str]:
        """The metrics that figures show, the one that decides first."""
        return self.judge, "fd"

    def ok(self, *modes: str) -> pd.DataFrame:
        """The rows of these modes that succeeded. Without modes: every run that succeeded, once."""
        rows = self.rows[self.rows["status"] == "ok"]
        return rows[rows["mode"].isin(modes)] if modes else rows.drop_duplicates("run_id")

    def compared(self) -> pd.DataFrame:
        """The rows that succeeded, without those of the A/A control."""
        return self.rows[(self.rows["status"] == "ok") & (self.rows["mode"] != "control")]

    def failed(self) -> pd.DataFrame:
        """Every run that failed, once."""
        return _once(self.rows[self.rows["status"] == "failed"])

    def of_kind(self, *kinds: str) -> pd.DataFrame:
        """The contrasts of these kinds: the pooled rows and the rows of single networks."""
        return self.contrasts[self.contrasts["kind"].isin(kinds)]

    def floor(self, metric: str, like: pd.Series) -> pd.Series | None:
        """The floor of `metric` for the data, features and image counts of the row `like`, or None if not measured."""
        keys = ["data", "features", "n_samples", "n_reference"]
        same = (self.floors[keys] == like[keys]).all(axis=1) & (self.floors["metric"] == metric)
        return self.floors[same].iloc[0] if same.any() else None


def pooled(contrasts: pd.DataFrame) -> pd.DataFrame:
    """The contrasts over all networks."""
    return contrasts[contrasts["train_seed"] == ""]


def every_run(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per run, with all its modes in `mode`, and without seconds if the device was shared."""
    runs = _once(rows)
    runs["seconds"] = runs["seconds"].mask(runs["shared_device"].fillna(False))
    return runs.sort_values(["nfe", "eta", "final_denoise", "train_seed", "sample_seed"], kind="stable")


def timed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose seconds were measured on a device that was not shared."""
    return rows[rows["seconds"].notna() & ~rows["shared_device"].fillna(True)]


def seconds_taken(run: Run) -> float:
    """The seconds of training and sampling, summed over networks and sets of samples; unrecorded ones count as 0."""
    parts = {"model_id": "train_seconds", "samples_id": "seconds"}
    return float(sum(run.rows.drop_duplicates(of)[name].sum() for of, name in parts.items() if name in run.rows))


def _once(rows: pd.DataFrame) -> pd.DataFrame:
    modes = rows.groupby("run_id")["mode"].agg(lambda names: ", ".join(names.unique()))
    runs = rows.drop_duplicates("run_id")
    return runs.assign(mode=runs["run_id"].map(modes))


def read_run(directory: Path) -> Run:
    """The run in `directory`. Only run.json and table.csv must exist.

    Raises:
        FileNotFoundError: there is no run.json or no table.csv.
        ValueError: a missing key or column, or an invalid value. The message names file, row, column and rule.
    """
    info = _read_info(directory / "run.json")
    _check_digests(directory, info.get("files", {}))
    frames = {name.removesuffix(".csv"): read_table(directory / name, columns) for name, columns in TABLES.items()}
    run = Run(directory, info, frames.pop("table"), frames)
    spaces = sorted({*run.rows["features"], *run.contrasts["features"], *run.floors["features"]} - {""})
    if len(spaces) > 1:
        raise ValueError(f"features: {', '.join(spaces)}: one report shows one feature space")
    return run


def digests(directory: Path, names: Iterable[str] = TABLES) -> dict[str, str]:
    """The SHA-256 of each table of a run directory, for `files` in run.json."""
    tables = {name: table for name in names if (table := content(directory / name)) is not None}
    return {name: hashlib.sha256(table).hexdigest() for name, table in tables.items()}


def sealed(info: Mapping[str, Any]) -> dict[str, Any]:
    """The content of run.json with a SHA-256 of it, so that an edited question, note or option is noticed too."""
    read = json.loads(json.dumps(info))  # as a reader sees it: a key that is a number is a text
    return {**info, "digest": _digest(read)}


def _digest(info: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in info.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_digests(directory: Path, written: dict[str, str]) -> None:
    """Raises ValueError if a table is not as the run wrote it. `written` is empty for older runs."""
    found = digests(directory, [name for name in written if Path(name).name == name])
    for name, digest in written.items():
        if name not in found:
            raise ValueError(f"{name}: no such file in {directory}, but the run wrote one (`files` in run.json)")
        if found[name] != digest:
            raise ValueError(
                f"{name}: it is not as the run wrote it (`files` in run.json): it is incomplete, or it was edited. Run "
                "the command again; finished results are in the store. To report on an edited table, remove its entry "
                "from `files`, and `digest`"
            )


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The validated CSV at `path`, which must have `columns`. Without the file, which only table.csv needs: no rows."""
    text = content(path)
    if text is None:
        if path.name == "table.csv":
            raise FileNotFoundError(f"{path}: no such file; a run directory has one")
        return _typed(pd.DataFrame(columns=needed(columns), dtype=str), path.name)
    try:
        frame = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"{path.name}: not a CSV file: {error}") from None
    if absent := [name for name in needed(columns) if name not in frame]:
        raise ValueError(f"{path.name}: missing columns: {', '.join(absent)}")
    return _typed(frame, path.name)


def _typed(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    for name in [name for name in frame if name in COLUMNS]:
        column, texts = COLUMNS[name], frame[name]
        match column.kind:
            case "number":
                values = pd.to_numeric(texts.mask(texts == ""), errors="coerce").astype("float64")
                outside = ~values.between(column.least, column.most) & ~(values.eq(math.inf) & (not column.finite))
                wrong, kind = (texts != "") & outside, "a finite number" if column.finite else "a number"
                rule = f"{kind} or empty, at least {column.least:g} and at most {column.most:g}"
                frame[name] = values
            case "flag":
                frame[name] = texts.map({"True": True, "False": False}).astype("boolean")
                wrong, rule = ~texts.isin(["True", "False", ""]), "True, False or empty"
            case _ if name in CHOICES:
                wrong, rule = ~texts.isin(CHOICES[name]), "one of " + ", ".join(filter(None, CHOICES[name]))
            case _:
                continue
        value = texts[wrong].iloc[0] if wrong.any() else ""
        _refuse(wrong, file, f"{name}={value!r}: must be {rule}")
    if file == "contrasts.csv":
        _refuse(frame["n_networks"].isna(), file, "n_networks must not be empty")
        silent = (frame["train_seed"] == "") & (frame["verdict"] == "")
        _refuse(silent, file, "a row over all networks has no verdict")
    if {"low", "high"} <= set(frame):
        _refuse(frame["low"] > frame["high"], file, "low must be at most high")
    return frame


def _refuse(wrong: pd.Series, file: str, rule: str) -> None:
    if wrong.any():
        raise ValueError(f"{file}: row {int(wrong.to_numpy().argmax()) + 1}: {rule}")


def _read_info(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a run directory has one")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"run.json: not JSON: {error}") from None
    if not isinstance(info, dict) or (absent := [key for key in RUN_KEYS if key not in info]):
        raise ValueError(f"run.json: missing keys: {', '.join(absent) if isinstance(info, dict) else 'not an object'}")
    digest = _digest(info)  # as it is in the file
    for key, kind in (RUN_KEYS | OPTIONAL_KEYS).items():
        if info.get(key) is None and key in OPTIONAL_KEYS:
            info.pop(key, None)
        elif not isinstance(info[key], kind):
            raise ValueError(f"run.json: {key}={info[key]!r}: must be a JSON {JSON_NAMES[kind]}")
    if info.get("digest", digest) != digest:
        raise ValueError(
            "run.json: it is not as the run wrote it (`digest`). Run the command again; finished results are in the "
            "store. To report on an edited one, remove `digest`"
        )
    if info["schema"] != SCHEMA:
        raise ValueError(
            f"run.json: schema={info['schema']!r}: this version reads {SCHEMA}. Run its command again; results in its "
            "store are not computed again"
        )
    return info
