"""Selections of gains.csv and claims.csv, and their values in words.

A gain is the change of a distance by noise, setting minus no noise, with one denoiser. Below 0, noise helps.
"""

import pandas as pd

from reports.formats import cell, interval, metric_name, missing, number, percent
from reports.results import Run, pooled

DECIDES = "fd"  # needs fewer images for this effect than KD
FULL, EVERYWHERE = "eta 1", "noise everywhere"
MANY_COPIES = 0.1  # share of samples, beyond that of held-out images
HELD_OUT = "held-out images"
LOW = 1.0  # below this sigma, errors on a network's own samples exceed those on training inputs


def gains(run: Run, part: str = "", metric: str = DECIDES, setting: str = FULL) -> pd.DataFrame:
    """The gains of a part over all networks: one row per arm."""
    rows = pooled(run.gains)
    rows = rows[(rows["metric"] == metric) & (rows["setting"] == setting)]
    return rows[rows["part"] == part] if part else rows


def one(rows: pd.DataFrame, **values: object) -> pd.Series | None:
    """The first row with these values; NaN stands for the upper end of the highest band."""
    for name, value in values.items():
        rows = rows[rows[name].isna()] if missing(value) else rows[rows[name] == value]
    return rows.iloc[0] if len(rows) else None


def lengths(run: Run) -> list[float]:
    """The numbers of training images of the networks, ascending."""
    return sorted(gains(run, "whole")["images_seen"].dropna().unique())


def whole(run: Run, images_seen: float | None, metric: str = DECIDES) -> pd.Series | None:
    """The gain with a network, or with the exact denoiser (None)."""
    rows = gains(run, "whole", metric)
    return one(rows, kind="exact" if images_seen is None else "network", images_seen=images_seen)


def claim(run: Run, name: str, images_seen: float | None, metric: str = DECIDES, **more: object) -> pd.Series | None:
    """The claim of this name; `more` are further columns, such as band_low, where several have it."""
    return one(run.claims[run.claims["metric"] == metric], claim=name, images_seen=images_seen, **more)


def split_at(run: Run) -> float | None:
    """The noise level at which denoisers are split in two, if any are."""
    rows = run.gains[run.gains["part"] == "split"]
    return float(rows["band_low"].max()) if len(rows) else None


def shown(run: Run, row: pd.Series, *, named: bool = True) -> str:
    """A gain or claim with its interval, for instance "FD −0.7 (95 % interval −1.6 to 0.2)"."""
    note = f"{percent(row['level'])} interval " if named else ""
    size = interval(row["metric"], row["difference"], row["low"], row["high"], note)
    return f"{metric_name(row['metric'], run.features)} {size}" if named else size


def power(row: pd.Series) -> str:
    """What a gain or claim that is not detectable could have detected, in brackets."""
    if row["clear"] or missing(row["detectable"]):
        return ""
    return f" (this run could have detected {cell(row['metric'], row['detectable'])})"


def copied(run: Run, arm: str) -> bool:
    """Whether clearly more of the samples of an arm, with noise or without, are near copies than of held-out images."""
    near = near_copies(run, arm)
    return near is not None and near > (near_copies(run, HELD_OUT) or 0.0) + MANY_COPIES


def near_copies(run: Run, arm: str) -> float | None:
    """The share of near copies among the samples of an arm, mean over networks, in the setting with the most."""
    here = run.copies[run.copies["arm"] == arm] if len(run.copies) else run.copies
    return float(here.groupby("setting")["near_copies"].mean().max()) if len(here) else None


def images(value: float) -> str:
    return f"{cell('images_seen', value)} training images"


def below(row: pd.Series | None) -> bool:
    """Whether the whole interval lies below 0."""
    return row is not None and not missing(row["high"]) and row["high"] < 0


def above(row: pd.Series | None) -> bool:
    """Whether the whole interval lies above 0."""
    return row is not None and not missing(row["low"]) and row["low"] > 0


def label(row: pd.Series) -> str:
    """A band as a tick label."""
    low, high = row["band_low"], row["band_high"]
    if missing(high):
        return f"> {number(low)}"
    return f"< {number(high)}" if low == 0 else f"{number(low)}–{number(high)}"
