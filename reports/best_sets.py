"""The answer of a report on many settings: in each mode, the set of settings that cannot be told from the best.

The sets come from best_sets.csv. Older runs have no such file. Their sets come from contrasts of kind `best`: a setting
was chosen on half of the images and compared with every other setting on the other half.
"""

from dataclasses import dataclass

import pandas as pd

from reports import components, figures, limits, openings
from reports.columns import METRICS
from reports.document import Figure, Number, Opening, Prose, Section
from reports.formats import cell, interval, listed, metric_name, missing, number, percent, plural
from reports.results import Run, pooled
from reports.sentences import condition, control, pairs, scope

SHOWN = 4  # how many modes the first screen shows
LISTED = 6  # how many settings a sentence lists


@dataclass(frozen=True)
class BestSet:
    """One mode: every setting with its difference from the best (`difference`, `low`, `high`, `in_set`), best first.

    `simplest` takes the fewest evaluations of the set; among equals it is the one that was named first.
    `why_not` is the reason if there is no set.
    """

    mode: str
    budget: float
    settings: pd.DataFrame
    simplest: str
    baseline: str
    why_not: str
    corrected: bool

    @property
    def members(self) -> pd.DataFrame:
        return self.settings[self.settings["in_set"].fillna(False).astype(bool)]

    @property
    def where(self) -> str:
        """The mode for a sentence, for instance "8 evaluations"."""
        return self.mode if missing(self.budget) else plural(self.budget, "evaluation")

    def value(self, setting: str, metric: str) -> float:
        """The score of a setting on all images, a mean over networks."""
        return float(self.settings.loc[self.settings["setting"] == setting, metric].iloc[0])


def read(run: Run) -> list[BestSet]:
    """The best set of each mode, in the order of the table."""
    rows = run.ok(*run.rows["mode"].unique())
    scores = rows.groupby(["mode", "setting"], sort=False)[[*METRICS, "nfe"]].mean().reset_index()
    found = _recorded(run) if len(run.best_sets) else _from_halves(run)
    out = []
    for mode, settings in found.items():
        budget = float(settings["budget"].iloc[0])
        order = scores[scores["mode"] == mode].drop(columns="mode")
        settings = settings.drop(columns=[*METRICS, "nfe"], errors="ignore").merge(order, on="setting", how="left")
        members = settings[settings["in_set"].fillna(False).astype(bool)]
        names = [name for name in order.sort_values("nfe", kind="stable")["setting"] if name in set(members["setting"])]
        why = next((str(text) for text in settings.get("no_verdict", []) if not missing(text)), "")
        if not names and not why:
            why = "no setting has samples that are images yet"
        settings = settings.sort_values("difference", kind="stable").reset_index(drop=True)
        first = order["setting"].iloc[0]
        out.append(BestSet(mode, budget, settings, names[0] if names else "", first, why, bool(len(run.best_sets))))
    return out


def _recorded(run: Run) -> dict[str, pd.DataFrame]:
    return dict(list(run.best_sets.groupby("mode", sort=False)))


def _from_halves(run: Run) -> dict[str, pd.DataFrame]:
    """mode -> settings with their difference from the chosen one, on the half of the images that did not choose."""
    rows = pooled(run.of_kind("best"))
    out = {}
    for mode, against in rows[rows["metric"] == METRICS[0]].groupby("mode", sort=False):
        others = pd.DataFrame({
            "setting": against["b"], "difference": -against["difference"], "low": -against["high"],
            "high": -against["low"], "in_set": against["verdict"] != "better", "best": False,
        })  # fmt: skip
        first = pd.DataFrame([{"setting": against["a"].iloc[0], "difference": 0.0, "in_set": True, "best": True}])
        shared = {name: against[name].iloc[0] for name in ("budget", "level", "interval", "n_networks", "n_samples")}
        out[mode] = pd.concat([first, others], ignore_index=True).assign(**shared)
    return out


def verdict(sets: list[BestSet]) -> str:
    """The best settings, in a sentence of about 20 words."""
    alone = [one for one in sets if len(one.members) == 1]
    tied = [one for one in sets if len(one.members) > 1]
    if not alone and not tied:
        return f"No verdict: {sets[0].why_not}."
    if len(sets) == 1 and alone:
        return f"“{alone[0].simplest}” is better than all {len(alone[0].settings) - 1} others."
    texts = []
    if alone:
        best = dict.fromkeys(one.simplest for one in alone)
        names = listed(f"“{name}”" for name in list(best)[:2])
        texts.append(f"{names} {'is' if len(best) == 1 else 'are'} best at {_where(alone)}.")
    if tied:
        counts = sorted({len(one.members) for one in tied})
        many = " to ".join(dict.fromkeys(number(count, 0) for count in (counts[0], counts[-1])))
        at = "" if len(sets) == 1 else f"At {_where(tied)}, "
        texts.append(f"{at}{many} of {len(tied[0].settings)} settings cannot be told from the best.")
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
    contrast = next((row for _, row in pooled(run.contrasts).iterrows()), None)
    status = openings.status(run, contrast if not len(run.best_sets) else run.best_sets.iloc[0])
    if not sets:
        text = "Fewer than two settings succeeded with every network."
        return Opening(text, "No verdict.", status=status, warnings=openings.warnings(run))
    failed = openings.warnings(run, [row for one in sets for _, row in one.settings[:1].iterrows()])
    lead = "Not established. Measured:" if failed and any(one.simplest for one in sets) else ""
    shown = [sets[at] for at in limits.evenly(len(sets), SHOWN)]
    sure = [openings.sure(run, sets[0].settings.iloc[-1].fillna(""))] if len(shown) < SHOWN else []
    first = sets[0]
    names = {first.baseline: "baseline"} | ({first.simplest: "recommended"} if first.simplest else {})
    if first.simplest == first.baseline:
        names = {first.baseline: "baseline, recommended", first.settings["setting"].iloc[0]: "lowest score"}
    rows = components.first_network(run.ok(first.mode)).set_index("setting")
    labels = {
        rows.loc[name, "samples_id"]: f"{name}, {first.where} ({role})"
        for name, role in names.items()
        if name in rows.index
    }
    return Opening(
        verdict(sets), lead, [*(simplest(run, one) for one in shown), *sure],
        components.strip(run, labels), openings.key(run, "fd"),
        status=status, warnings=failed,
    )  # fmt: skip


