"""The page on a grid: what each factor changes, whether factors depend on each other, and the best combination."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from reports import confirmed, contrast, settings
from reports.details import list_details
from reports.formats import (
    SCALES,
    difference,
    is_missing,
    is_set,
    join,
    number,
    scale_metric,
    short,
    spell,
    verdict_words,
)
from reports.page import Axis, Bar, Column, Figure, FigureSection, Line, Page, Row, Table
from reports.pages.chosen import find_setting
from reports.results import LoadedResult
from reports.schema import BETTER, CONFIRM, EXPLORE, NO_VERDICT, PRIMARY_METRIC, WORSE

TERMS = ("MMD ×1000", "FD", "Interaction", "Visible noise", "Evaluations")
CLEAR = (BETTER, WORSE)
GRID = "combinations"  # the section of the grid, here that of networks that compare


def page(result: LoadedResult) -> Page:
    effects = result.effects[result.effects["metric"] == PRIMARY_METRIC]
    main, both = (effects[effects["kind"] == kind] for kind in ("main", "interaction"))
    confirmed = result.over_networks(kind=CONFIRM)
    best = confirmed.sort_values("value_a").iloc[0] if len(confirmed) else None
    lead = phrase_effects(result, main)
    grid = replace(result, tables={**result.tables, "table": result.table.replace({"section": {EXPLORE: GRID}})})
    cells = settings.summarise_settings(grid).sort_values(PRIMARY_METRIC, kind="stable")
    cells = cells[cells["section"] == GRID]
    parts: dict[str, Any] = {
        "also": "\n".join(describe_others(result, main, both)), "figures": draw_cells(result, cells),
        "tables": [effects_table(result, effects), cells_table(result, cells)],
        "noun": "effect or combination", "order": "", "details": list_details(result, *TERMS),
    }  # fmt: skip
    if best is not None:
        every = settings.summarise_settings(result)
        before = (find_setting(every, best, "b"), "Baseline", best["b"])
        after = (find_setting(every, best, "a"), "Best", best["a"])
        parts["advice"] = advise(best, bool(main["verdict"].isin(CLEAR).any()))
        return contrast.compose_page(result, best, (lead, describe_best(result, best)), before, after, **parts)
    sentence = "The best combination was not confirmed on other networks."
    if len(cells):
        baseline = [values[0] for _, values in result.info["factors"]]  # run.json sorts the cells
        first = cells[[result.info["cells"][name] == baseline for name in cells["setting"]]]
        lowest = cells.iloc[0]
        score = f"{settings.format_scores(result, lowest)}, visible noise {settings.format_noise(lowest)}"
        sentence = f"Lowest: {lowest['setting']}, {score}; not confirmed on other networks."
        parts["advice"] = f"Confirm {lowest['setting']} before you use it: the same command without --no-confirm."
        sides = [(row, "Baseline", row["setting"]) for _, row in first.iterrows()]
        sides.append((lowest, "Lowest, not confirmed", lowest["setting"]))
        parts["pictures"] = settings.show_pictures(grid, *sides)
        if len(first) and len(main):
            size = grid.runs.iloc[0][["n_samples", "n_reference"]]
            row = main.assign(**size, level=result.info["statistics"]["level"], detectable=math.nan).iloc[0]
            parts["facts"] = contrast.list_facts(grid, row, first.iloc[0], lowest)
    return Page(settings.describe_source(result), result.info["question"], lead, sentence, **parts)


def advise(best: pd.Series, clear: bool) -> str:
    """Advises the best combination if other networks confirm it. `clear`: whether a factor has an effect alone."""
    if best["verdict"] == NO_VERDICT:
        return ""
    if not is_set(best["recommended"]):
        return f"Keep {best['b']}: nothing better is confirmed."
    why = " This one comparison on other networks can detect what no factor shows alone."
    return f"Use {best['a']}.{'' if clear else why}"


def name_effect(row: pd.Series) -> str:
    """ "eta 1, not 0", or "eta 1 (not 0) with schedule karras (not vp)" of an interaction."""
    if not row["factor_b"]:
        return f"{row['factor_a']} {row['level_a']}, not {row['against_a']}"
    return " with ".join(f"{row[f'factor_{k}']} {row[f'level_{k}']} (not {row[f'against_{k}']})" for k in "ab")


def _cost(row: pd.Series) -> str:
    """ "costs 8.25 times as much" of a value that takes another number of evaluations; "" of others."""
    cost = row.get("cost")
    return "" if is_missing(cost) or cost == 1 else f"costs {short(cost)} times as much"


def _size(row: pd.Series) -> str:
    """How much an effect lowers the score, and its interval: "6.1 (4.4 to 7.8)"."""
    return "{} ({})".format(*difference(row, -1))


def phrase_effects(result: LoadedResult, main: pd.DataFrame) -> str:
    """The best value of each factor that has a better one than its first; each clause is the verdict of a row."""
    judged = main[main["verdict"] != NO_VERDICT]
    name = result.metric_name()
    if not len(judged):
        return f"No verdict: {main['no_verdict'].iloc[0]}." if len(main) else "No effect could be measured."
    if not judged["verdict"].isin(CLEAR).any():
        ends = dict.fromkeys(scale_metric(PRIMARY_METRIC, judged["detectable"].agg(end)) for end in ("min", "max"))
        factors = join(dict.fromkeys(judged["factor_a"]))
        return f"No effect of {factors} on {name} is detected; {' to '.join(ends)} would have been."
    better = judged[judged["verdict"] == BETTER].sort_values("difference").drop_duplicates("factor_a")
    texts = [
        f"{row['factor_a']} {row['level_a']} instead of {row['against_a']} {f'lowers {name} ' if not at else ''}"
        f"by {', and '.join(filter(None, [_size(row), _cost(row)]))}"
        for at, (_, row) in enumerate(better.iterrows())
    ]
    return f"{join(texts) if texts else 'No value is better than the first of its factor'}."


def describe_best(result: LoadedResult, best: pd.Series) -> str:
    """The best combination, as other networks, or other noise, confirm it."""
    n_others = best["n_networks"]
    who = f"{spell(n_others).lower()} other {'network' if n_others == 1 else 'networks'}"
    where = f"on {who}" if result.runs["trained_by"].eq("sigmabench").any() else "with other noise"
    size = contrast.format_change(result, best)
    if best["verdict"] == BETTER:
        noise = f"; {confirmed.describe_noise(result, best)}" if is_set(best["more_noise"]) else ""
        return f"Best combination, confirmed {where}: {best['a']}, {size}{noise}."
    reason = best["no_verdict"] if best["verdict"] == NO_VERDICT else f"{verdict_words(best)}, {size}"
    return f"The best combination, {best['a']}, against the baseline {where}: {reason}."


def describe_others(result: LoadedResult, main: pd.DataFrame, both: pd.DataFrame) -> Iterator[str]:
    """Yields sentences on values that are worse, on what was not detected, with what would have been, on what has no
    verdict, with its reason, and on factors that depend on each other.

    Then values that did not run beside the first of their factor.
    """
    depends = both[both["verdict"].isin(CLEAR)]
    for words, rows in (("Worse", main[main["verdict"] == WORSE]), ("Depends on another factor", depends)):
        if texts := [f"{name_effect(row)}, by {'{} ({})'.format(*difference(row))}" for _, row in rows.iterrows()]:
            yield f"{words}: {'; '.join(texts)}."
    unseen = [
        f"{row['factor_a']} {row['level_a']} ({'; '.join(difference(row))}; "
        f"{scale_metric(PRIMARY_METRIC, row['detectable'])} would be)"
        for _, row in main[~main["verdict"].isin([*CLEAR, NO_VERDICT])].iterrows()
    ]
    if unseen:
        yield f"Not detected: {join(unseen)}."
    for reason, rows in main[main["verdict"] == NO_VERDICT].groupby("no_verdict"):
        texts = [f"{row['factor_a']} {row['level_a']} ({'; '.join(difference(row))})" for _, row in rows.iterrows()]
        yield f"No verdict on {join(texts)}: {reason}."
    measured = {*zip(main["factor_a"], main["level_a"], strict=True)}
    factors = result.info["factors"]
    absent = [f"{name} {value}" for name, (_, *values) in factors for value in values if (name, value) not in measured]
    if absent:
        yield f"No combination ran with these values and the first of their factor: {join(absent)}."


def effects_table(result: LoadedResult, effects: pd.DataFrame) -> Table:
    """Main effects, then interactions, the clearest first."""
    heads = [
        Column("Difference", "wide"), Column("Verdict", "verdicts"), Column("Holm's p", "n few", "adjusted p "),
        Column("Combinations", "n", after=" combinations"),
    ]  # fmt: skip
    ranked = effects.sort_values(["kind", "p_adjusted"], ascending=[False, True])
    rows = [
        Row("; ".join(filter(None, [name_effect(row), _cost(row)])), [
            *settings.format_comparison(row), number(row["p_adjusted"], 3), number(row["n_cells"], 0),
        ])
        for _, row in ranked.head(settings.ROWS).iterrows()
    ]  # fmt: skip
    family = f"one family of {number(effects['n_compared'].max(), 0)}" if len(effects) else "none"
    metric = result.metric_name()
    title = f"Main effects, over all values of other factors, then interactions, in {metric}, {family}"
    return Table(title, heads, rows)


def cells_table(result: LoadedResult, cells: pd.DataFrame) -> Table:
    """The combinations, best first: places, not verdicts."""
    heads = [
        Column("Place", "n", "place "), Column(result.metric_name(), "n", "MMD "),
        Column(result.metric_name("fd"), "n few", "FD "), Column("Visible noise", "n few", "visible noise "),
        Column("Evaluations", "n", after=" evaluations"),
    ]  # fmt: skip
    rows = [
        Row(cell["setting"], [
            str(place), scale_metric(PRIMARY_METRIC, cell[PRIMARY_METRIC]), number(cell["fd"]),
            number(cell["visible_noise"], 3), number(cell["nfe"], 0),
        ], cell["samples_id"])
        for place, (_, cell) in enumerate(cells.head(settings.ROWS).iterrows(), 1)
    ]  # fmt: skip
    count = settings.count_images(result, cells.iloc[0]) if len(cells) else "none ran"
    return Table(f"Combinations: {count}. These networks also chose the best", heads, rows)


def draw_cells(result: LoadedResult, cells: pd.DataFrame) -> list[Figure]:
    """The combinations, lowest first. The dots show the last factor of two values: the first value is hollow."""
    scores = result.quality[result.quality["metric"] == PRIMARY_METRIC].set_index("setting")[["value", "low", "high"]]
    if not len(scores):
        return []
    shown = cells.head(settings.ROWS).set_index("setting")
    axis = Axis.over((SCALES[PRIMARY_METRIC] * scores.loc[shown.index]).stack())
    factors = result.info["factors"]
    baseline = [values[0] for _, values in factors]
    two = [(name, values, at) for at, (name, values) in enumerate(factors) if len(values) == 2]
    factor, pair, at = two[-1] if two else ("", [], 0)
    lines = []
    for name, cell in shown.iterrows():
        value, low, high = (axis.place(SCALES[PRIMARY_METRIC] * end) for end in scores.loc[name])
        cell_values = result.info["cells"][name]
        texts = [scale_metric(PRIMARY_METRIC, end) for end in scores.loc[name]]
        bar = Bar("before", low, high, (("open" if cell_values[at] in pair[:1] else "grey", value),))
        label = f"{name} (baseline)" if cell_values == baseline else str(name)
        noise = f"visible noise {settings.format_noise(cell)}"
        lines.append(Line(label, bar, texts[0], " to ".join(texts[1:]), noise))
    name = result.metric_name()
    note = f"{name} of each combination with its 95 % interval, lowest first: lower is better, and 0 is a match."
    evidence = f"{settings.count_images(result, cells.iloc[0])}, which also chose the best"
    legend = [(mark, f"{factor} {value}") for mark, value in zip(("open", "grey"), pair, strict=False)]
    sections = [FigureSection("Combinations", evidence, lines)]
    ends = "", "farther from real images"
    return [Figure(f"{name} of each combination", note, sections, axis.place(0), ends, axis.ticks, True, name, legend)]
