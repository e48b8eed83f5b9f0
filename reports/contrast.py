"""A contrast of two settings on a page: its sentence, its four slots, its line in a figure of differences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from reports.formats import SCALES, correction, difference, metric_name, missing, number, percent, plural, scaled, true
from reports.page import Axis, Bar, Family, Figure, Line, Slot
from reports.results import Result
from reports.schema import (
    BETTER,
    CONTROL,
    CONTROL_FAILED,
    CONTROL_UNUSUAL,
    JUDGE,
    NO_DIFFERENCE,
    NO_VERDICT,
    RETRAINED,
    WORSE,
)


def spoken(result: Result, row: pd.Series) -> pd.Series:
    """The row of a contrast that its sentence shows.

    It is FD's where FD says the same as the metric that decides, and is known for as many real images; else the
    latter's, which does not depend on their number.
    """
    fd, floor = _pooled(result, row, "fd"), result.floor("fd", row["n_samples"])
    same = fd is not None and true(fd["clear"]) and fd["difference"] * row["difference"] > 0
    comparable = floor is not None and floor["n_samples"] == row["n_samples"]
    return fd if fd is not None and same and comparable and row["verdict"] in (BETTER, WORSE) else row


def size(result: Result, row: pd.Series, verb: str = "") -> str:
    """The values of b and a and their difference: "FD from 7.6 to 5.0 (difference −2.6; −3.2 to −2.0)".

    `verb`: what FD does, such as "falls". Without a verdict nothing goes from here to there: "FD 7.6 and 7.5 (...)".
    """
    change, interval = difference(row)
    before, after = (scaled(row["metric"], row[f"value_{side}"]) for side in "ba")
    name = " ".join(filter(None, [metric_name(row["metric"], result.features), verb]))
    values = f"from {before} to {after}" if row["verdict"] in (BETTER, WORSE) else f"{before} and {after}"
    return f"{name} {values} (difference {change}{f'; {interval}' if interval else ''})"


def one_more(row: pd.Series) -> str:
    """What one more network would show, as "−12.2 to −4.1"; "" if it is not known."""
    if missing(row["new_network_low"]):
        return ""
    return " to ".join(scaled(JUDGE, row[f"new_network_{end}"]) for end in ("low", "high"))


def disagreement(result: Result, row: pd.Series) -> list[str]:
    """A caveat if FD says something else than the metric that decides."""
    fd = _pooled(result, row, "fd")
    if fd is None or not true(fd["clear"]) or row["verdict"] == NO_VERDICT:
        return []
    word = BETTER if fd["difference"] < 0 else WORSE
    if row["verdict"] == word:
        return []
    change, interval = difference(fd)
    names = [metric_name(name, result.features) for name in ("fd", JUDGE)]
    return [f"{names[0]} says {word}: {change} ({interval}); {names[1]} decides."]


def _pooled(result: Result, row: pd.Series, metric: str) -> pd.Series | None:
    rows = result.like(row, metric)
    rows = rows[rows["train_seed"] == ""]
    return rows.iloc[0] if len(rows) else None


def control(result: Result) -> pd.Series | None:
    """The A/A control in the metric that decides; of several that with the largest difference for its noise."""
    rows = result.over_networks()
    rows = rows[rows["kind"] == CONTROL]
    judged = rows[rows["verdict"] != NO_VERDICT]
    rows = judged if len(judged) else rows
    return rows.loc[rows["p_value"].fillna(1).idxmin()] if len(rows) else None


def failed(result: Result) -> bool:
    """Whether the A/A control shows a difference between a setting and itself that chance hardly makes."""
    again = control(result)
    return again is not None and again["verdict"] == CONTROL_FAILED


def unusual(result: Result) -> list[str]:
    """A caveat if the control differs by what chance makes at times."""
    again = control(result)
    if again is None or again["verdict"] != CONTROL_UNUSUAL:
        return []
    change, interval = difference(again)
    text = f"The control differs by {change} ({interval}): a difference this large occurs in {rate(again)} controls"
    return [text + "." + " The baseline's networks may be unlucky ones." * (again["section"] == RETRAINED)]


def rate(again: pd.Series) -> str:
    """How often chance makes a control differ as much as this one, as "1 of 40"."""
    return f"1 of {number(1 / again['p_value'], 0)}" if again["p_value"] > 0 else "none of many"


def failure(result: Result) -> tuple[str, str]:
    """The verdict if the control failed: what differs from itself, and by how much."""
    again = control(result)
    assert again is not None
    what = (
        "the same training from other seeds" if again["section"] == RETRAINED else "the same setting with other noise"
    )
    change, interval = difference(again)
    name = metric_name(JUDGE, result.features)
    text = f"The control failed: {what} differs by {change} ({interval}) in {name}; chance does that in {rate(again)} "
    return "No verdict.", text + "controls. Do not use these numbers."


# --- slots ---


def effect(result: Result, row: pd.Series, axis: Axis) -> Slot:
    """The difference in the metric that decides, with its interval."""
    text, interval = difference(row)
    notes = [f"{percent(row['level'])} interval {interval}" if interval else "no interval", "below 0 is better"]
    bar = Bar.of(axis, _values(row), row["verdict"])
    return Slot(f"Effect on {metric_name(JUDGE, result.features)}", text, notes, [bar], axis.place(0), role="effect")


def before_after(result: Result, row: pd.Series, sides: str = "before → after") -> Slot:
    """The values of b and a, called `sides`, next to that of real images, in the metric of a row of contrasts.csv."""
    metric, floor = row["metric"], result.floor(row["metric"], row["n_samples"])
    scale = SCALES.get(metric, 1)
    marks = {"before": (row["value_b"], row["b"]), row["verdict"]: (row["value_a"], row["a"])}
    if floor is not None:
        marks = {"real": (floor["mean"], f"real {scaled(metric, floor['mean'])}"), **marks}
    axis = Axis.over(scale * value for value, _ in marks.values())
    bars = [Bar.dot(axis, scale * value, kind) for kind, (value, _) in marks.items()]
    legend = [(bar.look, words) for bar, (_, words) in zip(bars, marks.values(), strict=True)]
    value = " → ".join(scaled(metric, row[f"value_{side}"]) for side in "ba")
    name = metric_name(metric, result.features)
    return Slot(f"{name}, {sides}", value, (), bars, axis.place(0), legend)


def cost(row: pd.Series) -> Slot:
    """The evaluations of b and of a."""
    before, after = row["nfe_b"], row["nfe_a"]
    most = max(before, after)
    lengths = [("before", 100 * before / most), (Bar(row["verdict"], 0, 0, ()).look, 100 * after / most)]
    texts = [number(value, 0 if float(value).is_integer() else 1) for value in (before, after)]
    value, note = (texts[1], "the same before and after") if before == after else (" → ".join(texts), "before → after")
    return Slot("Evaluations per image", value, [note], lengths=lengths)


def evidence(result: Result, row: pd.Series, axis: Axis) -> Slot:
    """Networks and images, what they could have detected, and what one more network would show."""
    count, images = number(row["n_networks"], 0), number(row["n_samples"], 0)
    each = alone(result, row)
    notes = ["each dot is a network"] if len(each) > 1 else []
    if not missing(row["detectable"]):
        notes.append(f"can detect {scaled(JUDGE, row['detectable'])} in {metric_name(JUDGE, result.features)}")
    if ends := one_more(row):
        notes.append(f"one more network: {ends}")
    if not missing(row["networks_to_settle"]):
        notes.append(f"{plural(row['networks_to_settle'], 'network')} would detect it")
    elif not missing(row["n_to_settle"]):
        notes.append(f"{number(row['n_to_settle'], 0)} images each would detect it")
    if not missing(row["holds_for"]):
        notes.append(f"holds for {networks(row)}")
    bars = [Bar.dot(axis, SCALES[JUDGE] * value, row["verdict"]) for value in each["difference"]]
    zero = axis.place(0) if bars else None
    return Slot("Networks × images", f"{count} × {images}", notes, bars, zero, role="evidence")


def slots(result: Result, row: pd.Series, said: pd.Series) -> list[Slot]:
    """The four numbers of a contrast; `said` is its row in the metric of the sentence. Without a verdict: the control.

    An effect next to "no verdict" would be read as one.
    """
    if failed(result) or row["verdict"] == NO_VERDICT:
        again = control(result)
        if again is None or again["verdict"] == NO_VERDICT:
            return []
        axis = Axis.over([*(result.like(again)["difference"] * SCALES[JUDGE]), *_values(again)])
        shown = effect(result, again, axis)
        return [replace(shown, label=f"A/A control, {metric_name(JUDGE, result.features)}", role="")]
    axis = Axis.over([*(result.like(row)["difference"] * SCALES[JUDGE]), *_values(row)])
    return [effect(result, row, axis), before_after(result, said), cost(row), evidence(result, row, axis)]


def alone(result: Result, row: pd.Series) -> pd.DataFrame:
    """The rows of single networks of a contrast, if there are several."""
    rows = result.like(row)
    rows = rows[rows["train_seed"] != ""]
    return rows if len(rows) > 1 else rows.iloc[:0]


def networks(row: pd.Series) -> str:
    """How many networks a verdict is about: "5 networks" in general, or "these 2 networks"."""
    if missing(row["holds_for"]):
        return plural(row["n_networks"], "network")
    return "this network" if row["holds_for"] == 1 else f"these {number(row['holds_for'], 0)} networks"


def _values(row: pd.Series) -> list[float]:
    return [SCALES.get(row["metric"], 1) * float(row[name]) for name in ("difference", "low", "high")]


# --- the figure ---


def figure(title: str, families: Mapping[str, Sequence[tuple[pd.Series, str, str]]], result: Result) -> Figure | None:
    """Differences in the metric that decides, on one axis: (row of contrasts.csv, label, label of its reference).

    What all rows of a family are compared with stands in its heading.
    """
    rows = [row for family in families.values() for row, _, _ in family]
    if not rows:
        return None
    dots = [SCALES[JUDGE] * value for row in rows for value in alone(result, row)["difference"]]
    axis, out = Axis.over([*dots, *(value for row in rows for value in _values(row))]), []
    for heading, family in families.items():
        references = {against for _, _, against in family}
        which = {networks(row) for row, _, _ in family}
        images = {number(row["n_samples"], 0) for row, _, _ in family}
        one = len(which) == len(images) == 1
        evidence = [f"against {next(iter(references))}"] if len(references) == 1 else []
        evidence += [f"{next(iter(which))} × {next(iter(images))} images"] if one else []
        lines = []
        for row, label, against in family:
            label += f" against {against}" if len(references) > 1 else ""
            label += "" if one else f", {networks(row)} × {number(row['n_samples'], 0)}"
            text, interval = difference(row)
            bar = Bar.of(axis, _values(row), row["verdict"], SCALES[JUDGE] * alone(result, row)["difference"])
            lines.append(Line(label, bar, text, interval, row["verdict"] + correction(row)))
        if lines:
            out.append(Family(heading, "; ".join(evidence), lines))
    count = max(row["n_compared"] for row in rows)
    after = f", after correction for all {number(count, 0)} comparisons of this study" if count > 1 else ""
    small = " Small dot: one network." if dots else ""
    note = (
        f"Difference in {metric_name(JUDGE, result.features)} with the {percent(rows[0]['level'])} interval of each "
        f"comparison. Filled dot: better or worse{after}. Hollow dot: {NO_DIFFERENCE}, or no verdict.{small}"
    )
    return Figure(title, note, out, axis, axis.place(0), ticks=axis.ticks)
