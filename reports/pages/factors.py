"""The page on a grid: what each factor changes, whether factors depend on each other, and the best combination."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports import confirmed, contrast, settings
from reports.details import list_details
from reports.formats import (
    difference,
    is_missing,
    is_set,
    join,
    metric_name,
    number,
    plural,
    scale_metric,
    short,
    spell,
    verdict_words,
)
from reports.page import Column, Page, Plot, Row, Table
from reports.pages.chosen import find_setting
from reports.results import LoadedResult
from reports.schema import BETTER, CONFIRM, EXPLORE, JUDGE, NO_VERDICT, RETRAINED, WORSE

TERMS = ("MMD ×1000", "FD", "Interaction", "Visible noise", "Evaluations")
CLEAR = (BETTER, WORSE)


def page(result: LoadedResult) -> Page:
    effects = result.effects[result.effects["metric"] == JUDGE]
    main, both = (effects[effects["kind"] == kind] for kind in ("main", "interaction"))
    confirmed = result.over_networks(kind=CONFIRM)
    best = confirmed.sort_values("value_a").iloc[0] if len(confirmed) else None
    lead = phrase_effects(result, main, both)
    sentence = describe_best(result, best)
    parts: dict[str, Any] = {
        "also": "\n".join(describe_others(result, main, both)), "plot": plot_cells(result, main),
        "tables": [effects_table(result, effects), cells_table(result)], "noun": "effect or combination", "order": "",
        "details": list_details(result, *TERMS),
    }  # fmt: skip
    if best is None:
        failed = contrast.has_failed(result)
        if failed:
            lead, sentence = contrast.explain_failure(result)
            parts["also"] = ""
        return Page(settings.describe_source(result), result.info["question"], lead, sentence, failed=failed, **parts)
    every = settings.summarise_settings(result)
    before = (find_setting(every, best, "b"), "Baseline", best["b"])
    after = (find_setting(every, best, "a"), "Best", best["a"])
    advice = f"Use {best['a']}." if is_set(best["recommended"]) else f"Keep {best['b']}: nothing better is confirmed."
    parts["advice"] = advice if best["verdict"] != NO_VERDICT else ""
    return contrast.compose_page(result, best, (lead, sentence), before, after, **parts)


def name_effect(row: pd.Series) -> str:
    """ "eta 1, not 0", or "eta 1 (not 0) with schedule karras (not vp)" of an interaction."""
    if not row["factor_b"]:
        return f"{row['factor_a']} {row['level_a']}, not {row['against_a']}"
    return " with ".join(f"{row[f'factor_{k}']} {row[f'level_{k}']} (not {row[f'against_{k}']})" for k in "ab")


def _cost(row: pd.Series) -> str:
    """ "costs 8.25 times as much" of a level that takes another number of evaluations; "" of others."""
    cost = row.get("cost")
    return "" if is_missing(cost) or cost == 1 else f"costs {short(cost)} times as much"


def _size(row: pd.Series) -> str:
    """The size of an effect whose direction is said, and its interval in that direction: "6.1 (4.4 to 7.8)"."""
    return "{} ({})".format(*difference(row, -1 if row["difference"] < 0 else 1))


def _verb(row: pd.Series) -> str:
    return "lowers" if row["difference"] < 0 else "raises"


def _varied(result: LoadedResult) -> dict[str, list[str]]:
    """The factors with several levels; one level is fixed for all combinations."""
    return {name: levels for name, levels in result.info["factors"] if len(levels) > 1}


def phrase_effects(result: LoadedResult, main: pd.DataFrame, both: pd.DataFrame) -> str:
    """Which factor matters most, and on what its effect depends most; each clause is the verdict of a row."""
    judged = main[main["verdict"] != NO_VERDICT]
    name = metric_name(JUDGE, result.features)
    if not len(judged):
        return f"No verdict: {main['no_verdict'].iloc[0]}." if len(main) else "No effect could be measured."
    clear = judged[judged["verdict"].isin(CLEAR)]
    if not len(clear):
        ends = dict.fromkeys(scale_metric(JUDGE, judged["detectable"].agg(end)) for end in ("min", "max"))
        factors = join(dict.fromkeys(judged["factor_a"]))
        return f"No effect of {factors} on {name} is detected; {' to '.join(ends)} would have been."
    row = clear.loc[clear["difference"].abs().idxmax()]
    factor = row["factor_a"]
    of_judged = "" if main["difference"].abs().max() <= abs(row["difference"]) else " of those with a verdict"
    change = f"{row['level_a']} instead of {row['against_a']} {_verb(row)} {name} by {_size(row)}"
    text = f"{factor} matters most{of_judged}: {change}"
    others = [f"{len(levels)} levels of {other}" for other, levels in _varied(result).items() if other != factor]
    text += f", averaged over {join(others)}" if others else ""
    text += f", and {cost}" if (cost := _cost(row)) else ""
    depends = both[both["verdict"].isin(CLEAR) & (both[["factor_a", "factor_b"]] == factor).any(axis=1)]
    if len(depends):
        text += f"; {_phrase_interaction(depends.loc[depends['p_adjusted'].idxmin()], row, main)}"
    return f"{text}."


def _phrase_interaction(both: pd.Series, named: pd.Series, main: pd.DataFrame) -> str:
    """ "more with schedule karras, by 2.0 (0.4 to 3.6)"; of another level than the named one: "edm less with eta 1"."""
    mine, other = ("a", "b") if both["factor_a"] == named["factor_a"] else ("b", "a")
    level = both[f"level_{mine}"]
    own = main[main["factor_a"].eq(named["factor_a"]) & main["level_a"].eq(level)].iloc[0]
    word = "more" if both["difference"] * own["difference"] > 0 else "less"
    name = "" if level == named["level_a"] else f"{level}, which {_verb(own)} it, "
    return f"{name}{word} with {both[f'factor_{other}']} {both[f'level_{other}']}, by {_size(both)}"


def describe_best(result: LoadedResult, best: pd.Series | None) -> str:
    """The best combination, as other networks, or other noise, confirm it."""
    if best is None:
        return "The best combination was not confirmed on other networks."
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
    """Yields sentences on what was not detected, with what would have been, and on the clearest interaction.

    Then levels that did not run beside the first of their factor, and the A/A test beside the effects.
    """
    unseen = [
        f"{row['factor_a']} {row['level_a']} ({'; '.join(difference(row))}; "
        f"{scale_metric(JUDGE, row['detectable'])} would be)"
        for _, row in main[~main["verdict"].isin([*CLEAR, NO_VERDICT])].iterrows()
    ]
    if unseen:
        yield f"Not detected: {join(unseen)}."
    judged = both[both["verdict"] != NO_VERDICT]
    if len(judged):
        row = judged.loc[judged["p_adjusted"].idxmin()]
        count = plural(len(judged), "interaction")
        yield f"Clearest of {count}: {name_effect(row)}, {'; '.join(difference(row))}: {verdict_words(row)}."
    measured = {*zip(main["factor_a"], main["level_a"], strict=True)}
    factors = result.info["factors"]
    absent = [f"{name} {level}" for name, (_, *levels) in factors for level in levels if (name, level) not in measured]
    if absent:
        yield f"No combination ran with these levels and the first of their factor: {join(absent)}."
    again = contrast.find_control(result)
    if again is None or again["verdict"] == NO_VERDICT:
        return
    what = "equal trainings" if again["section"] == RETRAINED else "samplings of one setting, with other noise,"
    largest = main["difference"].abs().groupby(main["factor_a"], sort=False).max()
    smaller = [str(factor) for factor in largest.index[largest < abs(again["difference"])]]
    more = f": more than any effect of {join(smaller)} here" if smaller else ""
    yield f"A/A test: two {what} differ by {'{} ({})'.format(*difference(again))}{more}."


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
    return Table(f"Main effects, then interactions, in {metric_name(JUDGE, result.features)}: {family}", heads, rows)


def cells_table(result: LoadedResult) -> Table:
    """The combinations, best first: places, not verdicts."""
    runs = result.table[(result.table["section"] == EXPLORE) & (result.table["status"] == "ok")]
    means = {name: (name, "mean") for name in (JUDGE, "fd", "visible_noise", "nfe", "n_samples")}
    cells = runs.groupby("setting", sort=False).agg(**means, strip=("samples_id", "first"), networks=(JUDGE, "size"))
    cells = cells.sort_values(JUDGE, kind="stable")
    heads = [
        Column("Place", "n", "place "), Column(metric_name(JUDGE, result.features), "n", "MMD "),
        Column(metric_name("fd", result.features), "n few", "FD "), Column("Visible noise", "n few", "visible noise "),
        Column("Evaluations", "n", after=" evaluations"),
    ]  # fmt: skip
    rows = [
        Row(str(label), [
            str(place), scale_metric(JUDGE, cell[JUDGE]), number(cell["fd"]), number(cell["visible_noise"], 3),
            number(cell["nfe"], 0),
        ], cell["strip"])
        for place, (label, cell) in enumerate(cells.head(settings.ROWS).iterrows(), 1)
    ]  # fmt: skip
    count = settings.count_images(result, cells.iloc[0]) if len(cells) else "none ran"
    return Table(f"Combinations: {count}. These networks also chose the best", heads, rows)


def plot_cells(result: LoadedResult, main: pd.DataFrame) -> Plot | None:
    """The scores of the combinations over their factors."""
    quality = result.quality[result.quality["metric"] == JUDGE]
    if not len(quality):
        return None
    factors = _varied(result)
    levels = quality["setting"].map(result.info["cells"])
    cells = quality.assign(**{name: levels.str[place] for place, (name, _) in enumerate(result.info["factors"])})
    floor = result.floor(JUDGE, result.table["n_samples"].max())
    name = metric_name(JUDGE, result.features)
    real = None if floor is None else float(floor["mean"])
    caption = f"{name} of each combination with its 95 % interval: lower is better. Dotted: real {result.unit}s."
    return Plot("factors", f"{name} by {join(factors)}", caption, (cells, factors, main, real, name))
