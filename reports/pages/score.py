"""The pages of `score`, on sets of images next to the first set, and of `run`, on one setting."""

from dataclasses import replace
from typing import Any

import pandas as pd

from reports import settings, words
from reports.details import list_details
from reports.forest import draw_forest
from reports.formats import (
    SCALES,
    add_correction,
    decimals,
    number,
    percent,
    plural,
    scale_metric,
    sentence,
)
from reports.page import Axis, Bar, Figure, KeyFigure, Page, Row, Table
from reports.pages import answers
from reports.results import LoadedResult
from reports.schema import BETTER, NO_DIFFERENCE, NO_VERDICT, NOT_SIGNIFICANT, PRIMARY_METRIC, WORSE, say_near

TERMS = ("MMD ×1000", "FD", "Visible noise")
FEW_DECIMALS = 3  # of a table of many sets, in which no number of decimals may suit all rows
PAIRS = {"names": "paired by name", "order": "paired by place", "none": "not paired"}


def page(result: LoadedResult) -> Page:
    if result.info["experiment"] == "run":
        return _run_page(result) if result.contrasts.empty else answers.page(result)
    facts: dict[str, Any] = result.info.get("score", {})
    rows = settings.summarise_settings(result)
    contrasts = result.judged
    n, n_real = (number(result.table[name].iloc[0], 0) for name in ("n_samples", "n_reference"))
    data = f"{result.table['data'].iloc[0]}, {n_real} images"
    warnings = [sentence(text) for text in facts.get("warnings", [])]  # which begin with names of sets
    parts: dict[str, Any] = {
        "source": settings.describe_source(result, data, f"{result.features} features"), "noun": "set",
        "tables": [make_table(result, rows, contrasts, n)],
        "note": "Kernel distance, precision and recall are in table.csv, their intervals in scores.csv.",
    }  # fmt: skip
    if contrasts.empty:
        return _single_page(result, rows.iloc[0], parts | {"warnings": warnings})
    row = choose_contrast(contrasts)
    pairs = PAIRS.get(facts.get("pairs", ""), "")
    before, after = (rows[rows["setting"] == row[side]].iloc[0] for side in "ba")
    far, caveats = settings.find_caveats(result, [before, after])
    sides = [(before, "First set", before["setting"]), (after, "Compared", after["setting"])]
    lead, verdict = phrase_verdict(result, row, contrasts)
    return Page(
        question=result.info["question"], lead=lead, verdict=verdict,
        warnings=[*warnings, *far, *words.find_disagreement(result, row)], caveats=caveats,
        facts=list_facts(result, row, before["n_samples"], len(rows), pairs),
        pictures=settings.show_pictures(result, *sides),
        aside="Images of one name are at the same place." if facts.get("pairs") == "names" else "",
        figures=[draw_figure(result, contrasts, f"Sets of {n} images", pairs)], details=list_details(result, *TERMS),
        **parts,
    )  # fmt: skip


def choose_contrast(contrasts: pd.DataFrame) -> pd.Series:
    """The contrast of the verdict: of the better set with the lowest score; without one, the clearest difference."""
    better = contrasts[contrasts["verdict"] == BETTER]
    if len(better):
        return better.loc[better["value_a"].idxmin()]
    if len(worse := contrasts[contrasts["verdict"] == WORSE]):
        contrasts = worse
    return contrasts.sort_values("p", kind="stable").iloc[0]


def phrase_verdict(result: LoadedResult, row: pd.Series, contrasts: pd.DataFrame) -> tuple[str, str]:
    """The first words, and what the set does; then the others by their verdicts."""
    leads = {BETTER: ("Yes.", f"{row['a']} lowers "), WORSE: ("No.", f"{row['a']} raises ")}
    copies = result.contrasts[result.contrasts["metric"].eq("copies") & result.contrasts["a"].eq(row["a"])]
    if copies["verdict"].eq(WORSE).any() and row["verdict"] != BETTER:
        share, *ends = (number(100 * copies[end].iloc[0]) for end in ("difference", "low", "high"))
        more = f"{row['a']} repeats images: {share} % more copies ({' to '.join(ends)}). "
        leads[WORSE] = ("No.", f"{more}{row['b']} and {row['a']}: ")
        leads[NO_VERDICT] = ("No verdict.", more)
    lead, subject = leads.get(row["verdict"], ("No difference detected.", f"{row['b']} and {row['a']}: "))
    change = words.format_change(result, row)
    text = f"{add_correction(subject + change, row)}."
    rest = contrasts[contrasts["a"] != row["a"]]
    clear = rest["low"] * rest["high"] > 0
    others = {
        "closer too": rest["verdict"] == BETTER,
        "farther": (rest["verdict"] == WORSE) & clear,
        "more copies": (rest["verdict"] == WORSE) & ~clear,
        "closer, with more copies": rest["verdict"] == NO_VERDICT,
        NO_DIFFERENCE: rest["verdict"] == NO_DIFFERENCE,
        NOT_SIGNIFICANT: rest["verdict"] == NOT_SIGNIFICANT,
    }
    for words_of_others, chosen in others.items():
        if names := list(rest.loc[chosen, "a"]):
            text += f" {settings.list_names(names)}: {words_of_others}."
    return lead, text


def list_facts(result: LoadedResult, row: pd.Series, n: float, sets: int, pairs: str) -> list[tuple[str, str]]:
    """The score of real images, the sizes, and what can be detected."""
    power = f"can detect {scale_metric(row['metric'], row['detectable'])}"
    return [
        ("Real images", settings.score_real(result, n) or "not scored"),
        ("Sets × images", ", ".join(filter(None, [f"{sets} × {number(n, 0)}", pairs]))),
        ("Sure?", f"{percent(result.confidence)} interval: where the difference of many such images lies; {power}"),
    ]


