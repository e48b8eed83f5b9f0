"""The page on settings that are compared with the first of their group: of `sweep`, and the base of its relatives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from reports import contrast, settings
from reports.conditions import Conditions, conditions
from reports.formats import capital, correction, difference, listed, metric_name, missing, number, plural, scaled, true
from reports.page import Figure, Page, Row, Table
from reports.results import Result
from reports.schema import BETTER, JUDGE, NO_DIFFERENCE, NO_VERDICT

KINDS = ("setting", "tuned")  # contrasts of settings with the first of their group
INTERACTION, MOST = "interaction", 4  # kind of contrast: a difference of differences; how many have a sentence
TERMS = ("MMD ×1000", "FD", "Grain", "Evaluations")


@dataclass(frozen=True)
class Group:
    """The settings of one group and budget: their rows, their contrasts with the baseline, the lowest score first.

    Args:
        tied: the setting of the lowest score, and all settings that cannot be told from it.
        winner: the contrast of the recommended one, if one is detectably better than the baseline.
        why: why there is no verdict.
    """

    section: str
    budget: float
    baseline: str
    rows: pd.DataFrame
    contrasts: pd.DataFrame
    tied: Sequence[str]
    winner: pd.Series | None
    why: str

    @property
    def name(self) -> str:
        """What it is called: its section, with its budget if that is not in it."""
        budget = "" if missing(self.budget) else f"{self.budget:.0f} evaluations"
        return self.section if budget in ("", self.section) else f"{self.section}, {budget}"

    @property
    def use(self) -> str:
        """What to use."""
        return self.baseline if self.winner is None else str(self.winner["a"])

    @property
    def nearest(self) -> pd.Series:
        """The contrast that the headline is about: of the recommended setting, or else of the lowest score."""
        return self.winner if self.winner is not None else self.contrasts.iloc[0]

    def row(self, setting: str) -> pd.Series:
        """The row of a setting."""
        return self.rows[self.rows["setting"] == setting].iloc[0]


@dataclass(frozen=True)
class Words:
    """What a page says: `use` with a setting is the advice, `place` with a group where it holds."""

    use: str = "Use {}"
    place: str = "{}"
    title: str = "How the settings differ"


def page(result: Result, words: Words = Words(), chosen: Callable[[list[Group]], Group] | None = None) -> Page:
    """The page.

    Args:
        words: its own.
        chosen: picks the group of the headline; by default the first.
    """
    groups = read(result)
    source, question = settings.source(result), result.info["question"]
    if not groups:
        text = "Fewer than two settings succeeded with every network."
        if contrast.failed(result):
            lead, text = contrast.failure(result)
            return Page(source, question, lead, text, failed=True, conditions=conditions(result, None, *TERMS))
        also = " ".join(interactions(result, []))
        text = "No setting is compared with the first of its group." if also else text
        return Page(source, question, "No verdict.", text, also=also, conditions=conditions(result, None, *TERMS))
    group = (chosen or (lambda every: every[0]))(groups)
    nearest, failed = group.nearest, contrast.failed(result)
    tables, note = settings_tables(result, groups, words)
    said = contrast.spoken(result, nearest)
    before, after = group.row(group.baseline), group.row(nearest["a"])
    lines = figure(result, groups, words)
    texts = contrast.disagreement(result, nearest) + settings.caveats(result, [before, after])
    texts = [*contrast.unusual(result), *texts, *_passed_over(result, group), *_optimistic(result, group)]
    after_title = "After" if group.winner is not None else "Next"
    return Page(
        source, question, *answer(result, group, words), failed=failed, tables=tables, note=note,
        conditions=conditions(result, nearest, *TERMS, more=_means(result)),
        also="" if failed else " ".join([*_elsewhere(groups, group, words), *interactions(result, groups)]),
        caveat=" ".join(texts),
        slots=contrast.slots(result, nearest, said),
        pictures=settings.pictures(
            result, said["metric"], (before, "Before", group.baseline), (after, after_title, nearest["a"])
        ),
        aside="Same place, same initial noise: compare them one by one.", figures=[lines] if lines else [],
    )  # fmt: skip


def read(result: Result) -> list[Group]:
    """The groups in the order of the table."""
    every, contrasts, sets, groups = settings.rows(result), result.over_networks(), result.best_sets, []
    for (section, budget), rows in every.groupby(["section", "budget"], sort=False, dropna=False):
        members = sets[(sets["section"] == section) & _same(sets["budget"], budget)]
        own = contrasts[(contrasts["section"] == section) & _same(contrasts["budget"], budget)]
        named = own[own["kind"].isin(KINDS)]
        first = named["b"].iloc[0] if len(named) else rows["setting"].iloc[0]
        own = own[(own["b"] == first) & (own["kind"] != "control")].sort_values("value_a", kind="stable")
        if len(rows) < 2 or len(own) == 0:
            continue
        better = own[own["verdict"] == BETTER]
        advised = list(members.loc[members["recommended"].fillna(False).astype(bool), "setting"])
        if members["recommended"].isna().all():  # compare() of a user's study made no set
            advised = list(better["a"])[:1]
        winner = next((row for _, row in better.iterrows() if row["a"] in advised), None)
        tied = [name for name, inside in zip(members["setting"], members["in_set"], strict=True) if true(inside)]
        why = next((text for text in (*own["no_verdict"], *members["no_verdict"]) if not missing(text)), "")
        undecided = len(members) > 0 and members["in_set"].isna().all()  # as where networks of their own are few
        why = "" if (own["verdict"] != NO_VERDICT).any() and not undecided else why
        groups.append(Group(section, budget, first, rows, own, tied if len(tied) > 1 else (), winner, why))
    return groups


def _same(column: pd.Series, value: float) -> pd.Series:
    return column.isna() if missing(value) else column == value


def answer(result: Result, group: Group, words: Words) -> tuple[str, str]:
    """The first words, and a sentence with the effect and its interval."""
    if contrast.failed(result):
        return contrast.failure(result)
    if group.why:
        return "No verdict.", f"{capital(group.why)}."
    nearest = group.nearest
    place = words.place.format(group.name)
    if group.winner is None:
        change, interval = difference(nearest)
        name = metric_name(JUDGE, result.features)
        if len(better := group.contrasts[group.contrasts["verdict"] == BETTER]):
            change, interval = difference(better.iloc[0])
            text = f"{better.iloc[0]['a']} scores lower in {name} (difference {change}; {interval}), "
            return f"Keep {group.baseline}.", f"{text}{_not_recommended(result, group, better.iloc[0])}."
        return (
            f"Keep {group.baseline}.",
            f"No other setting is detectably better; for {nearest['a']} {name} differs by {change} ({interval})"
            f"{correction(nearest)}.",
        )
    said = contrast.spoken(result, group.winner)
    where = "" if missing(group.budget) else f"{place}, "
    size = contrast.size(result, said, "falls")
    return f"{words.use.format(group.use)}{_tie(group)}.", f"{capital(where)}{size}."


def _not_recommended(result: Result, group: Group, better: pd.Series) -> str:
    """Why a setting that is better than the default is not recommended."""
    usual = max(float(result.info.get("statistics", {}).get("grainy", 0.01)), group.row(group.baseline)["grain"])
    if group.row(better["a"])["grain"] > usual:
        return "with more fine noise"
    return f"but the lowest score, that of {group.contrasts.iloc[0]['a']}, is not detectably lower than the default's"


def _tie(group: Group) -> str:
    """How many settings cannot be told from the best, if the recommended one is among them."""
    return f" (tied with {plural(len(group.tied) - 1, 'other')})" if group.use in group.tied else ""


def _grainier(group: Group) -> list[str]:
    """The setting of the lowest score, if it is better than the default, but another one is recommended."""
    better = list(group.contrasts.loc[group.contrasts["verdict"] == BETTER, "a"][:1])
    return [name for name in better if group.winner is not None and name != group.winner["a"]]


def _passed_over(result: Result, group: Group) -> list[str]:
    """What is said of a setting that is not recommended since its samples hold fine noise."""
    name = metric_name(JUDGE, result.features)
    return [
        f"{lowest} has a lower {name}, but fine noise in its samples (grain {settings.grain(group.row(lowest))})."
        for lowest in _grainier(group)
    ]


def _optimistic(result: Result, group: Group) -> list[str]:
    """That a gain was chosen among several, unless it was confirmed on other noise, as that of a race is."""
    if group.winner is None or len(group.rows) < 3 or len(result.race):
        return []
    return [f"Lowest of {len(group.rows)} settings on the same networks: the size of its gain is optimistic."]


def _elsewhere(groups: Sequence[Group], group: Group, words: Words) -> list[str]:
    """What holds in the other groups."""
    said: dict[str, list[str]] = {}
    for one in (each for each in groups if each is not group):
        text = "no verdict" if one.why else f"keep {one.baseline}"
        if one.winner is not None:
            use = words.use.format(one.use)
            text = f"{use[:1].lower()}{use[1:]}{_tie(one)}"
            text += "".join(f"; {lowest} scores lower, with fine noise" for lowest in _grainier(one))
        said.setdefault(text, []).append(words.place.format(one.name))
    return [capital(f"{listed(places)}: {text}.") for text, places in said.items()][:4]


def interactions(result: Result, groups: Sequence[Group]) -> list[str]:
    """Whether effects differ: a sentence per interaction; or that it is not tested, if groups have the same effects."""
    rows, name = _effects(result), metric_name(JUDGE, result.features)
    effects = [(label, one.baseline) for one in groups for label in one.contrasts["a"]]
    if not len(rows) and result.info["experiment"] == "sweep" and len({*effects}) < len(effects):
        return ["Whether an effect differs between groups is not tested."]
    texts = []
    for _, row in rows.head(MOST).iterrows():
        (change, interval), found = difference(row), scaled(JUDGE, row["detectable"])
        size = f"{'better' if row['difference'] < 0 else 'worse'} by {scaled(JUDGE, abs(row['difference']))}"
        says = {
            NO_DIFFERENCE: f"{NO_DIFFERENCE}{correction(row)} ({change}; {interval}; can detect {found})",
            NO_VERDICT: f"no verdict, {row['no_verdict']}",
        }.get(row["verdict"], f"the first is {size} (difference {change}; {interval})")
        first, second = (scaled(JUDGE, row[f"value_{side}"]) for side in "ab")
        texts.append(f"{capital(row['a'])} changes {name} by {first}, {row['b']} by {second}: {says}.")
    left = len(rows) - len(texts)
    return texts + ([f"{plural(left, 'other interaction')} in contrasts.csv."] if left else [])


def _effects(result: Result) -> pd.DataFrame:
    rows = result.over_networks()
    return rows[rows["kind"] == INTERACTION]


def _means(result: Result) -> Conditions:
    rows: Conditions = []
    if len(_effects(result)):
        text = "The difference of two differences, image by image on each network. Below 0 the first is better."
        rows.append(("Interaction", text))
    if len(result.best_sets):
        text = "The settings that cannot be told from that of the lowest score, with 95 % confidence for all."
        rows.append(("Tied", text))
    return rows


def figure(result: Result, groups: Sequence[Group], words: Words) -> Figure | None:
    """The differences from the baseline in every group."""
    sizes, _ = settings.rooms([len(one.contrasts) for one in groups])
    families = {
        capital(words.place.format(one.name)): [
            (row, row["a"], one.baseline) for _, row in one.contrasts.head(size).iterrows()
        ]
        for one, size in zip(groups, sizes, strict=True)
    }
    return contrast.figure(words.title, families, result)


def settings_tables(result: Result, groups: Sequence[Group], words: Words) -> tuple[list[Table], str]:
    """A table per group, best first, and what stands below them."""
    sizes, note = settings.rooms([len(one.rows) for one in groups])
    tables = [_table(result, one, size, words) for one, size in zip(groups, sizes, strict=True)]
    return tables, f"{note}Kernel distance, precision, recall and single runs are in table.csv."


def _table(result: Result, group: Group, size: int, words: Words) -> Table:
    def made(row: pd.Series) -> Row:
        found, name = group.contrasts[group.contrasts["a"] == row["setting"]], row["setting"]
        change, verdict = "", "baseline" if name == group.baseline else ""
        if len(found):
            change, verdict = settings.compared(found.iloc[0])
        verdict = ", ".join(filter(None, [verdict, "tied" if name in group.tied else ""]))
        return settings.table_row(row, change, verdict, name == group.use and not group.why)

    rows = group.rows.sort_values(JUDGE, kind="stable")
    best, use = rows[JUDGE].rank(method="first"), rows["setting"] == group.use
    shown = rows[(best <= size - (use & (best > size)).sum()) | use]
    one = rows.iloc[0]
    title = f"{words.place.format(group.name)}: {number(one['n_samples'], 0)} images from each of "
    title += f"{plural(one['networks'], 'network')}, against {group.baseline}"
    return settings.table(capital(title), result, shown, made)
