"""The page of `score`: are sets of images closer to real ones than the first set?"""

from dataclasses import replace
from typing import Any

import pandas as pd

from reports import contrast, settings
from reports.conditions import conditions
from reports.formats import SCALES, correction, difference, metric_name, number, scaled
from reports.page import Axis, Bar, Column, Figure, Page, Row, Slot, Table
from reports.results import Result
from reports.schema import BETTER, JUDGE, NO_DIFFERENCE, NO_VERDICT, WORSE

TERMS = ("MMD ×1000", "FD", "Grain")
PAIRS = {"names": "paired by name", "order": "paired by place", "none": "not paired"}


def page(result: Result) -> Page:
    rows, contrasts = settings.rows(result), result.over_networks()
    n, n_real = (number(result.table[name].iloc[0], 0) for name in ("n_samples", "n_reference"))
    source = settings.source(result, f"{result.table['data'].iloc[0]}, {n_real} images", f"{result.features} features")
    warnings = [f"{text}." for text in _facts(result).get("warnings", [])]  # which begin with names of sets
    base = Page(
        source, result.info["question"], "", "", caveat=" ".join(warnings), noun="set",
        tables=[*tables(result, rows, contrasts, n), *spaces(result)],
        note="Kernel distance, precision and recall are in table.csv, their intervals in scores.csv.",
    )  # fmt: skip
    if contrasts.empty:
        return _one(result, base, rows.iloc[0])
    row = headline(contrasts)
    said = contrast.spoken(result, row)
    lead, verdict = answer(result, row, said, contrasts)
    before, after = (rows[rows["setting"] == row[side]].iloc[0] for side in "ba")
    texts = [*warnings, *contrast.disagreement(result, row), *_elsewhere(result, contrasts)]
    return replace(
        base, lead=lead, verdict=verdict, caveat=" ".join(texts), slots=slots(result, row, said, len(rows)),
        pictures=settings.pictures(
            result, said["metric"], (before, "First set", before["setting"]), (after, "Compared", after["setting"])
        ),
        aside="Images of one name are at the same place." if _facts(result).get("pairs") == "names" else "",
        figures=[figure(result, contrasts, n)], conditions=conditions(result, row, *TERMS),
    )  # fmt: skip


def headline(contrasts: pd.DataFrame) -> pd.Series:
    """The contrast of the verdict: of the better set with the lowest score; without one, the clearest difference."""
    better = contrasts[contrasts["verdict"] == BETTER]
    if len(better):
        return better.loc[better["value_a"].idxmin()]
    if len(worse := contrasts[contrasts["verdict"] == WORSE]):
        contrasts = worse
    return contrasts.loc[(contrasts["difference"] / contrasts["se"]).abs().fillna(0).idxmax()]


def answer(result: Result, row: pd.Series, said: pd.Series, contrasts: pd.DataFrame) -> tuple[str, str]:
    """The first words, and what the set does; then the others by their verdicts."""
    words = {BETTER: ("Yes.", f"{row['a']} lowers "), WORSE: ("No.", f"{row['a']} raises ")}
    copies = next((one for _, one in result.over_networks("copies").iterrows() if one["a"] == row["a"]), None)
    if copies is not None and copies["verdict"] == WORSE and row["verdict"] != BETTER:
        ends = " to ".join(number(100 * copies[end]) for end in ("low", "high"))
        more = f"{row['a']} repeats images: {number(100 * copies['difference'])} % more copies ({ends}). "
        words[WORSE] = ("No.", f"{more}{row['b']} and {row['a']}: ")
        words[NO_VERDICT] = ("No verdict.", more)
    lead, what = words.get(row["verdict"], ("No difference detected.", f"{row['b']} and {row['a']}: "))
    text = f"{what}{contrast.size(result, said)}{correction(row)}."
    rest = contrasts[contrasts["a"] != row["a"]]
    clear = rest["clear"].fillna(False).astype(bool)
    others = {
        "closer too": rest["verdict"] == BETTER,
        "farther": (rest["verdict"] == WORSE) & clear,
        "more copies": (rest["verdict"] == WORSE) & ~clear,
        "closer, with more copies": rest["verdict"] == NO_VERDICT,
        NO_DIFFERENCE: rest["verdict"] == NO_DIFFERENCE,
    }
    for what, which in others.items():
        if names := list(rest.loc[which, "a"]):
            text += f" {settings.names(names)}: {what}."
    return lead, text


def slots(result: Result, row: pd.Series, said: pd.Series, sets: int) -> list[Slot]:
    axis = Axis.over([SCALES[JUDGE] * row[name] for name in ("difference", "low", "high")])
    facts = _facts(result)
    notes = [
        f"can detect {scaled(JUDGE, row['detectable'])} in {metric_name(JUDGE, result.features)}",
        PAIRS.get(facts.get("pairs", ""), ""),
    ]
    evidence = Slot(
        "Sets × images", f"{sets} × {number(row['n_samples'], 0)}", [note for note in notes if note], role="evidence"
    )
    change = contrast.before_after(result, said, f"{row['b']} → {row['a']}")
    return [contrast.effect(result, row, axis), change, evidence]