def draw_figure(result: LoadedResult, contrasts: pd.DataFrame, title: str, pairs: str) -> Figure:
    """The difference of every set from the first one."""
    best = contrasts.sort_values("value_a").head(settings.ROWS).assign(question=title)
    figure = draw_forest(result, best, f"How the sets differ from {contrasts['b'].iloc[0]}")
    return replace(figure, sections=[replace(figure.sections[0], evidence=pairs)])


def make_table(result: LoadedResult, rows: pd.DataFrame, contrasts: pd.DataFrame, n: str) -> Table:
    """All sets, best first."""
    best = rows.nsmallest(settings.ROWS, PRIMARY_METRIC)
    compared = contrasts[contrasts["a"].isin(best["setting"])]
    digits = decimals(*(row for _, row in compared.iterrows()), most=FEW_DECIMALS)

    def make_row(row: pd.Series) -> Row:
        change = ""
        verdict = "" if contrasts.empty else "baseline"
        for _, comparison in compared[compared["a"] == row["setting"]].iterrows():
            change, verdict = settings.format_comparison(comparison, digits)
        return settings.table_row(row, change, verdict, digits)

    against = "" if contrasts.empty else f", against {contrasts['b'].iloc[0]}"
    return settings.make_table(f"{n} images per set{against}", result, best, make_row)


def _single_page(result: LoadedResult, row: pd.Series, parts: dict[str, Any]) -> Page:
    """The page on a single set: its distances next to those of real images."""
    scores = result.scores.set_index("metric")
    figures = []
    for metric in (PRIMARY_METRIC, "fd"):
        score = scores.loc[metric]
        ends = (score["low"], score["high"])
        figures.append(show_score(result, metric, [score["value"]], row["n_samples"], ends))
    primary = figures[0]
    images = KeyFigure("Images", number(row["n_samples"], 0), ["nothing is compared"])
    text, notes = f": {primary.label} {primary.value}", primary.notes
    if scores.loc[PRIMARY_METRIC, "low"] > 0:
        text, notes = f" has {primary.label} {primary.value} ({notes[0]})", notes[1:]
    return Page(
        question=result.info["question"], lead="", verdict=f"{'; '.join([row['setting'] + text, *notes])}.",
        key_figures=[*figures, images], pictures=settings.show_pictures(result, (row, "Set", row["setting"])),
        details=list_details(result, *TERMS), **parts,
    )  # fmt: skip


def _run_page(result: LoadedResult) -> Page:
    """How good is one setting?"""
    source = settings.describe_source(result)
    question = result.info["question"]
    details = list_details(result, "MMD ×1000", "FD", "Visible noise", "Evaluations")
    if not len(result.runs):
        return Page(source, question, "No score.", "No run succeeded.", details=details)
    rows = settings.summarise_settings(result)
    runs = result.runs
    row = rows.iloc[0]
    floor = result.floor("fd", row["n_samples"])
    name = result.metric_name("fd")
    real = "" if floor is None else f"; real {result.unit}s have {scale_metric('fd', floor['mean'])}"
    evidence = f"{number(row['networks'], 0)} × {number(row['n_samples'], 0)}"
    key_figures = [
        *(show_score(result, metric, list(runs[metric]), row["n_samples"]) for metric in ("fd", PRIMARY_METRIC)),
        KeyFigure(f"Evaluations per {result.unit}", number(row["nfe"], 0), [f"{row['sampler']}"]),
        KeyFigure(f"Networks × {result.unit}s", evidence, ["nothing is compared"]),
    ]
    warnings, caveats = settings.find_caveats(result, [row])
    table = settings.make_table(settings.count_images(result, row), result, rows, settings.table_row)
    return Page(
        source, question, "", f"{row['setting']} has {name} {scale_metric('fd', row['fd'])}{real}.",
        warnings=warnings, caveats=caveats, key_figures=key_figures,
        pictures=settings.show_pictures(result, (row, "Samples", row["setting"])), tables=[table],
        note=f"Kernel distance, precision, recall and the {plural(len(runs), 'run')} are in table.csv.",
        details=details,
    )  # fmt: skip


def show_score(
    result: LoadedResult, metric: str, values: list[float], n_samples: float, ends: tuple[float, float] | None = None
) -> KeyFigure:
    """The mean score of some networks, or one score with the `ends` of its interval, next to that of real images.

    Of one MMD whose interval reaches 0 nothing below 0 is shown.
    """
    floor = result.floor(metric, n_samples)
    scale = SCALES.get(metric, 1)
    near = False
    if ends and metric == PRIMARY_METRIC and ends[0] <= 0:
        near = True
        values, ends = [max(values[0], 0)], (0, max(ends[1], 0))
    mean = sum(values) / len(values)
    shown = scale_metric(metric, mean)
    axis = Axis.over(scale * value for value in (*values, *(ends or ()), *([] if floor is None else [floor["mean"]])))
    bars = [Bar.dot(axis, scale * value, "not") for value in values]
    several = len(values) > 1
    notes = ["mean over networks"] if several else []
    legend = [("not", "a network")] if several else []
    if ends:
        bars = [Bar.of(axis, [scale * value for value in (mean, *ends)], "")]
        low, high = (scale_metric(metric, end) for end in ends)
        notes = [f"95 % interval {low} to {high}"]
        if near:
            shown, notes = say_near(ends[1], high), []
    if floor is not None:
        bars.append(Bar.dot(axis, scale * floor["mean"], "real"))
        legend.append(("real", f"real {result.unit}s"))
        notes.append(f"{plural(floor['n_samples'], f'real {result.unit}')}: {scale_metric(metric, floor['mean'])}")
    name = result.metric_name(metric)
    return KeyFigure(name, shown, notes, bars, axis.place(0), legend)
