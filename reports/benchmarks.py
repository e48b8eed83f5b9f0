"""The page of `python -m reports bench FILE.json`: how fast is sampling, next to other loops?"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from reports.details import describe_origin
from reports.formats import is_missing, number, percent, plural, short
from reports.page import Axis, Bar, Column, Figure, FigureSection, KeyFigure, Line, Page, Row, Source, Table
from reports.schema import BETTER

OPTIONAL = "share_outside flop_per_second fraction_of_roof peak_mib".split()
SUITES = {"sampling": "Sampling", "training": "Training"}
COLUMNS = (
    Column("Images per second", "n", after=" images/s"),
    Column("Slowest to fastest round", "wide", "rounds "),
    Column("ms per step", "n", after=" ms per step"),
    Column("Outside the network", "n", "outside the network "),
    Column("Share of peak", "n", "of peak "),
)
TERMS = [
    ("Images per second", "Median of the rounds, one batch at a time."),
    ("ms per step", "Time of a run divided by its network evaluations."),
    ("Outside the network", "Share of the time that is spent outside the network's calls; on CPUs only."),
    ("Share of peak", "Operations per second of the run ÷ those of a square matrix product of the same precision."),
]


def read_benchmarks(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A row per benchmark that `pytest --benchmark --benchmark-json=FILE` wrote, and the rest of the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: no benchmark has `suite` in its extra_info.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; `pytest --benchmark --benchmark-json={path}` writes one")
    info = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        {"default": False} | dict.fromkeys(OPTIONAL) | bench["extra_info"] | bench["stats"]
        for bench in info.pop("benchmarks")
        if "suite" in bench["extra_info"]
    ]
    if not rows:
        raise ValueError(f"{path}: no benchmark in it has `suite` in its extra_info")
    frame = pd.DataFrame(rows)
    frame[OPTIONAL] = frame[OPTIONAL].apply(pd.to_numeric)
    return frame, info


def bench_page(rows: pd.DataFrame, info: dict[str, Any]) -> Page:
    """The page. Two loops are compared if they have one precision and both, or neither, are compiled."""
    rows = rows[rows["suite"].isin(SUITES)]
    compiled = rows["compiled"].astype(bool).map({True: ", compiled", False: ""})
    rows = rows.assign(mode=rows["precision"] + compiled)
    machine = info["machine_info"]
    commit = info["commit_info"]
    pair = find_pair(rows)
    key_figures = list[KeyFigure]()
    verdict = ("", "Sampling and training were not measured.")
    if pair is not None:
        ours, other = pair
        ratio = ours["images_per_second"] / other["images_per_second"]
        text = f"In {ours['mode']}, {ours['suite']} makes {_rate(ours)} images per second, "
        verdict = (f"{ratio:.2g} times as fast.", f"{text}{other['who']} {_rate(other)}.")
        axis = Axis.over([ours["images_per_second"], other["images_per_second"]])
        for name, row in (("Ours", ours), (other["who"], other)):
            notes = ["images per second", _rounds(row)]
            key_figures.append(KeyFigure(f"{name}, {row['mode']}", _rate(row), notes, [_bar(axis, row)], axis.place(0)))
    sampling = rows[rows["ours"] & (rows["suite"] == "sampling")]
    for _, row in sampling[sampling["default"].astype(bool)].head(1).iterrows():
        notes = [f"images per second, {row['mode']}", _rounds(row)]
        key_figures.append(KeyFigure("What runs do here", _rate(row), notes))
    if len(outside := sampling["share_outside"].dropna()):
        share = percent(outside.max())
        key_figures.append(KeyFigure("Outside the network", share, ["of the time of sampling, at most"]))
    tables = [_table(rows[rows["suite"] == suite], title) for suite, title in SUITES.items()]
    versions = {"torch": machine["torch"], "python": machine["python_version"], "pytest-benchmark": info["version"]}
    about = {"command": "pytest --benchmark --benchmark-json=FILE.json", "commit": commit.get("id"),
             "dirty": commit.get("dirty"), "machine": _machine(machine), "versions": versions}  # fmt: skip
    return Page(
        Source([_machine(machine), "network small, images of 32x32"], info["datetime"][:10]),
        "How fast is the loop, next to others with the same network?", *verdict, key_figures=key_figures,
        caveats=["Holds for this machine."] if pair is not None else [], figures=[_figure(rows)] if len(rows) else [],
        tables=[table for table in tables if table.rows], noun="loop", note="Same weights, one process.",
        details=[*TERMS, *describe_origin(about)],
    )  # fmt: skip


def find_pair(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    """Our loop and the fastest other one in the same mode: of sampling if it was measured, in fp32 if it was."""
    for suite in SUITES:
        loops = rows[rows["suite"] == suite]
        modes = [mode for mode, of_mode in loops.groupby("mode", sort=False) if of_mode["ours"].nunique() == 2]
        if modes:
            mode = "fp32" if "fp32" in modes else modes[0]
            loops = loops[loops["mode"] == mode].sort_values("images_per_second", ascending=False, kind="stable")
            return loops[loops["ours"]].iloc[0], loops[~loops["ours"]].iloc[0]
    return None


def _figure(rows: pd.DataFrame) -> Figure:
    """Images per second of every loop of the first suite that was measured, grouped by mode; equal precision first."""
    suite = next(suite for suite in SUITES if suite in set(rows["suite"]))
    loops = rows[rows["suite"] == suite].sort_values("images_per_second", ascending=False, kind="stable")
    axis = Axis.over(_range(row)[1] for _, row in loops.iterrows())
    sections = []
    for mode in sorted(loops["mode"].unique(), key=lambda mode: (mode != "fp32", mode)):
        lines = []
        for _, row in loops[loops["mode"] == mode].iterrows():
            lines.append(Line(row["who"], _bar(axis, row), _rate(row), word="ours" if row["ours"] else ""))
        sections.append(FigureSection(mode, "", lines))
    note = "Images per second, median and range of the rounds; higher is better. Filled: ours."
    return Figure(
        f"{SUITES[suite]}, by precision", note, sections, axis.place(0), (), axis.ticks,
        label="Images per second", legend=[(BETTER, "ours"), ("not", "others")],
    )  # fmt: skip


def _bar(axis: Axis, row: pd.Series) -> Bar:
    return Bar.of(axis, [row["images_per_second"], *_range(row)], BETTER if row["ours"] else "")


def _table(rows: pd.DataFrame, title: str) -> Table:
    rows = rows.sort_values("images_per_second", ascending=False, kind="stable")
    made = []
    for _, row in rows.iterrows():
        shares = ("" if is_missing(row[name]) else percent(row[name]) for name in ("share_outside", "fraction_of_roof"))
        cells = [_rate(row), _rounds(row), short(row["ms_per_step"]), *shares]
        made.append(Row(f"{row['who']}, {row['mode']}", cells, best=bool(row["default"])))
    batch = f", batches of {number(rows['batch'].iloc[0], 0)}" if len(rows) else ""
    return Table(f"{title}{batch}", COLUMNS, made)


def _rate(row: pd.Series) -> str:
    return number(row["images_per_second"], 0)


def _range(row: pd.Series) -> list[float]:
    """The images per second of the slowest and of the fastest round."""
    return [row["images_per_second"] * row["median"] / row[name] for name in ("max", "min")]


def _rounds(row: pd.Series) -> str:
    count = plural(row["rounds"], "round")
    return f"{count}, no spread" if row["rounds"] < 2 else f"{' to '.join(number(x, 0) for x in _range(row))} ({count})"


def _machine(info: dict[str, Any]) -> str:
    """Card or processor, and threads."""
    name = info.get("cpu", {}).get("brand_raw") or "unknown processor"
    card = "" if info["device"] == "cpu" else f"{info['device']}; "
    return f"{card}{name}, {plural(info['threads'], 'thread')}"
