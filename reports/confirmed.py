"""Sentences on confirmed settings, for the pages of several studies: the price, visible noise, odd networks."""

from collections.abc import Iterator

import pandas as pd

from reports.formats import are_set, difference, evaluations, is_missing, is_set, number, scale_metric, verdict_words
from reports.results import LoadedResult
from reports.schema import ANY_NOISE, BETTER, CONFIRM, MORE, PRIMARY, PRIMARY_METRIC

FAILS = 2  # times the median of the other networks: such a score is a failure
MOST_ODD = 3  # sentences on single networks


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


def find_clean(result: LoadedResult) -> list[str]:
    """Names each setting that explorers barred for its visible noise, and confirmers show to be within the limit."""
    return [
        f"Explorers barred {name} for its visible noise; here it shows {level}, within the limit."
        for name, level, barred, noisy in _list_noise(result) if barred and not noisy
    ]  # fmt: skip


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
    rows = rows[rows["kind"].isin([CONFIRM, ANY_NOISE])]
    sides = [
        (row[side], row[f"nfe_{side}"], row[f"visible_noise_{side}"], row[noisy])
        for _, row in rows.iterrows() for side, noisy in (("a", "more_noise"), ("b", "noisy_b"))
        if not is_missing(row[noisy])
    ]  # fmt: skip
    for label, nfe, level, noisy in dict.fromkeys(sides):
        name = f"{label}, {evaluations(nfe)} evaluations"
        yield name, number(level, 3), (label, nfe) in places, is_set(noisy)


def describe_odd(result: LoadedResult) -> list[str]:
    """The networks that differ more than usual in what was planned or confirmed, and the difference without each."""
    rows = result.over_networks()
    rows = rows[rows["kind"].isin([PRIMARY, CONFIRM, ANY_NOISE, MORE]) & rows["odd_seed"].notna()]
    once = rows.drop_duplicates(["odd_seed", "a", "nfe_a", "b", "nfe_b"])
    return [*_describe_odd(result, once)][:MOST_ODD]


def _describe_odd(result: LoadedResult, rows: pd.DataFrame) -> Iterator[str]:
    for _, row in rows.iterrows():
        single = result.match(row)
        single = single[single["train_seed"] != ""].set_index("train_seed")
        seed = number(row["odd_seed"], 0).replace(",", "")
        if seed not in single.index:
            continue
        own, others = single.loc[seed], single.drop(seed)
        side = max("ab", key=lambda side: abs(own[f"value_{side}"] - others[f"value_{side}"].median()))
        values = others[f"value_{side}"]
        word = "fails" if own[f"value_{side}"] > FAILS * values.median() else "differs more than usual"
        name = f"{row[side]}, {evaluations(row[f'nfe_{side}'])} evaluations"
        score, low, high = (
            scale_metric(PRIMARY_METRIC, value) for value in (own[f"value_{side}"], values.min(), values.max())
        )
        runs = result.table[(result.table["setting"] == row[side]) & (result.table["train_seed"] == seed)]
        level = runs.loc[runs["nfe"].astype(float) == row[f"nfe_{side}"], "visible_noise"].max()
        noise = "" if is_missing(level) else f"; visible noise {number(level, 3)}"
        without = row.copy()
        without[["difference", "low", "high"]] = row[["odd_difference", "odd_low", "odd_high"]]
        change, interval = difference(without)
        text = f"Network {seed} {word} with {name} ({score}; others {low} to {high}{noise})"
        yield f"{text}: without it {change} ({interval})."