def figure(result: Result, contrasts: pd.DataFrame, n: str) -> Figure:
    first = contrasts["b"].iloc[0]
    rows = [(row, row["a"], first) for _, row in contrasts.sort_values("value_a").head(settings.ROWS).iterrows()]
    made = contrast.figure(f"How the sets differ from {first}", {f"Sets of {n} images": rows}, result)
    assert made is not None
    family = replace(made.families[0], evidence=PAIRS.get(_facts(result).get("pairs", ""), ""))
    return replace(made, families=[family])


def tables(result: Result, rows: pd.DataFrame, contrasts: pd.DataFrame, n: str) -> list[Table]:
    """All sets, best first."""

    def made(row: pd.Series) -> Row:
        found = contrasts[contrasts["a"] == row["setting"]]
        if found.empty:
            return settings.table_row(row, "", "" if contrasts.empty else "baseline")
        return settings.table_row(row, *settings.compared(found.iloc[0]))

    against = "" if contrasts.empty else f", against {contrasts['b'].iloc[0]}"
    return [settings.table(f"{n} images per set{against}", result, rows.nsmallest(settings.ROWS, JUDGE), made)]


def spaces(result: Result) -> list[Table]:
    """The deciding distance in each feature space, if there are several: one network alone may misrank."""
    judged = result.scores[result.scores["metric"] == JUDGE]
    names = list(dict.fromkeys(judged["features"]))
    if len(names) < 2:
        return []
    values = judged.pivot(index="setting", columns="features", values="value")[names]
    ranks, verdicts = values.rank(), result.spaces.groupby("a")["verdict"].nunique()
    agree = "the same verdicts" if (verdicts == 1).all() else "the verdicts differ"
    rows = [
        Row(str(name), [f"{scaled(JUDGE, values.loc[name, one])} (rank {ranks.loc[name, one]:.0f})" for one in names])
        for name in ranks.mean(axis=1).sort_values(kind="stable").index
    ]
    title = f"{metric_name(JUDGE, '')} by feature space: {agree}"
    return [Table(title, [Column(name, "wide", f"{name} ") for name in names], rows)]


def _elsewhere(result: Result, contrasts: pd.DataFrame) -> list[str]:
    """What other feature spaces say, where it is another verdict than that of the first one."""
    known, texts = dict(zip(contrasts["a"], contrasts["verdict"], strict=True)), []
    rows = result.spaces[result.spaces["features"] != result.features]
    for _, row in rows[rows["verdict"].isin([BETTER, WORSE])].iterrows():
        if row["verdict"] != known[row["a"]]:
            change, interval = difference(row)
            texts.append(f"In {row['features']} features {row['a']} is {row['verdict']}: {change} ({interval}).")
    return texts


def _one(result: Result, base: Page, row: pd.Series) -> Page:
    """The page on a single set: its distances next to those of real images."""
    known = result.scores[result.scores["features"] == result.features].set_index("metric")
    made = []
    for metric in (JUDGE, "fd"):
        value, low, high = (known.loc[metric, name] for name in ("value", "low", "high"))
        floor, scale = result.floor(metric, row["n_samples"]), SCALES.get(metric, 1)
        marks = [value, low, high, *([floor["mean"]] if floor is not None else [])]
        axis = Axis.over(scale * mark for mark in marks)
        bars, legend = [Bar.of(axis, [scale * mark for mark in (value, low, high)], "")], list[tuple[str, str]]()
        if floor is not None:
            bars.append(Bar.dot(axis, scale * floor["mean"], "real"))
            legend.append(("real", f"{number(floor['n_samples'], 0)} real images: {scaled(metric, floor['mean'])}"))
        interval = f"95 % interval {scaled(metric, low)} to {scaled(metric, high)}"
        name = metric_name(metric, result.features)
        made.append(Slot(name, scaled(metric, value), [interval], bars, axis.place(0), legend))
    made.append(Slot("Images", number(row["n_samples"], 0), ["nothing is compared"]))
    judge, notes = made[0], ", ".join(made[0].notes)
    real = "".join(f"; {words}" for _, words in judge.legend)
    return replace(
        base, verdict=f"{row['setting']} has {judge.label} {judge.value} ({notes}){real}.", slots=made,
        pictures=settings.pictures(result, JUDGE, (row, "Set", row["setting"])),
        conditions=conditions(result, None, *TERMS),
    )  # fmt: skip


def _facts(result: Result) -> dict[str, Any]:
    """What run.json says besides the tables."""
    facts: dict[str, Any] = result.info.get("score", {})
    return facts
