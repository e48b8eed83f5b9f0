"""Sentences from contrasts. They say what contrasts.csv found, and for which network, data and number of images.

A `Pair` is one contrast in both metrics: its pooled rows in kd and fd (either may be absent).
"""

import pandas as pd

from reports.columns import METRICS
from reports.document import Prose
from reports.formats import SPEECH, cell, interval, listed, metric_name, missing, number, percent, times
from reports.results import Run, multiple, pooled

Pair = dict[str, pd.Series]

FEW = 5  # with fewer networks an interval is conditional on them

RELATIONS = {
    "better": "{a} scores better than {b}",
    "worse": "{a} scores worse than {b}",
    "no clear difference": "there is no clear difference between {a} and {b}",
    "undecided: the metrics disagree": "the metrics disagree on {a} against {b}",
    "baseline chosen": "{b} itself was chosen",
}


def pairs(contrasts: pd.DataFrame) -> list[Pair]:
    """The pooled contrasts, kd and fd of each together, in the file's order."""
    rows = pooled(contrasts)
    keys = ["kind", "mode", "a", "b", "n_steps", "nfe_a", "nfe_b", "final_denoise"]
    grouped = rows.groupby(keys, sort=False, dropna=False)
    found = [{row["metric"]: row for _, row in group.iterrows()} for _, group in grouped]
    return [{metric: pair[metric] for metric in METRICS if metric in pair} for pair in found]


def head(pair: Pair) -> pd.Series:
    """The row that speaks for the pair: kd if there is one."""
    return next(iter(pair.values()))


def relation(pair: Pair, betas: bool = False) -> str:
    """ "eta 1 scores better than eta 0", or what the verdict is; `betas` adds the beta of both sides."""
    row = head(pair)
    names = {side: f"{row[side]} (beta {number(row[f'beta_{side}'])})" if betas else row[side] for side in "ab"}
    return RELATIONS[row["verdict"]].format(**names)


def measured(run: Run, pair: Pair, values: bool = True) -> str:
    """Differences with intervals in both metrics; `values` adds both sides' values and the floor."""
    phrases: list[str] = []
    for metric, row in pair.items():
        name = metric_name(metric, run.features)
        note = "" if phrases else f"{percent(row['level'])} interval "
        difference = interval(metric, row["difference"], row["low"], row["high"], note)
        if values:
            sides = " against ".join(cell("value_a", row[side], metric) for side in ("value_a", "value_b"))
            phrases.append(f"{name} is {sides}, a difference of {difference}{_floor(run, metric, row)}")
        else:
            phrases.append(f"{name} differs by {difference}")
    return "; ".join(phrases)


def _floor(run: Run, metric: str, row: pd.Series) -> str:
    floor = run.floor(metric, row)
    if floor is None:
        return ""
    if multiple(1, floor):
        a, b = (times(row[side] / floor["mean"]) for side in ("value_a", "value_b"))
        spread = [cell(name, floor[name], metric) for name in ("mean", "low", "high")]
        among = f", repeats {spread[1]} to {spread[2]}" if floor["repeats"] > 1 else ""
        return f", that is {a} against {b} times the floor ({spread[0]}{among})"
    if floor["repeats"] > 1:
        return f", where real images score {cell('low', floor['low'], metric)} to {cell('high', floor['high'], metric)}"
    return f", where real images score {cell('mean', floor['mean'], metric)}"


def scope(pair: Pair) -> str:
    """Samples, networks, training and data of a contrast, and what its interval is conditional on."""
    row = head(pair)
    n, networks = cell("n_samples", row["n_samples"]), int(row["n_networks"])
    source = "one network" if networks == 1 else f"each of {networks} networks"
    if not missing(row.get("n_planned")) and row["n_planned"] > networks:
        source += f" ({cell('n_planned', row['n_planned'])} were planned)"
    text = f"{n} samples a side from {source} ({row['network']}, {training(row)}, data {row['data']})"
    return text if networks >= FEW else f"{text}, on which the intervals are conditional"


def training(row: pd.Series) -> str:
    """Who trained the network, and on how many images."""
    if row.get("trained_by") == "others":
        return "trained elsewhere"
    seen = cell("images_seen", row["images_seen"])
    return f"{seen} images seen in training" if seen else "training not recorded"


