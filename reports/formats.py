"""Numbers as text: rounding, scale, minus signs, intervals. No other module of reports formats a number."""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

import pandas as pd

from reports.schema import METRICS, NO_DIFFERENCE, NOT_SIGNIFICANT

NAMES = {"precision": "precision", "recall": "recall"}
NAMES |= {name: metric.shown for name, metric in METRICS.items()}
SCALES = {metric: 1000.0 for metric, name in NAMES.items() if name.endswith(" ×1000")}
MOST_DECIMALS = 6
CARDINALS = "One Two Three Four Five Six Seven Eight Nine Ten".split()


def is_missing(value: object) -> bool:
    """Whether a cell is None, an empty text or NaN."""
    return value is None or bool(pd.isna(value)) or value == ""


def is_set(value: object) -> bool:
    """Whether a flag is set; a missing one is not."""
    return not is_missing(value) and bool(value)


def are_set(flags: pd.Series) -> pd.Series:
    """Returns a column of flags as booleans; a missing one is not set."""
    return flags.fillna(False).astype(bool)


def number(value: float, digits: int = 1, most: int = MOST_DECIMALS) -> str:
    """`value` with that many decimals, up to `most` so that it does not become 0. A true minus sign."""
    if is_missing(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 1e15:
        return f"{value:.3g}".replace("e+", "e").replace("-", "−")
    digits = next((more for more in range(digits, most + 1) if round(value, more)), digits)
    text = f"{value:,.{digits}f}"
    return (text if text.strip("-0.,") else text.lstrip("-")).replace("-", "−")


def evaluations(value: float) -> str:
    """A number of evaluations, which may be a mean."""
    return number(value, 0 if float(value).is_integer() else 1)


def short(value: float) -> str:
    """`value` to three significant digits: a setting's parameter, or a rate."""
    return number(value, 0) if abs(value) >= 999.5 else f"{value:.3g}".replace("-", "−")


def metric_name(metric: str, features: str) -> str:
    """ "FD", "KD ×1000" or "MMD ×1000"; FID and KID only in Inception's features, FD-DINOv2 and KD-DINOv2 in those."""
    name = NAMES[metric]
    if features == "inception-v3-compat":
        return name.replace("FD", "FID").replace("KD", "KID")
    return re.sub("(FD|KD)", r"\1-DINOv2", name) if features.startswith("dinov2") else name


def scale_metric(metric: str, value: float, digits: int = 1) -> str:
    return number(value * SCALES.get(metric, 1), max(digits, 2 if metric in ("precision", "recall") else 1))


def difference(row: pd.Series, sign: int = 1, digits: int = 1) -> tuple[str, str]:
    """A difference and its interval, such as ("−2.6", "−3.2 to −2.0"); sign -1: of b minus a."""
    texts = [scale_metric(row["metric"], sign * row[name], digits) for name in ("difference", "low", "high")]
    return texts[0], "" if is_missing(row["low"]) else " to ".join(texts[1:][::sign])


def lower_on(row: pd.Series) -> str:
    """On how many networks a is lower, as "4 of 5 networks lower"; "" where it was not counted."""
    return "" if is_missing(row["lower"]) else f"{number(row['lower'], 0)} of {number(row['n'], 0)} networks lower"


def decimals(*rows: pd.Series, most: int = MOST_DECIMALS) -> int:
    """The fewest decimals, up to `most`, with which after - before = difference to a reader of all rows.

    They are at most those with which an interval has three digits: of one row these if no fewer agree, of several 1.
    """
    names = ("value_b", "value_a", "difference")
    values = [[row[name] * SCALES.get(row["metric"], 1) for name in names] for row in rows]
    most = min(most, max(map(_decimals_of_interval, rows), default=most))
    agreeing = (digits for digits in range(1, most + 1) if all(_agrees(shown, digits) for shown in values))
    return next(agreeing, most if len(rows) == 1 else 1)


def _decimals_of_interval(row: pd.Series) -> int:
    """With how many decimals half of the interval has three digits; at least 1, and many without an interval."""
    half = abs(row["high"] - row["low"]) / 2 * SCALES.get(row["metric"], 1)
    return max(1, 2 - math.floor(math.log10(half))) if half > 0 else MOST_DECIMALS


def _agrees(values: Sequence[float], digits: int) -> bool:
    """Whether a subtraction of rounded values gives the rounded difference, and none of them looks like 0."""
    before, after, change = shown = [Decimal(f"{value:.{digits}f}") for value in values]
    return after - before == change and (all(shown) or not all(values))


def values_and_difference(row: pd.Series) -> tuple[str, str, str, str]:
    """value_b, value_a, their difference and its interval, with as many decimals as a reader's subtraction needs."""
    digits = decimals(row)
    before, after = (scale_metric(row["metric"], row[name], digits) for name in ("value_b", "value_a"))
    return before, after, *difference(row, digits=digits)


def excludes_0(row: pd.Series) -> bool:
    """Whether the interval of a comparison excludes 0."""
    return bool(row["low"] * row["high"] > 0)


def correction(row: pd.Series) -> str:
    """The remark on a contrast without a detected difference whose interval alone excludes 0; otherwise ""."""
    detected = row["verdict"] not in (NO_DIFFERENCE, NOT_SIGNIFICANT)
    if detected or row["compared"] <= 1 or not excludes_0(row):
        return ""
    return f"{NOT_SIGNIFICANT} for {number(row['compared'], 0)}"


def add_correction(text: str, row: pd.Series) -> str:
    """A clause on a difference, and the correction if its interval needs that word."""
    return ", ".join(filter(None, [text, correction(row)]))


def verdict_words(row: pd.Series) -> str:
    """The verdict on a contrast, in words that agree with the interval beside it."""
    return correction(row) or str(row["verdict"])


def percent(share: float) -> str:
    """ "95 %" of 0.95."""
    return f"{short(100 * share)} %"


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3.1 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plural(count: float, noun: str) -> str:
    """ "1 network", "2 networks"."""
    return f"{number(count, 0)} {noun}{'' if count == 1 else 's'}"


def spell(count: float) -> str:
    """ "One" to "Ten" in words at the beginning of a sentence, larger ones as numbers."""
    return CARDINALS[int(count) - 1] if count <= len(CARDINALS) else number(count, 0)


def sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def capital(text: str) -> str:
    """`text` with a capital first letter, except if it starts with a symbol such as eta."""
    return text if text.startswith(("eta", "beta", "sigma", "eps")) else text[:1].upper() + text[1:]


def join(items: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *head, tail = items
    return f"{', '.join(head)} and {tail}" if head else tail
