"""A contrast of two settings on a page: its sentence, its key figures, its line in a figure of differences."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from reports import settings
from reports.formats import (
    SCALES,
    are_set,
    capital,
    difference,
    evaluations,
    is_missing,
    is_set,
    join,
    lower_on,
    number,
    percent,
    plural,
    scale_metric,
    short,
    values_and_difference,
    verdict_words,
)
from reports.page import Axis, Bar, Code, Curve, Curves, Figure, FigureSection, Line, Page
from reports.results import LoadedResult
from reports.schema import (
    BETTER,
    CONFIRM,
    EXPLORE,
    NO_DIFFERENCE,
    NO_VERDICT,
    PRIMARY_METRIC,
    WORSE,
)

FD = "fd"
ETA = "eta: the sampler euler with fresh noise; eta 0 has none (DDIM), eta 1 is DDPM"
Side = tuple[pd.Series, str, str]  # the row of a setting, and title and label of its picture
Labelled = tuple[pd.Series, str, str]  # a row of contrasts.csv, the label of its line, and what it is compared with


def compose_page(
    result: LoadedResult, row: pd.Series, verdict: tuple[str, str], before: Side, after: Side,
    more: tuple[Sequence[str], Sequence[str]] = ((), ()),
    more_facts: Sequence[tuple[str, Any]] = (), **parts: Any,
) -> Page:  # fmt: skip
    """A page on one contrast.

    Args:
        row: the contrast, in the metric that decides.
        verdict: the first words and the sentence.
        before, after: its settings, with title and label of their pictures.
        more: further warnings and caveats.
        more_facts: of this page, such as what is recommended in a reader's code.
        parts: other fields of the page.
    """
    lead, sentence = verdict
    shown = [before[0], after[0]]
    warnings, caveats = settings.find_caveats(result, shown)
    warnings += find_disagreement(result, row) + find_other_order(result, row)
    pictures = settings.show_pictures(result, before, after)
    aside = ""
    if len(pictures) > 2:
        aside = "The first of each."
        if before[0]["sample_seed"] == after[0]["sample_seed"]:
            aside += f" “{before[1]}” and “{after[1]}” start from the same noise: compare them place by place."
        if result.unit == "point":
            aside = "Pairs of neighbouring coordinates, 500 points: the same axes, and the same initial noise."
    fields: dict[str, Any] = {
        "source": settings.describe_source(result), "question": result.info["question"], "lead": lead,
        "verdict": sentence, "warnings": [*warnings, *more[0]], "caveats": [*caveats, *more[1]],
        "pictures": pictures, "aside": aside, "facts": [*list_facts(result, row, *shown), *more_facts],
    }  # fmt: skip
    return Page(**fields | parts)


def format_change(result: LoadedResult, row: pd.Series, verb: str = "") -> str:
    """The values of b and a, their difference, and FD: "MMD ×1000 from 12.0 to 8.0 (difference −4.0; −5.0 to −3.0; FD
    7.6 to 5.0)".

    `verb`: what it does, such as "falls". Without a verdict nothing goes from here to there: "MMD ×1000 7.6 and 7.5".
    """
    before, after, change, interval = values_and_difference(row)
    name = " ".join(filter(None, [result.metric_name(row["metric"]), verb]))
    link = "to" if row["verdict"] in (BETTER, WORSE) else "and"
    values = f"from {before} to {after}" if link == "to" else f"{before} and {after}"
    fd = result.pooled(row, FD)
    also = "" if fd is None else f"{result.metric_name(FD)} {f' {link} '.join(_both(fd))}"
    return f"{name} {values} (difference {'; '.join(filter(None, [change, interval, lower_on(row), also]))})"


def _both(row: pd.Series) -> list[str]:
    """The values of b and of a."""
    return [scale_metric(row["metric"], row[name]) for name in ("value_b", "value_a")]


def find_disagreement(result: LoadedResult, row: pd.Series) -> list[str]:
    """A warning if FD says something else than the metric that decides."""
    fd = result.pooled(row, FD)
    word = BETTER if fd is not None and fd["difference"] < 0 else WORSE
    if fd is None or not is_set(fd["clear"]) or row["verdict"] in (NO_VERDICT, word):
        return []
    change, interval = difference(fd)
    primary = f"{result.metric_name()} is the primary metric"
    return [f"In {result.metric_name(FD)}, {row['a']} is {word}: {change} ({interval}); {primary}."]


def find_other_order(result: LoadedResult, row: pd.Series) -> list[str]:
    """A warning if FD has another lowest among the settings of a contrast and those that were confirmed."""
    every = settings.summarise_settings(result)
    rows = every[every["section"].isin([row["section"], CONFIRM]) & every["n_samples"].eq(row["n_samples"])]
    rows = rows[rows["networks"] == rows["networks"].max()].dropna(subset=[PRIMARY_METRIC, FD])
    lowest = [rows.sort_values(name).iloc[0] for name in (PRIMARY_METRIC, FD) if len(rows)]
    if len({scale_metric(FD, side[FD]) for side in lowest}) < 2:
        return []
    texts = [f"{settings.name_with_evaluations(side)}: {settings.format_scores(result, side)}" for side in lowest]
    return [f"MMD and FD order the best settings differently. Lowest {'; '.join(texts)}."]


def list_facts(result: LoadedResult, row: pd.Series, before: pd.Series, after: pd.Series) -> list[tuple[str, Any]]:
    """Lists the facts that a reader needs to believe a contrast of two settings, and to run it again."""
    sides = [before, after]
    info, unit = result.info, result.unit
    run = result.runs.loc[result.runs["images_seen"].fillna(0).idxmax()]
    name = result.metric_name(row["metric"])
    real = settings.score_real(result, row["n_samples"])
    seen = f", {number(run['images_seen'], 0)} {unit}s seen in training" if run["images_seen"] > 0 else ""
    if recipe := info.get("options", {}).get("recipe") if result.trained_here else "":
        seen = f", recipe {recipe}{seen}"
    n_samples, n_real = (number(row[column], 0) for column in ("n_samples", "n_reference"))
    device = f"{run['device']}{', shared' if result.runs['shared_device'].fillna(False).any() else ''}"
    seconds = _pair(short(side["seconds"] / side["n_samples"]) for side in sides if side["seconds"] > 0)
    traits = {
        "visible noise": [settings.format_noise(side) for side in sides],
        "recall": [number(side["recall"], 2) for side in sides],
        "near copies": [percent(max(side["memorised"], 0)) for side in sides if side["memorised"] > -1],
    }
    many = "networks" if is_missing(row["holds_for"]) else f"{unit}s of {name_networks(row)}"
    doubts = [f"{percent(row['level'])} interval: where the mean over many such {many} lies"]
    if not is_missing(row["detectable"]) and row["verdict"] not in (BETTER, WORSE):
        doubts.append(f"can detect {scale_metric(row['metric'], row['detectable'])} in {name}")
    origin = f"commit {info.get('commit') or 'unknown'}; {settings.describe_source(result).time}".strip("; ")
    named = result.runs["setting"].str.contains("sigma_min")  # there the name has it
    last = {*map(short, result.runs.loc[~named, "sigma_min"].dropna())}
    facts = {
        "Data": f"{run['data']}{f'. Real {unit}s: {real}' if real else ''}",
        "Networks": f"{name_networks(row)} ({run['network']}{seen}). Others, and other data: not tested here",
        "Last level": f"sigma {join(last)}{', if no name has another' if named.any() else ''}"
        if len(last) == 1
        else "",
        "Score": f"{name}: distance from {n_samples} {unit}s of each network to {n_real} real ones, in "
        f"{result.features} features; 0 is a match. {result.metric_name(FD)}: the distance of FID",
        "Cost": f"{_pair(evaluations(side['nfe']) for side in sides)} evaluations per {unit} on the "
        f"{_pair(side['schedule'] for side in sides)} schedule{f', {seconds} seconds ({device})' if seconds else ''}",
        f"In the {unit}s": capital("; ".join(f"{term} {_pair(texts)}" for term, texts in traits.items() if any(texts))),
        "Sure?": "; ".join(doubts),
        "Fixed": describe_protocol(result),
        "Names": " ".join(describe_names(result, sides)),
        "Run again": Code(origin, info.get("command", "unknown")),
    }
    return [(term, fact) for term, fact in facts.items() if fact]


def describe_names(result: LoadedResult, sides: Iterable[pd.Series]) -> list[str]:
    """Explains the names of these settings, and of all that were confirmed: the first sentence of each formula."""
    formulas = result.info.get("formulas", {})
    compared = result.over_networks(kind=CONFIRM)[["a", "b"]].to_numpy().flat
    labels = dict.fromkeys([*(side["setting"] for side in sides), *compared])
    names = [*(side["schedule"] for side in sides), *labels, *(label.rpartition(", ")[2] for label in labels)]
    known = dict.fromkeys(name.partition("(")[0] for name in names)
    first = {name: text.replace("`", "").partition(". ")[0].removesuffix(".") for name, text in formulas.items()}
    texts = [f"{name}: {first[name]}." for name in known if name in first]
    if any("end=0" in label for label in labels):
        texts.append("end=0: then a last step to 0.")
    return [*texts, *([f"{ETA}."] if result.runs["eta"].notna().any() else [])]


def _pair(values: Iterable[str]) -> str:
    """Two values, or one if they are equal."""
    return " and ".join(dict.fromkeys(values))


def describe_protocol(result: LoadedResult) -> str:
    """Says what was fixed before any result; who chose, and who compared."""
    texts = list[str]()
    if result.fixed_beforehand:
        changed = result.info.get("differs_from_preset")
        texts.append("The main comparison, before any result")
        texts += [f"Changed since: {join(changed)}"] if changed else []
    rows = result.choices
    if len(rows) and result.was_confirmed:
        explored = rows[rows["networks"].notna()]
        planned = not result.table["section"].eq(EXPLORE).any()
        who = "this network"
        if result.trained_here:
            who = plural(explored["networks"].max(), "other network") if len(explored) else "others"
        what = "chose one setting per question" if planned else f"chose among {len(explored)} settings"
        texts.append(f"{who} {what}; then, with other noise, these compared")
        barred = explored[are_set(explored["barred"])]
        if len(barred):
            lowest = barred.loc[barred[PRIMARY_METRIC].idxmin()]
            score = f"{result.metric_name()} {scale_metric(PRIMARY_METRIC, lowest[PRIMARY_METRIC])}"
            limit = "the default" if result.limit is None else number(result.limit, 2)
            text = f"{len(barred)} of {len(explored)} settings show more visible noise than {limit} and were barred"
            texts.append(f"{text}; the lowest of them: {settings.name_with_evaluations(lowest)}, {score} (explored)")
    return ". ".join(map(capital, texts))


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


def draw_curves(
    result: LoadedResult, title: str, points: pd.DataFrame, columns: Mapping[float, tuple[str, Sequence[str]]],
    note: str = "", *, within: bool = False,
) -> Curves:  # fmt: skip
    """The scores of two kinds of settings against evaluations.

    Args:
        points: columns curve, nfe, value, low, high, row (of the setting), explored (the score on the networks that
            chose, or NaN).
        columns: by evaluations a verdict and the words below.
        within: whether a score holds for up to the next number of evaluations: then the line has steps.
    """
    order = sorted({*points["nfe"], *columns})
    numbers = ["value", "low", "high", "explored"]
    axis = Axis.over((SCALES[PRIMARY_METRIC] * points[numbers]).stack().dropna())
    curves = []
    for at, (name, rows) in enumerate(points.sort_values("nfe", kind="stable").groupby("curve", sort=False)):
        aside = 2 * at - 1 if within else 0  # so that equal scores are both seen
        xs = [round(100 * (order.index(nfe) + 0.5) / len(order) + aside, 2) for nfe in rows["nfe"]]
        ys, lows, highs, explored = (
            [axis.place(SCALES[PRIMARY_METRIC] * value) for value in rows[name]] for name in numbers
        )
        lines = [[*zip(xs, heights, strict=True)] for heights in (ys, explored)]
        if within:
            lines = [_add_steps(line) for line in lines]
        line, chosen_on = lines
        chosen_on = [] if rows["explored"].isna().any() else chosen_on
        dots = [*zip(xs, ys, lows, highs, strict=True)]
        end = settings.format_scores(result, rows["row"].iloc[-1])
        titles = [_title(result, point) for _, point in rows.iterrows()]
        curves.append(Curve(("before", BETTER)[at], name, end, line, dots, titles, chosen_on))
    texts = [(evaluations(nfe), *columns.get(nfe, ("", ()))) for nfe in order]
    note = f"{result.metric_name()}, lower is better. {note}"
    return Curves(title, note, curves, axis.ticks, texts)


def _title(result: LoadedResult, point: pd.Series) -> str:
    """The setting of a dot, its scores, the interval of its MMD if it is known, and its visible noise."""
    row = point["row"]
    low, high = (scale_metric(PRIMARY_METRIC, point[end]) for end in ("low", "high"))
    interval = f"interval {low} to {high}" if low != high else ""
    noise = f"visible noise {settings.format_noise(row)}"
    scores = f"{settings.name_with_evaluations(row)}: {settings.format_scores(result, row)}"
    return "; ".join(filter(None, [scores, interval, noise]))


def _add_steps(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The line with each height kept up to the next point."""
    return [corner for (x, y), (end, _) in pairwise([*line, (100.0, 0.0)]) for corner in ((x, y), (end, y))]


