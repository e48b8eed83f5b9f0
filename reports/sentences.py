"""Sentences about contrasts: their verdict, size, interval and conditions, all read from contrasts.csv.

A `Pair` is one contrast in both metrics: its pooled rows in kd and fd (either may be absent).
"""

import pandas as pd

from reports.document import Prose, Section
from reports.formats import as_precise, cell, interval, listed, metric_name, missing, number, percent, short_name
from reports.results import Run, pooled
from reports.schema import BETTER, CONTRAST, ENOUGH_NETWORKS, GROUPS, METRICS, NO_VERDICT, NOT_DETECTABLE, WORSE

Pair = dict[str, pd.Series]

FREEDOM = GROUPS - 1  # degrees of freedom per network of the jackknife


ANSWERS = {  # verdict of contrasts.csv -> the answer to "is a better than b?"
    BETTER: "Yes.",
    NOT_DETECTABLE: "Not detectable.",
    WORSE: "No.",
    NO_VERDICT: "No verdict.",
}


def verdict(row: pd.Series) -> str:
    """The verdict of a pooled contrast; with what could have been detected if nothing was."""
    size = detectable(row) if row["verdict"] == NOT_DETECTABLE else ""
    return row["verdict"] + (f": could have detected {size}" if size else "")


def detectable(row: pd.Series) -> str:
    """The difference that a pooled contrast detects with 80 % power, with its limits if networks make it uncertain."""
    if missing(row.get("detectable")):
        return ""
    size = row["detectable"]
    texts = as_precise(row["metric"], [row.get(f"detectable{end}") for end in ("", "_low", "_high")], -size, size)
    return texts[0] + (f" ({texts[1]} to {texts[2]})" if texts[1] and texts[2] else "")


def contradiction(pair: Pair) -> str:
    """A sentence to add to the verdict if another metric says something else than the deciding one; else ""."""
    row = head(pair)
    if row["verdict"] == NO_VERDICT:
        return ""
    clear = {short_name(name, row["features"]): other["difference"] for name, other in pair.items() if is_clear(other)}
    if row["verdict"] == NOT_DETECTABLE:
        lower, higher = ([name for name in clear if (clear[name] < 0) == below] for below in (True, False))
        says = [f"{word} in {listed(some)}" for some, word in ((lower, "better"), (higher, "worse")) if some]
        return f" But it is detectably {' and '.join(says)}." if says else ""
    names = [name for name, difference in clear.items() if difference * row["difference"] < 0]
    return f" But {listed(names)} {'says' if len(names) == 1 else 'say'} the opposite." if names else ""


def pairs(contrasts: pd.DataFrame) -> list[Pair]:
    """The pooled contrasts in the file's order, each with its rows in kd and fd."""
    found = []
    for _, rows in pooled(contrasts).groupby(CONTRAST, sort=False, dropna=False):
        by_metric = {row["metric"]: row for _, row in rows.iterrows()}
        found.append({metric: by_metric[metric] for metric in METRICS if metric in by_metric})
    return found


def head(pair: Pair) -> pd.Series:
    """The row of the metric that decides the pair's verdict."""
    return next(iter(pair.values()))


def is_clear(row: pd.Series) -> bool:
    """Whether the interval of a contrast excludes 0; not if it has none."""
    return not missing(row["clear"]) and bool(row["clear"])


def capital(text: str) -> str:
    """`text` with a capital first letter, except if it starts with a symbol such as eta."""
    return text if text.startswith(("eta", "beta", "sigma", "eps")) else text[:1].upper() + text[1:]


def scope(pair: Pair) -> str:
    """Networks, samples, training and data of a contrast, for instance "2 networks, 500 samples each (...)"."""
    row = head(pair)
    n, networks = cell("n_samples", row["n_samples"]), int(row["n_networks"])
    source, each = ("one network", "") if networks == 1 else (f"{networks} networks", " each")
    if not missing(row.get("n_planned")) and row["n_planned"] > networks:
        source += f" ({cell('n_planned', row['n_planned'])} were planned)"
    return f"{source}, {n} samples{each} ({row['network']}, {training(row)}, data {row['data']})"


