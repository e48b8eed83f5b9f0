"""The figures of comparisons: their differences as lines on one axis, and scores against network evaluations."""

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from reports import settings
from reports.formats import (
    SCALES,
    are_set,
    capital,
    difference,
    evaluations,
    join,
    number,
    percent,
    verdict_words,
)
from reports.page import Axis, Bar, Curve, Curves, Figure, FigureSection, Line
from reports.results import LoadedResult
from reports.schema import (
    BETTER,
    CHALLENGER,
    CONFIRM,
    IN_USE,
    NO_DIFFERENCE,
    PRIMARY_METRIC,
    RIVAL,
    WORSE,
)
from reports.words import name_networks

SCALE = SCALES[PRIMARY_METRIC]


def choose_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that a page shows, by question: the advised and the lowest of each."""
    groups = [
        group.sort_values(["within", "advised", "value_a"], ascending=[True, False, True], kind="stable")
        for _, group in rows.groupby("question", sort=False)
    ]
    sizes, _ = settings.allot_rows([len(group) for group in groups])
    return pd.concat([group.head(size) for group, size in zip(groups, sizes, strict=True)])


def draw_forest(result: LoadedResult, rows: pd.DataFrame, title: str = "Every difference") -> Figure:
    """The differences of some comparisons in the primary metric, by question."""
    dots = [SCALE * float(text) for texts in rows["each"] for text in texts.split()]
    axis = Axis.over([*dots, *(SCALE * rows[["difference", "low", "high"]]).stack()])
    by_question = rows.groupby("question", sort=False)
    if 1 < len(rows) == len(by_question) and rows["a"].nunique() == 1:  # one change of many settings
        rows = rows.assign(name_a=rows["question"])
        drawn = [_draw_section(capital(title), rows, axis, result)]
    else:
        drawn = [_draw_section(capital(question), group, axis, result) for question, group in by_question]
    counts = " or ".join(f"{size:.0f}" for size in sorted(rows["compared"].unique()) if size > 1)
    after = f", after correction for the {counts} comparisons of its family" if counts else ""
    label = f"Difference in {result.metric_name()}"
    confidence = percent(result.confidence)
    note = (
        f"{label} with the {confidence} interval of each comparison. Filled dot: better or worse{after}. "
        f"Hollow dot: {NO_DIFFERENCE}, or no verdict.{' Small dot: one network.' if dots else ''}"
    )
    legend = [(BETTER, BETTER), (WORSE, WORSE), ("not", f"{NO_DIFFERENCE}, or no verdict")]
    legend += [("speck", "one network")] if dots else []
    label += f", {confidence} interval"
    return Figure(title, note, drawn, axis.place(0), ticks=axis.ticks, label=label, legend=legend)


def _draw_section(heading: str, rows: pd.DataFrame, axis: Axis, result: LoadedResult) -> FigureSection:
    """The lines of one question, without what all of them share, which its heading says."""
    evidence = [f"against {rows['b'].iloc[0]}"] if rows["b"].nunique() == 1 else []
    evidence += [name_networks(result, rows.iloc[0])]
    several = rows["within"].nunique() > 1
    lines = []
    for _, pair in rows.groupby(["a", "nfe_a", "b", "nfe_b"], sort=False, dropna=False):
        row = pair.iloc[0]
        label = f"within {join(number(within, 0) for within in pair['within'])}: " if several else ""
        label += row["name_a"] + (f" against {row['name_b']}" if rows["b"].nunique() > 1 else "")
        text, interval = difference(row)
        values = [SCALE * row[name] for name in ("difference", "low", "high")]
        bar = Bar.of(axis, values, row["verdict"], [SCALE * float(each) for each in row["each"].split()])
        visible = result.beside(row, "visible_noise")
        noise = ""
        if visible is not None:
            levels = (number(visible[name], 3, 3) for name in ("value_a", "value_b"))
            noise = f"; visible noise {', against '.join(levels)}"
        lines.append(Line(label, bar, text, interval, verdict_words(row), noise=noise))
    return FigureSection(heading, "; ".join(evidence), lines)


def draw_curves(result: LoadedResult, rows: pd.DataFrame, every: pd.DataFrame) -> Curves | None:
    """Both sides of one question against the evaluations that it allows; None of other results."""
    rows = rows[rows["family"].eq(CONFIRM) & rows["b_is"].isin([IN_USE, RIVAL])]
    rows = (
        rows.assign(kept=rows["use"] != rows["a"]).sort_values(["within", "kept", "value_a"]).drop_duplicates("within")
    )
    if rows["question"].nunique() != 1 or len(rows) < 2:
        return None
    seen = result.runs["images_seen"].fillna(0).max()
    choices = result.choices[result.choices["images_seen"].fillna(0) == seen]
    explored = choices.drop_duplicates(["setting", "nfe"]).set_index(["setting", "nfe"])[PRIMARY_METRIC]
    steps = rows["b_is"].eq(RIVAL).all()  # the best with so many evaluations or fewer
    places = {within: 100 * (at + 0.5) / len(rows) for at, within in enumerate(rows["within"])}
    before = [explored.get((row[side], row[f"nfe_{side}"])) for _, row in rows.iterrows() for side in "ba"]
    axis = Axis.over(SCALE * value for value in [*rows["value_a"], *rows["value_b"], *pd.Series(before).dropna()])
    curves = []
    for look, side in (("before", "b"), (BETTER, "a")):
        aside = {"b": -1, "a": 1}[side] if steps else 0  # so that equal scores are both seen
        sides = [settings.find_setting(every, row, side) for _, row in rows.iterrows()]
        points = [
            (round(places[row["within"]] + aside, 2), axis.place(SCALE * row[f"value_{side}"]))
            for _, row in rows.iterrows()
        ]
        chosen = [explored.get((row["setting"], row["nfe"])) for row in sides]
        dotted = [
            (x, axis.place(SCALE * value)) for (x, _), value in zip(points, chosen, strict=True) if value is not None
        ]
        lines = [_add_steps(line) if steps else line for line in (points, dotted)]
        titles = [
            f"{settings.name_with_evaluations(row)}: {settings.format_scores(result, row)}; visible noise "
            f"{settings.format_noise(row)}" for row in sides
        ]  # fmt: skip
        name = _name_side(choices, rows, side)
        end = settings.format_scores(result, sides[-1])
        curves.append(Curve(look, name, end, lines[0], points, titles, lines[1] if len(dotted) == len(points) else ()))
    columns = [
        (evaluations(row["within"]), row["verdict"], [row["verdict"], *difference(row)]) for _, row in rows.iterrows()
    ]
    note = f"{result.metric_name()}, lower is better, on {name_networks(result, rows.iloc[0])}. Below: {curves[1].name}"
    note += f" minus {curves[0].name}, with its {percent(result.confidence)} interval."
    if all(curve.explored for curve in curves):
        note += " Dotted: the same settings on the networks that chose them."
    return Curves("Quality within each number of evaluations", note, curves, axis.ticks, columns)


def _name_side(choices: pd.DataFrame, rows: pd.DataFrame, side: str) -> str:
    """The name of a curve: that of its only setting, or as what its settings were chosen."""
    kinds = choices[choices["setting"].isin(rows[side]) & are_set(choices["chosen"])]["kind"]
    if kinds.empty or (rows[side].nunique() == 1 and rows["b_is"].ne(RIVAL).all()):
        return str(rows[side].iloc[0])
    return str(kinds.mode()[0]).replace(CHALLENGER, "chosen")


def _add_steps(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The line with each height kept up to the next point."""
    return [corner for (x, y), (end, _) in pairwise([*line, (100.0, 0.0)]) for corner in ((x, y), (end, y))]
