"""A contrast of two settings on a page: its sentence, its key figures, its line in a figure of differences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from reports import settings
from reports.formats import (
    SCALES,
    decimals,
    difference,
    evaluations,
    is_missing,
    is_set,
    join,
    metric_name,
    number,
    ordinal,
    percent,
    plural,
    scale_metric,
    values_and_difference,
    verdict_words,
)
from reports.page import Axis, Bar, Figure, FigureSection, KeyFigure, Line, Page
from reports.results import LoadedResult
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

FD = "fd"
Side = tuple[pd.Series, str, str]  # the row of a setting, and title and label of its picture


def compose_page(
    result: LoadedResult, row: pd.Series, verdict: tuple[str, str], before: Side, after: Side,
    more: tuple[Sequence[str], Sequence[str]] = ((), ()), more_pictures: Sequence[Side] = (), **parts: Any,
) -> Page:  # fmt: skip
    """A page on one contrast.

    Args:
        row: the contrast, in the metric that decides.
        verdict: the first words and the sentence; those of a failed A/A test replace them.
        before, after: its settings.
        more: further warnings and caveats.
        more_pictures: further settings to show, in the metric that decides if they have other numbers of samples.
        parts: other fields of the page.
    """
    failed = has_failed(result)
    headline = row if failed else headline_row(result, row)
    lead, sentence = explain_failure(result) if failed else verdict
    shown = [before[0], after[0]]
    warnings, caveats = settings.find_caveats(result, [*shown, *(side[0] for side in more_pictures)])
    warnings += find_unusual_control(result) + find_disagreement(result, row)
    digits = decimals(headline)
    pictures = settings.show_pictures(result, headline["metric"], before, after, digits=digits)
    aside = ""
    equal = all(side[0]["n_samples"] == row["n_samples"] for side in more_pictures)
    if more_pictures:
        metric = headline["metric"] if equal else JUDGE
        pictures += settings.show_pictures(result, metric, *more_pictures, digits=digits)[1:]
    if len(pictures) > 2:
        aside = "The first sixteen of each."
        if len({row["sample_seed"] for row in (*shown, *(side[0] for side in more_pictures))}) == 1:
            aside += " Same place, same initial noise: compare them one by one."
        if result.unit == "point":
            aside = "Pairs of neighbouring coordinates, 500 points: the same axes, and the same initial noise."
    parts["details"] = [*settings.describe_nearest(result, shown), *parts["details"]]
    fields: dict[str, Any] = {
        "source": settings.describe_source(result), "question": result.info["question"], "lead": lead,
        "verdict": sentence, "failed": failed, "metric": explain_metric(result, headline["metric"]),
        "warnings": [*warnings, *more[0]], "caveats": [*caveats, *more[1]],
        "key_figures": key_figures(result, headline), "pictures": pictures, "aside": aside,
    }  # fmt: skip
    return Page(**fields | parts)


def headline_row(result: LoadedResult, row: pd.Series) -> pd.Series:
    """The row of a contrast that the first screen shows, in one metric.

    FD's, if there are enough networks, FD says the same as the metric that decides, and FD is known for as many real
    images. Otherwise it is `row`: the metric that decides does not depend on the number of images.
    """
    fd = _over_networks(result, row, FD)
    floor = result.floor(FD, row["n_samples"])
    if fd is None or floor is None or row["verdict"] not in (BETTER, WORSE):
        return row
    agrees = is_set(fd["clear"]) and fd["difference"] * row["difference"] > 0
    comparable = floor["n_samples"] == row["n_samples"] and row["n_networks"] >= result.rule("enough_networks")
    return fd if agrees and comparable else row


def explain_metric(result: LoadedResult, metric: str) -> str:
    """One line on the metric of the first screen, and on what decides."""
    judge = metric_name(JUDGE, result.features)
    meaning = f"a distance between samples and real {result.unit}s: lower is better."
    if metric == JUDGE:
        return f"{judge} (maximum mean discrepancy) is {meaning} It is the primary metric."
    name = metric_name(metric, result.features)
    return f"{name} (Fréchet distance) is {meaning} {judge}, the primary metric, is more sensitive and agrees."


def format_change(result: LoadedResult, row: pd.Series, verb: str = "") -> str:
    """The values of b and a and their difference: "FD from 7.6 to 5.0 (difference −2.6; −3.2 to −2.0)".

    `verb`: what FD does, such as "falls". Without a verdict nothing goes from here to there: "FD 7.6 and 7.5 (...)".
    """
    before, after, change, interval = values_and_difference(row)
    name = " ".join(filter(None, [metric_name(row["metric"], result.features), verb]))
    values = f"from {before} to {after}" if row["verdict"] in (BETTER, WORSE) else f"{before} and {after}"
    return f"{name} {values} (difference {change}{f'; {interval}' if interval else ''})"


def prediction_interval(row: pd.Series) -> str:
    """The difference that is expected for one more network, as "−12.2 to −4.1"; "" if it is not known."""
    if is_missing(row["new_network_low"]):
        return ""
    return " to ".join(scale_metric(row["metric"], row[f"new_network_{end}"]) for end in ("low", "high"))


def find_disagreement(result: LoadedResult, row: pd.Series) -> list[str]:
    """A warning if FD says something else than the metric that decides."""
    fd = _over_networks(result, row, FD)
    word = BETTER if fd is not None and fd["difference"] < 0 else WORSE
    if fd is None or not is_set(fd["clear"]) or row["verdict"] in (NO_VERDICT, word):
        return []
    change, interval = difference(fd)
    names = [metric_name(name, result.features) for name in (FD, JUDGE)]
    return [f"In {names[0]}, {row['a']} is {word}: {change} ({interval}); {names[1]} is the primary metric."]


def _over_networks(result: LoadedResult, row: pd.Series, metric: str) -> pd.Series | None:
    rows = result.match(row, metric)
    rows = rows[rows["train_seed"] == ""]
    return rows.iloc[0] if len(rows) else None


def find_control(result: LoadedResult) -> pd.Series | None:
    """The A/A test in the metric that decides; of several that with the largest difference for its noise."""
    rows = result.over_networks(kind=CONTROL)
    judged = rows[rows["verdict"] != NO_VERDICT]
    rows = judged if len(judged) else rows
    return rows.loc[rows["p_value"].fillna(1).idxmin()] if len(rows) else None


def has_failed(result: LoadedResult) -> bool:
    """Whether the A/A test shows a difference between a setting and itself that chance hardly makes."""
    control = find_control(result)
    return control is not None and control["verdict"] == CONTROL_FAILED


def find_unusual_control(result: LoadedResult) -> list[str]:
    """A warning if the A/A test differs by what chance makes at times."""
    control = find_control(result)
    if control is None or control["verdict"] != CONTROL_UNUSUAL:
        return []
    change, interval = difference(control)
    equal = "Equal trainings" if control["section"] == RETRAINED else "Equal settings"
    text = f"{equal} differ by {change} ({interval}) in {metric_name(JUDGE, result.features)}, as "
    return [f"{text}{format_rate(control)} does, so part of a gain may be chance."]


def format_rate(control: pd.Series) -> str:
    """How often chance makes an A/A test differ as much as this one, as "1 of 40 A/A tests"."""
    p_value = control["p_value"]
    often = f"1 of {number(1 / p_value, 0)}" if p_value > 0 else "none of many"
    return f"{often} A/A tests"


def explain_failure(result: LoadedResult) -> tuple[str, str]:
    """The verdict if the A/A test failed: what differs from itself, and by how much."""
    control = find_control(result)
    assert control is not None
    repeated = "the same setting with other noise"
    if control["section"] == RETRAINED:
        repeated = "the same training from other seeds"
    change, interval = difference(control)
    size = f"{change} ({interval}) in {metric_name(JUDGE, result.features)}"
    text = f"The A/A test failed: {repeated} differs by {size}; chance does that in {format_rate(control)}."
    return "No verdict.", f"{text} Do not use these numbers."


def key_figures(result: LoadedResult, row: pd.Series) -> list[KeyFigure]:
    """The four numbers of a contrast, in the metric of `row`. Without a verdict: the A/A test.

    An effect next to "no verdict" would be read as one.
    """
    if has_failed(result) or row["verdict"] == NO_VERDICT:
        control = find_control(result)
        if control is None or control["verdict"] == NO_VERDICT:
            return []
        figure = show_effect(result, control, _axis(result, control))
        return [replace(figure, label=f"A/A test, {metric_name(JUDGE, result.features)}", role="")]
    axis = _axis(result, row)
    return [show_effect(result, row, axis), show_values(result, row), _cost(result, row), _evidence(result, row, axis)]


def show_effect(result: LoadedResult, row: pd.Series, axis: Axis) -> KeyFigure:
    """The difference with its interval."""
    _, _, text, interval = values_and_difference(row)
    notes = [f"{percent(row['level'])} interval {interval}" if interval else "no interval", "below 0 is better"]
    bar = Bar.of(axis, _values(row), row["verdict"])
    return KeyFigure(f"Effect on {metric_name(row['metric'], result.features)}", text, notes, [bar], axis.place(0),
                     role="effect")  # fmt: skip


def show_values(result: LoadedResult, row: pd.Series, sides: str = "before → after") -> KeyFigure:
    """The values of b and a, called `sides`, next to that of real images."""
    metric = row["metric"]
    floor = result.floor(metric, row["n_samples"])
    marks = {"before": (row["value_b"], row["b"]), row["verdict"]: (row["value_a"], row["a"])}
    notes = []
    if floor is not None:
        marks = {"real": (floor["mean"], "real"), **marks}
        notes = [f"real {result.unit}s {scale_metric(metric, floor['mean'])}"]
    scale = SCALES.get(metric, 1)
    axis = Axis.over(scale * value for value, _ in marks.values())
    bars = [Bar.dot(axis, scale * value, kind) for kind, (value, _) in marks.items()]
    legend = [(bar.look, words) for bar, (_, words) in zip(bars, marks.values(), strict=True)]
    value = " → ".join(values_and_difference(row)[:2])
    return KeyFigure(f"{metric_name(metric, result.features)}, {sides}", value, notes, bars, axis.place(0), legend)


def _cost(result: LoadedResult, row: pd.Series) -> KeyFigure:
    """The evaluations of b and of a."""
    before, after = row["nfe_b"], row["nfe_a"]
    most = max(before, after)
    lengths = [("before", 100 * before / most), (Bar(row["verdict"], 0, 0, ()).look, 100 * after / most)]
    value = f"{evaluations(before)} → {evaluations(after)}"
    note = "before → after"
    if before == after:
        value = evaluations(after)
        note = "the same before and after"
    return KeyFigure(f"Evaluations per {result.unit}", value, [note], lengths=lengths)


def _evidence(result: LoadedResult, row: pd.Series, axis: Axis) -> KeyFigure:
    """Networks and images, what they can detect, what another network would show, when the comparison was fixed."""
    metric = row["metric"]
    notes = list[str]()
    if not is_missing(row["detectable"]):
        notes.append(f"can detect {scale_metric(metric, row['detectable'])} in {metric_name(metric, result.features)}")
    if ends := prediction_interval(row):
        notes.append(f"expected for {ordinal(row['n_networks'] + 1)} network: {ends}")
    if not is_missing(row["networks_to_settle"]):
        notes.append(f"{plural(row['networks_to_settle'], 'network')} would detect it")
    elif not is_missing(row["n_to_settle"]):
        notes.append(f"{plural(row['n_to_settle'], result.unit)} each would detect it")
    if not is_missing(row["holds_for"]):
        notes.append(f"holds for {name_networks(row)}")
    if result.fixed_beforehand:
        changed = result.info.get("differs_from_preset")
        notes.append("fixed before any result" + (f"; {join(changed)} changed later" if changed else ""))
    differences = SCALES.get(metric, 1) * single_networks(result, row)["difference"]
    bars = [Bar.dot(axis, value, row["verdict"]) for value in differences]
    value = f"{number(row['n_networks'], 0)} × {number(row['n_samples'], 0)}"
    zero = axis.place(0) if bars else None
    legend = [(bar.look, "a network") for bar in bars[:1]]
    return KeyFigure(f"Networks × {result.unit}s", value, notes, bars, zero, legend, role="evidence")


def single_networks(result: LoadedResult, row: pd.Series) -> pd.DataFrame:
    """The rows of single networks of a contrast, if there are several."""
    rows = result.match(row, row["metric"])
    rows = rows[rows["train_seed"] != ""]
    return rows if len(rows) > 1 else rows.iloc[:0]


def name_networks(row: pd.Series) -> str:
    """How many networks a verdict is about: "5 networks" in general, or "these 2 networks"."""
    if is_missing(row["holds_for"]):
        return plural(row["n_networks"], "network")
    return "this network" if row["holds_for"] == 1 else f"these {number(row['holds_for'], 0)} networks"


def _values(row: pd.Series) -> list[float]:
    return [SCALES.get(row["metric"], 1) * float(row[name]) for name in ("difference", "low", "high")]


def _axis(result: LoadedResult, row: pd.Series) -> Axis:
    return Axis.over([*(result.match(row, row["metric"])["difference"] * SCALES.get(row["metric"], 1)), *_values(row)])


def draw_differences(
    title: str, sections: Mapping[str, Sequence[tuple[pd.Series, str, str]]], result: LoadedResult
) -> Figure | None:
    """Differences in one metric, on one axis: (row of contrasts.csv, label, label of its reference).

    What all rows of a section are compared with stands in its heading.
    """
    rows = [row for section in sections.values() for row, _, _ in section]
    if not rows:
        return None
    metric = rows[0]["metric"]
    scale = SCALES.get(metric, 1)
    dots = [scale * value for row in rows for value in single_networks(result, row)["difference"]]
    axis = Axis.over([*dots, *(value for row in rows for value in _values(row))])
    drawn = []
    for heading, section in sections.items():
        references = {against for _, _, against in section}
        sizes = {f"{name_networks(row)} × {number(row['n_samples'], 0)}" for row, _, _ in section}
        evidence = [f"against {against}" for against in references if len(references) == 1]
        evidence += [f"{size} {result.unit}s" for size in sizes if len(sizes) == 1]
        lines = []
        for row, label, against in section:
            label += f" against {against}" if len(references) > 1 else ""
            label += f", {name_networks(row)} × {number(row['n_samples'], 0)}" if len(sizes) > 1 else ""
            text, interval = difference(row)
            bar = Bar.of(axis, _values(row), row["verdict"], scale * single_networks(result, row)["difference"])
            lines.append(Line(label, bar, text, interval, verdict_words(row)))
        if lines:
            drawn.append(FigureSection(heading, "; ".join(evidence), lines))
    family_sizes = sorted({int(row["n_compared"]) for row in rows if row["n_compared"] > 1})
    counts = " or ".join(map(str, family_sizes))
    after = f", after correction for the {counts} comparisons of its family" if counts else ""
    small = " Small dot: one network." if dots else ""
    label = f"Difference in {metric_name(metric, result.features)}"
    level = percent(rows[0]["level"])
    note = (
        f"{label} with the {level} interval of each comparison. Filled dot: better or worse{after}. "
        f"Hollow dot: {NO_DIFFERENCE}, or no verdict.{small}"
    )
    legend = [(BETTER, BETTER), (WORSE, WORSE), ("not", f"{NO_DIFFERENCE}, or no verdict")]
    legend += [("speck", "one network")] if dots else []
    label += f", {level} interval"
    return Figure(title, note, drawn, axis.place(0), ticks=axis.ticks, label=label, legend=legend)
