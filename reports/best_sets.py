"""The answer of a report on many settings: in each mode, the set of settings that cannot be told from the best."""

from dataclasses import dataclass, replace

import pandas as pd

from reports import components, figures, limits, openings, sentences
from reports.document import Figure, Number, Opening, Prose, Section, Table, table
from reports.formats import cell, interval, listed, metric_name, missing, number, plural
from reports.results import Run
from reports.sentences import for_these

SHOWN = 4  # how many modes the first screen shows


@dataclass(frozen=True)
class BestSet:
    """One mode and budget: the rows of best_sets.csv, the lowest score first.

    `simplest` is the recommended member, and `baseline` the setting that was named first. `why_not` is the reason if
    there is no set.
    """

    mode: str
    budget: float
    settings: pd.DataFrame
    simplest: str
    baseline: str
    why_not: str
    metric: str  # that decides

    @property
    def members(self) -> pd.DataFrame:
        return self.settings[self.settings["in_set"]]

    @property
    def best(self) -> str:
        """The member of the lowest score; "" if there is no set."""
        return str(self.members["setting"].iloc[0]) if self.simplest else ""

    @property
    def tied(self) -> pd.DataFrame:
        """The members that score better than every setting outside the set; only wide intervals keep the others in."""
        trusted = self.settings[self.settings["no_verdict"].map(missing)]
        outside = trusted.drop(self.members.index, errors="ignore")[self.metric].min()
        return self.members if missing(outside) else self.members[self.members[self.metric] < outside]

    @property
    def where(self) -> str:
        """The mode for a sentence, for instance "8 evaluations"."""
        return self.mode if missing(self.budget) else plural(self.budget, "evaluation")

    def value(self, setting: str, metric: str) -> float:
        """The score of a setting on all images, a mean over networks."""
        return float(self.settings.loc[self.settings["setting"] == setting, metric].iloc[0])


def read(run: Run) -> list[BestSet]:
    """The set of each mode and budget, in the order of the file."""
    rows = run.best_sets.rename(columns={"value": run.judge})
    return [_of(here, run.judge) for _, here in rows.groupby(["mode", "budget"], sort=False, dropna=False)]


def _of(rows: pd.DataFrame, metric: str) -> BestSet:
    named = list(rows["setting"][rows["simplest"]])
    why = next((str(text) for text in rows["no_verdict"] if not missing(text)), "")
    if not named and not why:
        why = "no setting is in the set of the best"
    settings = rows.sort_values(metric, kind="stable").reset_index(drop=True)
    first = rows.iloc[0]
    return BestSet(first["mode"], first["budget"], settings, named[0] if named else "", first["setting"], why, metric)


def verdict(sets: list[BestSet]) -> str:
    """The best settings, in a sentence of about 20 words."""
    alone = [one for one in sets if len(one.members) == 1]
    tied = [one for one in sets if len(one.members) > 1]
    if not alone and not tied:
        return f"No verdict: {sets[0].why_not}."
    scope = for_these(pd.concat([one.settings["holds_for"] for one in sets]))
    if len(sets) == 1 and alone:
        known = int(alone[0].settings["no_verdict"].map(missing).sum())
        others = {1: "the others, whose samples are no images", 2: "the other"}.get(known, f"all {known - 1} others")
        return f"“{alone[0].simplest}” is better than {others}{scope}."
    texts = []
    if alone:
        winners = dict.fromkeys(one.simplest for one in alone)
        places = {name: _where([one for one in alone if one.simplest == name]) for name in winners}
        where = listed(f"“{name}” {'' if place else 'is best '}at {places[name]}" for place, name in enumerate(places))
        texts.append(f"{where}{scope if not tied else ''}.")
    if tied:
        counts = sorted({len(one.members) for one in tied})
        many = " to ".join(dict.fromkeys(number(count, 0) for count in (counts[0], counts[-1])))
        at = "" if len(sets) == 1 else f"At {_where(tied)}, "
        sizes = {len(one.settings) for one in tied}
        of = f" of {sizes.pop()}" if len(sizes) == 1 else ""
        texts.append(f"{at}{many}{of} settings cannot be told from the best{scope}.")
        simplest = dict.fromkeys(one.simplest for one in tied)
        if len(simplest) == 1:
            texts.append(f"Use the simplest: “{next(iter(simplest))}”.")
    return " ".join(texts)


def _where(sets: list[BestSet]) -> str:
    if any(missing(one.budget) for one in sets):
        return listed(f"“{one.mode}”" for one in sets) if len(sets) <= 2 else f"{number(len(sets), 0)} modes"
    return f"{listed(number(one.budget, 0) for one in sets)} evaluations"


