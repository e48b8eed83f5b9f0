"""Selections of gains.csv, claims.csv and copies.csv, and their values in words and tables.

A gain is the change of a distance by noise, setting minus no noise, with one denoiser. Below 0, noise helps.
"""

import pandas as pd

from experiments.why_noise.page.tables import HALF_LEFT, HELD_OUT
from reports import components
from reports.document import Table, table
from reports.formats import cell, interval, metric_name, missing, number, percent, plural
from reports.results import Run, pooled

DECIDES = "fd"  # needs fewer images for this effect than KD
FULL, EVERYWHERE = "eta 1", "noise everywhere"
MANY_COPIES = 0.1  # share of samples, beyond that of held-out images
LOW = 1.0  # below this sigma, errors on a network's own samples exceed those on training inputs
BEYOND = "beyond the exact denoiser (FD)"


def of(run: Run, *parts: str, metric: str = DECIDES, setting: str | None = FULL) -> pd.DataFrame:
    """The gains of these parts over all networks, one row per arm and setting; without parts, of all."""
    rows = pooled(run.gains)
    rows = rows[(rows["metric"] == metric) & (setting is None or rows["setting"] == setting)]
    return pd.concat([rows[rows["part"] == part] for part in parts]) if parts else rows


def first(rows: pd.DataFrame, **values: object) -> pd.Series | None:
    """The first row with these values; None stands for a missing one."""
    for name, value in values.items():
        rows = rows[rows[name].isna()] if missing(value) else rows[rows[name] == value]
    return rows.iloc[0] if len(rows) else None


def lengths(run: Run) -> list[float]:
    """The numbers of training images of the networks, ascending."""
    return sorted(of(run, "whole")["images_seen"].dropna().unique())


def whole(run: Run, images_seen: float | None) -> pd.Series | None:
    """The gain with a network, or with the exact denoiser (None)."""
    return first(of(run, "whole"), kind="exact" if images_seen is None else "network", images_seen=images_seen)


def claim(run: Run, name: str, images_seen: float | None, **more: object) -> pd.Series | None:
    """The claim of this name; `more` are further columns, such as band_low, where several have it."""
    return first(run.claims, metric=DECIDES, claim=name, images_seen=images_seen, **more)


def half_left(run: Run, images_seen: float, edge: float | None = None) -> pd.Series | None:
    """The gain with an exact denoiser above a level, by default the split, minus half of the network's."""
    return claim(run, HALF_LEFT, images_seen, band_low=split_at(run) if edge is None else edge)


def visited(run: Run) -> pd.DataFrame:
    """The ratios on visited inputs that have limits, with the networks that were trained longest."""
    ratios = run.ratios[run.ratios["probe"] == "visited"]
    return ratios[(ratios["images_seen"] == ratios["images_seen"].max()) & ratios["high"].notna()]


def split_at(run: Run) -> float | None:
    """The noise level at which denoisers are split in two, if any are."""
    rows = run.gains[run.gains["part"] == "split"]
    return float(rows["band_low"].max()) if len(rows) else None


def in_general(row: pd.Series) -> bool:
    """Whether an interval speaks of networks in general, not of these only."""
    return missing(row["holds_for"]) and not missing(row["low"])


def below(row: pd.Series | None) -> bool:
    """Whether the whole interval lies below 0."""
    return row is not None and not missing(row["high"]) and row["high"] < 0


def above(row: pd.Series | None) -> bool:
    """Whether the whole interval lies above 0."""
    return row is not None and not missing(row["low"]) and row["low"] > 0


def near_copies(run: Run, arm: str) -> float | None:
    """The share of near copies among the samples of an arm, mean over networks, in the setting with the most."""
    rows = run.copies[run.copies["arm"] == arm]
    return float(rows.groupby("setting")["near_copies"].mean().max()) if len(rows) else None


def copied(run: Run, arm: str) -> bool:
    """Whether clearly more of the samples of an arm, with noise or without, are near copies than of held-out images."""
    near = near_copies(run, arm)
    return near is not None and near > (near_copies(run, HELD_OUT) or 0.0) + MANY_COPIES


def shown(run: Run, row: pd.Series | None, *, named: bool = True) -> str:
    """A gain or claim with its interval, for instance "FD −0.7 (95 % interval −1.6 to 0.2)"; None is an empty text."""
    if row is None:
        return ""
    note = f"{percent(row['level'])} interval " if named else ""
    size = interval(row["metric"], row["difference"], row["low"], row["high"], note)
    return f"{metric_name(row['metric'], run.features)} {size}" if named else size


def power(row: pd.Series) -> str:
    """What a gain or claim that is not detectable could have detected, in brackets."""
    if row["clear"] or missing(row["detectable"]):
        return ""
    return f" (this run could have detected {cell(row['metric'], row['detectable'])})"


def images(value: float) -> str:
    return f"{cell('images_seen', value)} training images"


def label(row: pd.Series) -> str:
    """A band as a tick label."""
    low, high = row["band_low"], row["band_high"]
    if missing(high):
        return f"> {number(low)}"
    return f"< {number(high)}" if low == 0 else f"{number(low)}–{number(high)}"


def gain_table(run: Run, rows: pd.DataFrame, text: str) -> Table:
    """Gains with intervals: one line per arm and setting, one column per metric."""
    body = []
    for _, row in rows.iterrows():
        line = {"denoiser": row["arm"], "setting": row["setting"], "samples": cell("n_samples", row["n_samples"])}
        line["FD without noise"] = cell("fd", row["value_0"])
        for metric in run.metrics[::-1]:
            line[f"change of {metric_name(metric, run.features)} (interval)"] = shown(
                run, in_metric(run, row, metric), named=False
            )
        beyond = claim(run, "denoiser − exact", row["images_seen"], arm=row["arm"]) if row["setting"] == FULL else None
        body.append(line | {BEYOND: shown(run, beyond, named=False)})
    frame = pd.DataFrame(body)
    if not frame[BEYOND].any():
        frame = frame.drop(columns=BEYOND)
    made = "; ".join(dict.fromkeys(components.how(row) for _, row in rows.iterrows() if row["interval"])) or "none"
    text = f"{text} Below 0, noise helps. {plural(rows['n_networks'].max(), 'network')}. Intervals: {made}."
    return table(frame, text, words=("denoiser", "setting"))


def in_metric(run: Run, row: pd.Series, metric: str) -> pd.Series | None:
    """The gain of the same arm and setting in another metric."""
    return first(of(run, metric=metric, setting=row["setting"]), arm=row["arm"])
