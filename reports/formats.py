"""Numbers as text: rounding, scale, minus signs, intervals, names of metrics. No other module formats a number."""

import math
from collections.abc import Iterable

import pandas as pd

from reports.schema import COLUMNS

SPEECH = {"fd": "Fréchet distance", "kd": "kernel distance", "mmd": "maximum mean discrepancy"}


def missing(value: object) -> bool:
    """Whether a cell has no value: None, an empty text or NaN."""
    return value is None or bool(pd.isna(value)) or value == ""


def number(value: float, digits: int | None = None) -> str:
    """`value` as text with `digits` decimals (None: three significant digits), a true minus sign and no negative zero.

    Numbers of four and more digits are written in full, and those of more than 15 as powers of ten.
    """
    if missing(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 1e15:
        return f"{value:.3g}".replace("e+", "e").replace("-", "−")
    if digits is None and abs(value) >= 999.5:
        digits = 0
    text = f"{value:.3g}" if digits is None else f"{value:,.{digits}f}"
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", "−")


def cell(name: str, value: object, metric: str | None = None) -> str:
    """The value of column `name` as text. A column without its own digits is shown like `metric`, if given."""
    if missing(value):
        return ""
    column = COLUMNS[name]
    if column.kind == "flag":
        return "yes" if value else "no"
    if column.kind == "text":
        return str(value)
    if metric:
        column = COLUMNS[metric] if column.digits is None else column
    return number(float(value) * column.scale, column.digits)  # type: ignore[arg-type]  # value is a number here


def metric_name(metric: str, features: str, long: bool = False) -> str:
    """ "FD", "KD ×1000" or "MMD ×1000"; FID and KID only in Inception's features. `long` adds the feature space."""
    label = COLUMNS[metric].label
    if features == "inception-v3-compat":
        return label.replace("FD", "FID").replace("KD", "KID")
    return f"{label} ({features} features)" if long else label


def short_name(metric: str, features: str) -> str:
    """The metric's name without its scale, for instance "KD" where `metric_name` says "KD ×1000"."""
    return metric_name(metric, features).split()[0]


def as_precise(metric: str, values: Iterable[float], low: float, high: float) -> list[str]:
    """Values of a metric as texts, to two significant digits of the half width of the interval `low` to `high`.

    Without an interval, or with one of no width, they get the metric's own number of decimals.
    """
    column = COLUMNS[metric]
    half_width = 0 if missing(low) or missing(high) else (high - low) / 2 * column.scale
    digits = min(max(1 - math.floor(math.log10(half_width)), 0), 6) if half_width > 0 else column.digits
    return ["" if missing(value) else number(value * column.scale, digits) for value in values]


def interval(metric: str, difference: float, low: float, high: float, note: str = "") -> str:
    """A difference with its interval as text, both to two significant digits of the interval's half width.

    `note` goes before the interval, for instance "95 % interval ". Without an interval only the difference is given.
    """
    if missing(difference):
        return ""
    if missing(low) or missing(high):
        return as_precise(metric, [difference], low, high)[0]
    shown = as_precise(metric, (difference, low, high), low, high)
    return f"{shown[0]} ({note}{shown[1]} to {shown[2]})"


def percent(level: float) -> str:
    """A share as text, for instance "95 %" of 0.95."""
    return f"{number(100 * level)} %"


def duration(seconds: float) -> str:
    """A time as text, for instance "45 s", "12 min" or "3.1 h"."""
    if seconds < 90:
        return f"{number(seconds, 0)} s"
    return f"{number(seconds / 60, 0)} min" if seconds < 5400 else f"{number(seconds / 3600, 1)} h"


def times(ratio: float) -> str:
    """A ratio as text: one decimal below 10, none above."""
    return number(ratio, 1 if ratio < 10 else 0)


def plural(count: float, noun: str) -> str:
    """ "1 network", "2 networks"."""
    return f"{number(count, 0)} {noun}{'' if count == 1 else 's'}"


def listed(items: Iterable[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    *head, tail = [str(item) for item in items]
    return f"{', '.join(head)} {last} {tail}" if head else tail
