"""Verdicts on many settings: one is chosen on half of the images and compared with all others on the other half."""

from reports import components
from reports.columns import METRICS
from reports.document import Figure, Prose
from reports.formats import cell, interval, listed, metric_name, percent, plural, times
from reports.results import Run, multiple, pooled
from reports.sentences import Pair, condition, control, control_failed, detectable, head, pairs, scope

SHOWN = 4  # how many differences a sentence lists


def answer(run: Run, kinds: tuple[str, ...], baseline: str) -> list[Prose]:
    """One verdict for each mode that has a choice; then the conditions, the control and the failures.

    Args:
        kinds: kinds of contrasts that hold each setting's score over all images.
        baseline: the label of the baseline.
    """
    found: dict[str, list[Pair]] = {}
    for pair in pairs(run.of_kind("best")):
        found.setdefault(head(pair)["mode"], []).append(pair)
    if not found:
        few = "No setting could be chosen, because fewer than two settings succeeded with every network."
        return [Prose(few, "No verdict"), *components.failures(run)]
    verdicts = [verdict(run, mode, against, kinds, baseline) for mode, against in found.items()]
    every = [pair for against in found.values() for pair in against]
    text = f"Measured on {scope(every[0])}. {condition(every[0])} {exploration(len(every))}"
    return [*verdicts, Prose(text), *control(run), *components.failures(run)]


def exploration(count: int) -> str:
    """The warning that `count` comparisons were made without a correction."""
    return (
        f"All of this is exploration: {plural(count, 'comparison')}, without a correction for their number. About one "
        "interval in 20 misses the truth."
    )


def verdict(run: Run, mode: str, against: list[Pair], kinds: tuple[str, ...], baseline: str) -> Prose:
    """The setting chosen under one mode, how many settings it beats and by how much, and its scores."""
    chosen, count = head(against[0])["a"], len(against)
    by_word: dict[str, list[Pair]] = {}
    for pair in sorted(against, key=lambda pair: -head(pair)["difference"]):
        by_word.setdefault(head(pair)["verdict"], []).append(pair)
    metric = metric_name(head(against[0])["metric"], run.features)
    texts = [f"Numbers are uncorrected differences in {metric}, from the half of the images not used for the choice"]
    for word, phrase in (
        ("better", "Better than"),
        ("no clear difference", "No detectable difference from"),
        ("worse", "Worse than"),
        ("undecided: the metrics disagree", "Undecided, because the metrics disagree, against"),
    ):
        if found := by_word.get(word):
            named = [
                f"“{head(pair)['b']}” {amount(run, pair, first=len(texts) == 1 and pair is found[0])}"
                for pair in found[:SHOWN]
            ]
            some = (", closest first" if word == "better" else ", for example") if len(found) > SHOWN else ""
            texts.append(f"{phrase} {len(found)} of {count}{some}: {'; '.join(named)}")
            if word == "no clear difference":
                texts += [text.removesuffix(".") for text in detectable(run, found)]
    texts.append(
        f"The setting was chosen by {metric_name('kd', run.features)} among {count + 1} settings on the other half"
    )
    names = {side for pair in against for side in (head(pair)["a"], head(pair)["b"])}
    if here := standing(run, mode, chosen, kinds):
        texts.append(f"On all images, including the half used for the choice, {here}")
    if baseline in names and baseline != chosen and (here := standing(run, mode, baseline, kinds)):
        texts.append(f"The baseline {here}")
    wins = len(by_word.get("better", []))
    beaten = f"{f'all {count}' if wins == count else f'{wins} of {count}'} other settings"
    says = f"{chosen} scores better than {'the other setting' if count == 1 else beaten}"
    if wins == 0:
        says = f"{chosen} was chosen, but no other setting is detectably worse"
    unsure = "not established, because the A/A control failed. Measured: " if control_failed(run) else ""
    return Prose(f"{'. '.join(texts)}.", f"{mode[0].upper()}{mode[1:]}: {unsure}{says}.")


def amount(run: Run, pair: Pair, first: bool) -> str:
    """The difference of a pair with its interval. The first one of a list says what the interval is."""
    row = head(pair)
    note = f"{percent(row['level'])} interval " if first else ""
    shown = interval(row["metric"], row["difference"], row["low"], row["high"], note)
    split = row["verdict"] == "no clear difference" and (row["low"] > 0 or row["high"] < 0)
    return f"{shown[:-1]}; the networks disagree in sign)" if split else shown


def standing(run: Run, mode: str, label: str, kinds: tuple[str, ...]) -> str:
    """The scores of a setting over all images: means over networks, and the multiple of the floor."""
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
    return f"“{label}” scores {listed(phrases)}" if phrases else ""


def against_others(run: Run) -> list[Figure]:
    """A forest plot of the chosen setting of each mode against all other settings."""
    best = run.of_kind("best")
    groups = {f"{mode}: the chosen setting against all others": rows for mode, rows in best.groupby("mode", sort=False)}
    text = (
        "The setting chosen on one half of the images against every other setting, on the other half. Below 0, the "
        "chosen setting is better."
    )
    return components.forest(run, "best", groups, text)