def simplest(run: Run, one: BestSet, metric: str = "fd") -> Number:
    """The recommended setting of a mode: its score, its ties, and the score of the baseline."""
    name = metric_name(metric, run.features)
    if not one.simplest:
        return Number("none", one.where, [one.why_not])
    others = len(one.members) - 1
    ties = f"{number(others, 0)} of {number(len(one.settings) - 1, 0)} others tie" if others else "no other ties"
    notes = [one.simplest, ties]
    if one.simplest != one.baseline:
        notes.append(f"baseline: {cell(metric, one.value(one.baseline, metric))}")
    return Number(cell(metric, one.value(one.simplest, metric)), f"{name}, {one.where}", notes)


def details(run: Run) -> Section:
    """The sets in sentences, with conditions, control and failures. Folded."""
    sets = read(run)
    blocks = [Prose(_members(run, one), f"{one.mode[:1].upper()}{one.mode[1:]}") for one in sets]
    if sets:
        best = pairs(run.of_kind("best"))
        how = "" if not best else f"Measured on {scope(best[0])}. {condition(best[0])} "
        rows = sets[0].settings
        made = next((text for text in rows["interval"] if not missing(text)), "")
        if sets[0].corrected:
            how = f"Limits: {made}, corrected for the number of settings. "
        else:
            count = sum(len(one.settings) - 1 for one in sets)
            how += (
                f"{plural(count, 'comparison')}, without a correction for their number: about one interval in 20 "
                "misses the truth. "
            )
        blocks.append(Prose(f"{how}All of this is exploration."))
    blocks += [*control(run), *components.failures(run)]
    return Section("The answer in detail", blocks, folded=True)


def _members(run: Run, one: BestSet) -> str:
    if not one.simplest:
        return f"No verdict: {one.why_not}."
    metric = METRICS[0]
    name, members = metric_name(metric, run.features), one.members
    level = next((percent(value) for value in members["level"] if not missing(value)), "")
    named: list[str] = []
    for _, row in members[~members["best"].fillna(False).astype(bool)].head(LISTED).iterrows():
        note = f"{level} interval " if not named and level else ""
        named.append(f"“{row['setting']}” {interval(metric, row['difference'], row['low'], row['high'], note)}")
    texts = [f"“{one.settings['setting'].iloc[0]}” has the lowest {name}"]
    if named:
        some = ", for example" if len(members) - 1 > len(named) else ""
        texts.append(
            f"{len(members) - 1} of {len(one.settings) - 1} others cannot be told from it{some}: {'; '.join(named)}"
        )
    else:
        texts.append(f"All {len(one.settings) - 1} others are worse")
    if not one.corrected:
        texts.append(f"It was chosen by {name} on half of the images; the differences come from the other half")
    scores = listed(f"{metric_name(m, run.features)} {cell(m, one.value(one.simplest, m))}" for m in METRICS)
    texts.append(f"Use the simplest, “{one.simplest}”: on all images it scores {scores}")
    return f"{'. '.join(texts)}."


def ties(run: Run) -> Section | None:
    """The main figure: the set of each mode, with differences from the best."""
    sets = [one for one in read(run) if one.simplest]
    if not sets:
        return None
    metric = METRICS[0]
    frames = [one.members.iloc[limits.evenly(len(one.members), limits.LINES)] for one in sets]
    heights = [0.25 * len(frame) + 0.62 for frame in frames]
    figure, grid = figures.panels(len(sets), 1, sum(heights) + 0.4, heights)
    for [ax], one, frame in zip(grid, sets, frames, strict=True):
        figures.distances(frame, one.simplest, metric, run.features, ax)
        count = f"{number(len(one.members), 0)} of {number(len(one.settings), 0)} settings"
        ax.set_title(f"{one.where}: {count}")
    grid[-1][0].set_xlabel(f"difference in {metric_name(metric, run.features, long=True)} from the lowest")
    how = "Limits are corrected for the number of settings." if sets[0].corrected else (
        "A setting was chosen on half of the images; the differences come from the other half. Intervals are not "
        "corrected for their number."
    )  # fmt: skip
    made = next((text for text in sets[0].settings["interval"] if not missing(text)), "none")
    text = (
        f"The settings that cannot be told from the best. Left is better. Blue: the simplest of them. {how} "
        f"Intervals: {components.how(str(made))}. {components.place(run)}"
    )
    return Section(
        "The best settings", [Figure("best", figure, "The settings that cannot be told from the best.", text)]
    )


def all_settings(run: Run, kinds: dict[str, str]) -> Section | None:
    """All differences, folded: the chosen setting against all others, or each setting against the first of its mode.

    Args:
        kinds: kind of contrast -> the title of its panels.
    """
    blocks = []
    for kind, title in kinds.items():
        rows = run.of_kind(kind)
        groups = {f"{mode}: {title}": here for mode, here in rows.groupby("mode", sort=False)}
        blocks += components.forest(run, f"all-{kind}", groups, "Below 0, the first setting of a line is better.")
    return Section("All differences", blocks, folded=True)
