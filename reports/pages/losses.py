"""The page of `losses`: at which noise levels networks are better or worse than the first."""

from itertools import groupby

import pandas as pd

from reports import contrast, settings
from reports.details import describe_origin, list_files
from reports.formats import difference, join, number, percent, scale_metric, short
from reports.page import KeyFigure, Page, Plot
from reports.results import LoadedResult
from reports.schema import BETTER, LOSS, NO_DIFFERENCE, NO_VERDICT, WORSE

NO_QUALITY = "A lower loss does not mean better samples."
TERMS = [
    ("Loss", "Of a network the relative error: the squared error of the clean image over that of the best denoiser "
     "that knows only the variance of the data. Of a function its own values. Images and noise are the same for all."),
    ("Difference", "The mean loss over that of the first, minus 1, in per cent."),
    ("No verdict", "Training saw most of these images, or the level is outside the training of both: less than 0.1 % "
     "of the training noise is above the level, or below it, or an adapter has no time for it."),
]  # fmt: skip


def page(result: LoadedResult) -> Page:
    sections = {str(name): rows for name, rows in result.over_networks(LOSS).groupby("a", sort=False)}
    lines = {name: [(row, _label(row), row["b"]) for _, row in rows.iterrows()] for name, rows in sections.items()}
    sentence, *more = [phrase_levels(name, rows) for name, rows in sections.items()]
    reports = result.info["reports"]
    curves = result.curves.rename(columns={"model_id": "setting"})
    text = "Means over networks and images. Below: how densely training visits the levels, if that is known."
    return Page(
        settings.describe_source(result, result.info["held_out"]), result.info["question"], "", sentence,
        also=" ".join(more), warnings=result.info["warnings"],
        caveats=[NO_QUALITY], key_figures=_key_figures(next(iter(sections.values()))),
        figures=contrast.draw_differences("How the losses differ", lines, result),
        plot=Plot("errors", "Loss at each noise level", text, (curves, result.densities, "loss")),
        details=[
            *([("Scores of their samples", reports)] if reports else []),
            *TERMS, *describe_origin(result.info), ("Files", list_files(result)),
        ],
    )  # fmt: skip


def phrase_levels(name: str, rows: pd.DataFrame) -> str:
    """At which levels a network is better and worse than the first, with the largest difference of both."""
    decided = rows[rows["verdict"] != NO_VERDICT]
    if decided.empty:
        return f"{name}: {NO_VERDICT} at any level: {join(rows['no_verdict'].unique())}."
    texts = []
    for word, sign in ((BETTER, -1), (WORSE, 1)):
        levels = decided[decided["verdict"] == word]
        if len(levels):
            largest = levels.loc[levels["difference"].abs().idxmax()]
            size, interval = difference(largest, sign)
            ranges = join(_find_ranges(decided, word))
            texts.append(f"{word} {ranges} (by {size} %; {interval} at sigma {short(largest['sigma'])})")
    if not texts:
        return f"{name}: {NO_DIFFERENCE} at any level."
    if (decided["verdict"] == NO_DIFFERENCE).any():
        texts.append(f"{NO_DIFFERENCE} elsewhere")
    return f"{name} is {', '.join(texts)}."


def _find_ranges(decided: pd.DataFrame, word: str) -> list[str]:
    """The levels of a verdict, such as "from sigma 0.3 to 0.1"."""
    texts = []
    for verdict, run in groupby(zip(decided["verdict"], decided["sigma"], strict=True), key=lambda level: level[0]):
        sigmas = [short(sigma) for _, sigma in run]
        if verdict == word:
            texts.append(f"from sigma {sigmas[0]} to {sigmas[-1]}" if len(sigmas) > 1 else f"at sigma {sigmas[0]}")
    return texts


def _key_figures(rows: pd.DataFrame) -> list[KeyFigure]:
    """At how many levels, and at how much of the training noise, a network is better and worse; and the power."""
    decided = rows[rows["verdict"] != NO_VERDICT]
    figures = []
    for word in (BETTER, WORSE):
        levels = decided[decided["verdict"] == word]
        notes = [] if rows["share"].isna().any() else [f"{percent(levels['share'].sum())} of its training noise"]
        figures.append(KeyFigure(f"Levels where {word}", f"{len(levels)} of {len(decided)}", notes))
    detectable = " to ".join(scale_metric(LOSS, end) for end in decided["detectable"].agg(["min", "max"]))
    power = [f"can detect {detectable} %, by level"] if len(decided) else []
    size = f"{number(rows['n_networks'].iloc[0], 0)} × {number(rows['n_samples'].iloc[0], 0)}"
    return [*figures, KeyFigure("Networks × images", size, power)]


def _label(row: pd.Series) -> str:
    before, after = (number(row[f"value_{side}"], 3) for side in "ba")
    return f"sigma {short(row['sigma'])}: {before} → {after}"
