"""Verdicts on many settings: the one chosen on half of the images, measured against all others on the other half."""

from reports import components
from reports.columns import METRICS
from reports.document import Figure, Prose
from reports.formats import cell, interval, listed, metric_name, percent, plural, times
from reports.results import Run, multiple, pooled
from reports.sentences import Pair, condition, control, control_failed, head, pairs, scope

SHOWN = 4  # how many differences a sentence spells out


def answer(run: Run, kinds: tuple[str, ...], baseline: str) -> list[Prose]:
    """One verdict for each mode that has a choice; then what the intervals are, the control, and failures.

    Args:
        kinds: kinds of contrasts that hold each setting's score over all images.
        baseline: what the baseline is called, in words.
    """
    found: dict[str, list[Pair]] = {}
    for pair in pairs(run.of_kind("best")):
        found.setdefault(head(pair)["mode"], []).append(pair)
    if not found:
        few = "No setting could be chosen: fewer than two succeeded with every network."
        return [Prose(few, "No verdict"), *components.failures(run)]
    verdicts = [verdict(run, mode, against, kinds, baseline) for mode, against in found.items()]
    every = [pair for against in found.values() for pair in against]
    count = (
        f"Everything here explores: there are {plural(len(every), 'comparison')} behind these sentences, and about one "
        "interval in 20 misses the truth."
    )
    size = f"Measured on {scope(every[0])}."
    return [*verdicts, Prose(f"{size} {condition(every[0])} {count}"), *control(run), *components.failures(run)]


def verdict(run: Run, mode: str, against: list[Pair], kinds: tuple[str, ...], baseline: str) -> Prose:
    """Which setting is best under one mode, by how much, and from which others it does not clearly differ."""
    chosen, count = head(against[0])["a"], len(against)
    by_word: dict[str, list[Pair]] = {}
    for pair in sorted(against, key=lambda pair: -head(pair)["difference"]):
        by_word.setdefault(head(pair)["verdict"], []).append(pair)
    phrases: list[str] = []
    for word, phrase in (
        ("better", "scores better than"),
        ("no clear difference", "does not clearly differ from"),
        ("worse", "scores worse than"),
        ("undecided: the metrics disagree", "is undecided (the metrics disagree) against"),
    ):
        if here := by_word.get(word):
            named = [
                f"{head(pair)['b']} {amount(run, pair, first=not phrases and pair is here[0])}" for pair in here[:SHOWN]
            ]
            closest = " the closest being" if word == "better" else " such as"
            many = f"{len(here)} of the {count} others,{closest} " if len(here) > SHOWN else ""
            phrases.append(f"{phrase} {many}{listed(named)}")
    text = "; it ".join(phrases)
    names = {side for pair in against for side in (head(pair)["a"], head(pair)["b"])}
    places = [standing(run, mode, chosen, kinds)]
    if baseline in names and baseline != chosen:
        places.append(standing(run, mode, baseline, kinds))
    over_all = f" On all images (half of which chose it): {'; '.join(filter(None, places))}." if any(places) else ""
    unsure = "not established, since the A/A control failed; chosen: " if control_failed(run) else ""
    how = f"chosen by {metric_name('kd', run.features)} among {count + 1} settings on the other half"
    return Prose(
        f"on one half of each network's images it {text} ({how}).{over_all}",
        f"{mode[0].upper()}{mode[1:]}: {unsure}{chosen}",
    )


def amount(run: Run, pair: Pair, first: bool) -> str:
    """The difference of a pair in brackets; the first one says what it is."""
    row = head(pair)
    note = f"{percent(row['level'])} interval " if first else ""
    name = f"{metric_name(row['metric'], run.features)} " if first else ""
    split = row["verdict"] == "no clear difference" and (row["low"] > 0 or row["high"] < 0)
    why = "; the networks disagree in sign" if split else ""
    return f"({name}{interval(row['metric'], row['difference'], row['low'], row['high'], note)}{why})"


def standing(run: Run, mode: str, label: str, kinds: tuple[str, ...]) -> str:
    """What a setting scores over all images, as a mean over networks, and as a multiple of the floor."""
    rows = pooled(run.of_kind(*kinds))
    rows = rows[rows["mode"] == mode]
    phrases = []
    for metric in METRICS:
        for side in "ab":
            here = rows[(rows["metric"] == metric) & (rows[side] == label)]
            if len(here):
                row = here.iloc[0]
                ratio = multiple(row[f"value_{side}"], run.floor(metric, row))
                floors = "" if ratio is None else f" ({times(ratio)} times the floor)"
                name = metric_name(metric, run.features)
                phrases.append(f"{name} {cell('value_a', row[f'value_{side}'], metric)}{floors}")
                break
    return f"{label} scores {listed(phrases)}" if phrases else ""


def against_others(run: Run) -> list[Figure]:
    """The chosen setting of each mode against all others."""
    best = run.of_kind("best")
    groups = {f"{mode}: the chosen against the others": rows for mode, rows in best.groupby("mode", sort=False)}
    text = "The setting chosen on one half of the images against every other, on the other half; below 0: it is better."
    return components.forest(run, "best", groups, text)