def draw_differences(title: str, sections: Mapping[str, Sequence[Labelled]], result: LoadedResult) -> list[Figure]:
    """A figure of differences in one metric, on one axis. Without rows there is no figure."""
    rows = [row for section in sections.values() for row, _, _ in section]
    if not rows:
        return []
    metric = rows[0]["metric"]
    scale = SCALES.get(metric, 1)
    dots = [scale * value for row in rows for value in single_networks(result, row)["difference"]]
    axis = Axis.over([*dots, *(value for row in rows for value in _values(row))])
    drawn = [_draw_section(heading, section, axis, result) for heading, section in sections.items() if section]
    family_sizes = sorted({int(row["n_compared"]) for row in rows if row["n_compared"] > 1})
    counts = " or ".join(map(str, family_sizes))
    after = f", after correction for the {counts} comparisons of its family" if counts else ""
    small = " Small dot: one network." if dots else ""
    label = f"Difference in {result.metric_name(metric)}"
    confidence = percent(rows[0]["level"])
    note = (
        f"{label} with the {confidence} interval of each comparison. Filled dot: better or worse{after}. "
        f"Hollow dot: {NO_DIFFERENCE}, or no verdict.{small}"
    )
    legend = [(BETTER, BETTER), (WORSE, WORSE), ("not", f"{NO_DIFFERENCE}, or no verdict")]
    legend += [("speck", "one network")] if dots else []
    label += f", {confidence} interval"
    return [Figure(title, note, drawn, axis.place(0), ticks=axis.ticks, label=label, legend=legend)]


def _draw_section(heading: str, section: Sequence[Labelled], axis: Axis, result: LoadedResult) -> FigureSection:
    """The lines of one section, without what all of them share, which its heading says."""
    references = {against for _, _, against in section}
    sizes = {f"{name_networks(row)} × {number(row['n_samples'], 0)}" for row, _, _ in section}
    evidence = [f"against {against}" for against in references if len(references) == 1]
    evidence += [f"{size} {result.unit}s" for size in sizes if len(sizes) == 1]
    lines = []
    for row, label, against in section:
        label += f" against {against}" if len(references) > 1 else ""
        label += f", {name_networks(row)} × {number(row['n_samples'], 0)}" if len(sizes) > 1 else ""
        text, interval = difference(row)
        dots = SCALES.get(row["metric"], 1) * single_networks(result, row)["difference"]
        bar = Bar.of(axis, _values(row), row["verdict"], dots)
        noise = ""
        if not is_missing(row["visible_noise_a"]):
            noise = "; visible noise {}, against {}".format(*(number(row[f"visible_noise_{k}"], 3, 3) for k in "ab"))
        lines.append(Line(label, bar, text, interval, verdict_words(row), noise=noise))
    return FigureSection(heading, "; ".join(evidence), lines)