def opening(run: Run) -> Opening:
    """The first screen: the sets in words, the simplest member of each in numbers, and pictures of the first mode."""
    sets = read(run)
    status = openings.status(run, run.best_sets.iloc[0] if sets else None)
    if not sets:
        text = "Fewer than two settings succeeded with every network."
        return Opening(text, "No verdict.", status=status, warnings=openings.warnings(run))
    doubtful = sentences.control_failed(run) and any(one.simplest for one in sets)
    lead = "Not established. Measured:" if doubtful else ""
    shown = [sets[at] for at in limits.evenly(len(sets), SHOWN)]
    large = [simplest(run, one) for one in shown]
    like = run.ok(shown[0].mode)
    if len(like) and (floor := openings.floor(run, like.iloc[0], "fd")):
        large[0] = replace(large[0], notes=[*large[0].notes, *floor])
    sure = [openings.sure(run, sets[0].settings.iloc[-1].fillna(""))] if len(shown) < SHOWN else []
    chosen = [(one.mode, name) for one in sets for name in (one.simplest, one.baseline) if name]
    alone = [(one.mode, one.simplest) for one in sets if len(one.members) == 1]
    first = sets[0]
    names = {first.baseline: "baseline"} | ({first.simplest: "recommended"} if first.simplest else {})
    if first.simplest == first.baseline:
        names = {first.baseline: "baseline, recommended"}
        names.setdefault(first.settings["setting"].iloc[0], "lowest score")
    labels = {name: f"{name}, {first.where} ({role})" for name, role in names.items()}
    return Opening(
        verdict(sets) + openings.but_grainy(run, alone), lead, [*large, *sure],
        components.strip_of(run, first.mode, labels), openings.key(run, "fd"),
        status=status, warnings=[*openings.warnings(run, closest(run, sets)), *openings.grainy(run, chosen)],
    )  # fmt: skip


def closest(run: Run, sets: list[BestSet]) -> list[tuple[float, pd.Series]]:
    """FD of the best setting of each mode, for `openings.warnings`."""
    return [(one.settings["fd"].iloc[0], run.ok(one.mode).iloc[0]) for one in sets if len(run.ok(one.mode))]


def simplest(run: Run, one: BestSet) -> Number:
    """The simplest member of a mode: its score, its ties, and the score of the baseline."""
    name = metric_name("fd", run.features)
    if not one.simplest:
        return Number("none", one.where, [one.why_not])
    members, settings = (number(len(rows), 0) for rows in (one.members, one.settings))
    standing = f"one of {members} that tie for the best" if len(one.members) > 1 else f"best of {settings} settings"
    notes = [one.simplest, standing]
    if len(one.members) > 1:
        notes.append(f"their lowest {name}: {cell('fd', one.members['fd'].min())}")
    if one.simplest != one.baseline:
        notes.append(f"{one.baseline}: {cell('fd', one.value(one.baseline, 'fd'))}")
    return Number(cell("fd", one.value(one.simplest, "fd")), f"{name}, {one.where}", notes)


def conditions(run: Run) -> Section:
    """How the sets were made, and the control. Folded."""
    sets = read(run)
    if not sets:
        return sentences.conditions(run)
    how = components.how(sets[0].settings.iloc[0])
    text = f"Limits: {how}, corrected for the number of settings. All of this is exploration."
    return sentences.conditions(run, Prose(text))


def ties(run: Run, best: bool = False) -> Section | None:
    """The main figure: the set of each mode, with differences from the best. `best`: it is what is recommended."""
    sets = [one for one in read(run) if one.simplest]
    if not sets:
        return None
    metric = run.judge
    frames = [one.members.iloc[limits.evenly(len(one.members), limits.LINES)] for one in sets]
    heights = [0.25 * len(frame) + 0.62 for frame in frames]
    figure, grid = figures.panels(len(sets), 1, sum(heights) + 0.4, heights)
    for [ax], one, frame in zip(grid, sets, frames, strict=True):
        figures.distances(frame, one.best if best else one.simplest, metric, run.features, ax)
        count = f"{number(len(one.members), 0)} of {number(len(one.settings), 0)} settings"
        ax.set_title(f"{one.where}: {count}")
    grid[-1][0].set_xlabel(f"difference in {metric_name(metric, run.features, long=True)} from the best other setting")
    text = (
        "The settings that cannot be told from the best. Left is better. Blue: the recommended one of them"
        f"{'' if best else ', the first that was named'}. Arrows: limits beyond the axis, of settings whose networks "
        "differ much. Limits are corrected for the number of settings. "
        f"Intervals: {components.how(sets[0].settings.iloc[0])}. {components.place(run)}"
    )
    return Section(
        "The best settings", [Figure("best", figure, "The settings that cannot be told from the best.", text)]
    )


def listing(run: Run) -> list[Table]:
    """Every setting of each mode with its score, and its difference from the best other setting with limits."""
    name, rows = metric_name(run.judge, run.features), []
    for one in read(run):
        for _, row in one.settings.iterrows():
            rows.append({
                "mode": one.where,
                "setting": row["setting"],
                **{metric_name(metric, run.features): cell(metric, row[metric]) for metric in run.metrics},
                f"{name}: from the best other": interval(run.judge, row["difference"], row["low"], row["high"]),
                "cannot be told from the best": _membership(row, one),
            })  # fmt: skip
    if not rows:
        return []
    shown = limits.evenly(len(rows), limits.ROWS)
    text = "Every setting against the best other setting of its mode."
    text += limits.note(len(shown), len(rows), "settings", "best_sets.csv")
    words = ("mode", "setting", "cannot be told from the best")
    return [table(pd.DataFrame(rows).iloc[shown], text, words=words, file=run.directory / "best_sets.csv")]


def _membership(row: pd.Series, one: BestSet) -> str:
    if missing(row["in_set"]):
        return "no verdict"
    return f"yes{', simplest' if row['setting'] == one.simplest else ''}" if row["in_set"] else "no"
