"""Sentences on confirmed settings, for the pages of several studies: the price, visible noise."""

from collections.abc import Iterator

import pandas as pd

from reports.formats import are_set, difference, evaluations, is_missing, is_set, number, scale_metric, verdict_words
from reports.results import LoadedResult
from reports.schema import BETTER, CONFIRM, MORE


def find_dearer(result: LoadedResult, name: str, nfe: float) -> pd.DataFrame:
    """The contrasts of settings with more evaluations against this one, the lowest first."""
    rows = result.over_networks(kind=MORE)
    return rows[rows["b"].eq(name) & rows["nfe_b"].eq(nfe)].sort_values("value_a", kind="stable")


def choose_dearer(rows: pd.DataFrame) -> pd.Series | None:
    """Of these contrasts the lowest that is better than the cheapest setting and within the limit of visible noise."""
    better = rows[rows["verdict"].eq(BETTER) & ~are_set(rows["more_noise"])]
    return better.iloc[0] if len(better) else None


def phrase_price(rows: pd.DataFrame, used: pd.Series | None) -> str:
    """Says what more evaluations than the cheapest change; "" without `rows`, the dearer settings of `find_dearer`.

    "With 16, Y scores 0.3 lower: no difference detected (−2.1 to 1.6)." `used`: the one that is advised, if one is.
    """
    if not len(rows):
        return ""
    row = rows.iloc[0] if used is None else used
    change, interval = difference(row)
    if used is not None:
        cheaper = f"{row['b']} with {evaluations(row['nfe_b'])}"
        return f"It is better than {cheaper}, the cheapest that was confirmed ({change}; {interval})."
    word = "lower" if row["difference"] < 0 else "higher"
    size = scale_metric(row["metric"], abs(row["difference"]))
    noise = ", but leaves more visible noise than the limit" if is_set(row["more_noise"]) else ""
    text = f"With {evaluations(row['nfe_a'])}, {row['a']} scores {size} {word}"
    return f"{text}: {verdict_words(row)} ({interval}){noise}."


def describe_noise(result: LoadedResult, row: pd.Series) -> str:
    """Why a setting that scores lower is not recommended, by the rule of its time."""
    noise, usual = (number(row[f"visible_noise_{side}"], 3) for side in "ab")
    rule = f"not {usual}" if result.limit is None else f"at most {number(result.limit, 2)} is advised"
    return f"{row['a']} scores lower, but leaves visible noise ({noise}, {rule})"


def find_noisy(result: LoadedResult) -> list[str]:
    """Names each setting that explorers had within the limit of visible noise, and confirmers show to be above it."""
    return [
        f"{name} shows more visible noise here ({level}) than the limit: not advised."
        for name, level, barred, noisy in _list_noise(result) if noisy and not barred
    ]  # fmt: skip


def _list_noise(result: LoadedResult) -> Iterator[tuple[str, str, bool, bool]]:
    """Each confirmed setting once: name, visible noise, whether explorers barred it, whether it is above the limit."""
    if result.limit is None:
        return
    barred = result.choices[are_set(result.choices["barred"])]
    places = {*zip(barred["setting"], barred["nfe"], strict=True)}
    rows = result.over_networks()
    rows = rows[rows["kind"].eq(CONFIRM)]
    sides = [
        (row[side], row[f"nfe_{side}"], row[f"visible_noise_{side}"], row[noisy])
        for _, row in rows.iterrows() for side, noisy in (("a", "more_noise"), ("b", "noisy_b"))
        if not is_missing(row[noisy])
    ]  # fmt: skip
    for label, nfe, level, noisy in dict.fromkeys(sides):
        name = f"{label}, {evaluations(nfe)} evaluations"
        yield name, number(level, 3), (label, nfe) in places, is_set(noisy)
