"""`python -m reports compare A B`: what changed between two runs of one experiment: settings, quality, seconds."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from reports.budgets import unpaired
from reports.components import values
from reports.formats import cell, interval, metric_name, missing, number, percent
from reports.render import read_opening
from reports.results import Run, timed
from reports.schema import COLUMNS, LEVEL, METRICS
from reports.tables import MEASURING, TRAINING

KEYS = ["mode", "setting", "budget", "denoiser", "denoiser_error", "final_denoise"]
CONTENT = "features_id"  # a hash of the feature space's code and weights
EQUAL = ["data", "features", CONTENT, "n_samples", "n_reference"]  # else distances cannot be compared
Lines = list[list[str]]


def compare(a: Path, b: Path) -> list[tuple[str, Lines]]:
    """Titled tables (the first line is the head): verdicts, settings that differ, quality, seconds.

    Raises:
        FileNotFoundError, ValueError: a folder is no result folder, or the experiments differ.
    """
    (run_a, opening_a), (run_b, opening_b) = read_opening(a), read_opening(b)
    names = [run.info["experiment"] for run in (run_a, run_b)]
    if names[0] != names[1]:
        raise ValueError(f"{a} is a run of {names[0]}, {b} one of {names[1]}; only runs of one experiment are compared")
    out = [("Verdicts", [["", "verdict"], ["A", opening_a.answer], ["B", opening_b.answer]])]
    return [*out, ("Settings that differ", settings(run_a, run_b)), *quality(run_a, run_b), *seconds(run_a, run_b)]


def settings(a: Run, b: Run) -> Lines:
    """Every setting whose values differ, then commit, command and versions."""
    rows = [[COLUMNS[name].label, *(values(run.rows, name) for run in (a, b))]
            for name in (*TRAINING, *MEASURING, CONTENT) if name in a.rows and name in b.rows]  # fmt: skip
    rows += [[name, *(str(run.info.get(name) or "unknown") for run in (a, b))] for name in ("command", "commit")]
    versions = [run.info.get("versions", {}) for run in (a, b)]
    rows += [[name, *(str(one.get(name, "none")) for one in versions)] for name in sorted({*versions[0], *versions[1]})]
    return [["setting", "A", "B"], *([row for row in rows if row[1] != row[2]] or [["none", "", ""]])]


def quality(a: Run, b: Run) -> list[tuple[str, Lines]]:
    """Each setting that both runs have: its score in A and B, the difference with an interval, and FD of both.

    The interval is over images, for these networks only, as if the two runs were independent. Runs that share their
    noise are not, and their true interval is narrower.
    """
    judge = a.judge if a.judge == b.judge else METRICS[1]  # runs from before MMD have KD
    kd, fd = (metric_name(metric, a.features) for metric in (judge, "fd"))
    head = ["mode", "setting", "evaluations", f"{kd}: A", "B", f"B − A ({percent(LEVEL)} interval)", f"{fd}: A", "B"]
    lines, left_out = [head], Counter[tuple[str, str]]()
    in_a, in_b = (_settings_of(run) for run in (a, b))
    for key in dict.fromkeys([*in_a, *in_b]):
        label = [key[0], key[1] + (", final denoising" if key[-1] is True else "")]
        if not (key in in_a and key in in_b):
            left_out[key[0], f"only in {'A' if key in in_a else 'B'}"] += 1
            continue
        both = in_a[key], in_b[key]
        differ = [
            name for name in EQUAL if name in both[0] and str(both[0][name].iloc[0]) != str(both[1][name].iloc[0])
        ]
        if differ:
            left_out[key[0], f"not comparable: {', '.join(COLUMNS[name].label for name in differ)} differ"] += 1
            continue
        nfe = dict.fromkeys(cell("nfe", rows["nfe"].mean()) for rows in both)
        change = interval(judge, *unpaired(both[1], both[0], judge))
        same = set(both[0]["samples_id"]) == set(both[1]["samples_id"])
        lines.append([
            *label, " and ".join(nfe), *(cell(judge, rows[judge].mean()) for rows in both),
            "the same samples" if same else change, *(cell("fd", rows["fd"].mean()) for rows in both),
        ])  # fmt: skip
    tables = [("Quality (lower is better; intervals over images, for these networks)", lines)] if len(lines) > 1 else []
    others = [[mode, number(count, 0), why] for (mode, why), count in left_out.items()]
    return [*tables, ("Not compared", [["mode", "settings", "why"], *others])] if others else tables


def _settings_of(run: Run) -> dict[tuple[Any, ...], pd.DataFrame]:
    """The rows of each setting that succeeded, one per network."""
    rows = run.rows[run.rows["status"] == "ok"]
    keys = [rows[name].astype(object).where(rows[name].notna(), "") for name in KEYS]
    return dict(list(rows.groupby(keys, sort=False)))


def seconds(a: Run, b: Run) -> list[tuple[str, Lines]]:
    """Seconds per network evaluation of one image, if both runs were timed on one kind of device."""
    rows = [timed(run.ok()) for run in (a, b)]
    if not all(map(len, rows)):
        return []
    devices = [values(frame, "device") for frame in rows]
    rates = [float(frame["seconds"].sum() / (frame["nfe"] * frame["n_samples"]).sum()) for frame in rows]
    shown = [f"{number(1e6 * rate)} µs" if not missing(rate) else "" for rate in rates]
    change = f"{number(rates[1] / rates[0], 2)} times" if devices[0] == devices[1] else "other device"
    line = ["sampling, per evaluation of one image", *shown, change]
    return [("Time", [["", "A", "B", "B ÷ A"], line])]