def condition(pair: Pair) -> str:
    """How the interval was made, and what it does not cover."""
    row = head(pair)
    warning = "" if row["n_networks"] >= FEW else " Other networks may answer differently."
    return f"Intervals: {row['interval']}.{warning}" if row["interval"] else f"No intervals.{warning}"


def doubt(pair: Pair) -> str:
    """Why a difference is not clear."""
    for metric, row in pair.items():
        if row["low"] <= 0 <= row["high"]:
            return f"the interval of the {SPEECH[metric]} contains 0"
        if row["n_networks"] > 1 and not missing(row["networks_agree"]) and not row["networks_agree"]:
            return f"the networks disagree on the sign in {SPEECH[metric]}"
    return "the rule of contrasts.csv does not call it clear"


def budget_phrase(pair: Pair) -> str:
    """What to use, from a choice made on half of the images and measured on the other half."""
    row = head(pair)
    chosen, verdict = row["a"], row["verdict"]
    return {
        "better": f"{chosen}",
        "worse": f"{row['b']} (the {chosen} that one half of the images chose scored worse on the other half)",
        "no clear difference": f"no clear difference between {chosen} and {row['b']}",
        "undecided: the metrics disagree": f"undecided between {chosen} and {row['b']} (the metrics disagree)",
        "baseline chosen": f"{row['b']}",
    }[verdict]


def budget(run: Run) -> list[Prose]:
    """One line on what to use for each number of evaluations: from kind `best`, or without it from kind `pareto`."""
    chosen: dict[str, list[str]] = {}
    for pair in sorted(pairs(run.of_kind("best")), key=lambda pair: head(pair)["nfe_a"]):
        if head(pair)["mode"] == "pareto":
            chosen.setdefault(budget_phrase(pair), []).append(cell("nfe", head(pair)["nfe_a"]))
    how = "chosen on half of the images, measured against eta 0 on the other half"
    if not chosen:
        how = "no setting was chosen on held-out images, so this is every setting that beat eta 0: exploration"
        grid: dict[float, list[str]] = {}
        for pair in pairs(run.of_kind("pareto")):
            row = head(pair)
            grid.setdefault(row["nfe_a"], []).extend([row["a"]] if row["verdict"] == "better" else [])
        for nfe, winners in sorted(grid.items()):
            phrase = listed(winners, "or") if winners else "nothing clearly better than eta 0"
            chosen.setdefault(phrase, []).append(cell("nfe", nfe))
    if not chosen:
        return []
    uses = [f"{phrase} at {listed(budgets)} evaluations" for phrase, budgets in chosen.items()]
    return [Prose(f"{'; '.join(uses)} ({how}).", "What to use for a budget (exploration)")]


def price(pair: Pair) -> str:
    """The evaluations that side a costs more (or fewer) than side b."""
    row = head(pair)
    a, b = row["nfe_a"], row["nfe_b"]
    if a == b:
        return f"both take {cell('nfe', a)} evaluations"
    word = "more" if a > b else "fewer"
    return (
        f"{row['a']} takes {cell('nfe', a)} evaluations instead of {cell('nfe', b)}, {cell('nfe', abs(a - b))} {word} "
        f"({number(a / b, 1)} times the cost)"
    )


def control_failed(run: Run) -> bool:
    """Whether either metric told eta 0 from itself under another sampling seed."""
    return any(bool(row["clear"]) for pair in pairs(run.of_kind("control")) for row in pair.values())


def control(run: Run) -> list[Prose]:
    """One line on the A/A control, which must find nothing."""
    found = pairs(run.of_kind("control"))
    if not found:
        return [Prose("not measured, so nothing here checks that the intervals are wide enough.", "A/A control")]
    row, numbers = head(found[0]), measured(run, found[0], values=False)
    how = "retrained from other seeds" if row["mode"] == "retrained" else "with another sampling seed"
    text = f"{row['b']} against itself {how}: "
    if not control_failed(run):
        return [Prose(f"{text}no clear difference, as it should be. {numbers}.", "A/A control")]
    text += (
        f"a clear difference, although both sides are the same setting. {numbers}. By chance this happens about once "
        "in 20 times a metric; it means that differences of this size prove nothing here."
    )
    return [Prose(text, "A/A control failed")]