def training(row: pd.Series) -> str:
    """Who trained the network, and on how many images."""
    if row.get("trained_by") == "others":
        return "trained elsewhere"
    seen = cell("images_seen", row["images_seen"])
    return f"{seen} images seen in training" if seen else "training not recorded"


def condition(pair: Pair) -> str:
    """How the interval was made, and for which networks the result holds."""
    row = head(pair)
    n = row["holds_for"] if row["interval"] else row["n_networks"]
    alone = not missing(n) and (row["interval"] or n < ENOUGH_NETWORKS)
    limits = f" The result holds for {these(n)}; others may differ." if alone else ""
    return f"Intervals: {row['interval']}.{limits}" if row["interval"] else f"No intervals.{limits}"


def these(n_networks: float) -> str:
    """ "this network" or "these 2 networks"."""
    return "this network" if n_networks == 1 else f"these {number(n_networks, 0)} networks"


def for_these(holds_for: pd.Series) -> str:
    """ " for these 2 networks" if answers do not speak of networks in general."""
    few = holds_for.dropna()
    return f" for {these(few.max())}" if len(few) else ""


def doubt(pair: Pair) -> str:
    """The reason why a difference is not detectable."""
    for metric, row in pair.items():
        name = short_name(metric, row["features"])
        if row["low"] <= 0 <= row["high"]:
            return f"the interval of {name} contains 0"
        if not missing(row.get("adjusted")):
            return f"it is not detectable after correction ({row['adjusted']})"
    return "contrasts.csv does not mark the difference as clear"


def budget(run: Run) -> list[Prose]:
    """Which settings cannot be told from the best, for each number of evaluations."""
    sets = run.best_sets[run.best_sets["mode"] == "pareto"]
    phrases: dict[str, list[str]] = {}
    for evaluations, rows in sets.groupby("budget"):
        members = list(rows["setting"][rows["in_set"]])
        phrase = f"{listed(members)} cannot be told from the best" if len(members) > 1 else "".join(members)
        phrases.setdefault(phrase or "no verdict", []).append(cell("nfe", evaluations))
    if not phrases:
        return []
    uses = [f"At {listed(budgets)} evaluations: {phrase}." for phrase, budgets in phrases.items()]
    scope = for_these(sets["holds_for"])
    how = f"Each answer contains the best of the compared settings{scope} with 95 % confidence."
    return [Prose(f"{' '.join(uses)} {how}", "Which setting for which budget (exploration)")]


def control_failed(run: Run) -> bool:
    """Whether the A/A control shows a difference in either metric between a setting and itself."""
    return any(is_clear(row) for pair in pairs(run.of_kind("control")) for row in pair.values())


def control(run: Run) -> Prose:
    """The result of the A/A control, which must find no difference."""
    found = pairs(run.of_kind("control"))
    if not found:
        return Prose("not measured, so nothing here checks that the intervals are wide enough.", "A/A control")
    row, failed = head(found[0]), control_failed(run)
    sizes = [
        f"{metric_name(metric, run.features)} differs by "
        + interval(metric, row["difference"], row["low"], row["high"], f"{percent(row['level'])} interval ")
        for metric, row in found[0].items()
    ]
    how = "retrained from other seeds" if row["mode"] == "retrained" else "with another sampling seed"
    outcome, more = ": no detectable difference, as it should be", ""
    if row["verdict"] == NO_VERDICT:
        outcome = f": no verdict, because {row['no_verdict']}"
    elif failed:
        outcome = " shows a difference, although both sides are the same setting"
        more = (
            " By chance this happens about once in 20 times per metric. Differences of this size establish nothing in "
            "this report."
        )
    text = f"{row['b']} against itself {how}{outcome}. {'. '.join(sizes)}.{more}"
    return Prose(text, "A/A control failed" if failed else "A/A control")


def conditions(run: Run, *blocks: Prose) -> Section:
    """The section on what qualifies the answer: `blocks`, then the A/A control. Folded."""
    return Section("Conditions and control", [*blocks, control(run)], folded=True)
