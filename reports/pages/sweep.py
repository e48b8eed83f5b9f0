"""The page on settings compared with the first of their section: a sweep of yours in which nothing is explored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import confirmed, contrast, settings
from reports.details import list_details
from reports.formats import (
    add_correction,
    capital,
    is_missing,
    is_set,
    join,
    number,
    plural,
)
from reports.page import Figure, Page, Row, Table
from reports.results import LoadedResult
from reports.schema import BETTER, NO_DIFFERENCE, NO_VERDICT, PRIMARY_METRIC, WORSE

MANY = 12  # comparisons of one family
SEVERAL = 4  # sections, from which the verdict counts them
TERMS = ("MMD ×1000", "FD", "Visible noise", "Evaluations")


@dataclass(frozen=True)
class Section:
    """The settings of one section and budget: their rows, their contrasts with the baseline, the lowest score first.

    Args:
        budget: network evaluations; 0 without such a limit.
        winner: the contrast of the recommended one: the lowest that is better and shows no more noise, if there is one.
        no_verdict: why there is no verdict.
    """

    name: str
    budget: float
    baseline: str
    rows: pd.DataFrame
    contrasts: pd.DataFrame
    winner: pd.Series | None
    no_verdict: str

    @property
    def use(self) -> str:
        return self.baseline if self.winner is None else str(self.winner["a"])

    @property
    def nearest(self) -> pd.Series:
        """The contrast that the headline is about: of the recommended setting, or else of the lowest score."""
        return self.winner if self.winner is not None else self.contrasts.iloc[0]

    def row(self, setting: str) -> pd.Series:
        return self.rows[self.rows["setting"] == setting].iloc[0]


def page(result: LoadedResult) -> Page:
    sections = read_sections(result)
    if not sections:
        return empty_page(result)
    section = sections[0]
    nearest = section.nearest
    tables, note = settings_tables(result, sections)
    several = len(sections) >= SEVERAL
    also = [*_elsewhere(sections, None if several else section)]
    effects = [(label, section.baseline) for section in sections for label in section.contrasts["a"]]
    if len({*effects}) < len(effects):
        also.append("Whether an effect differs between sections is not tested; a grid does that (sweep --vary).")
    also += _name_cost(result)
    before = (section.row(section.baseline), "Baseline", section.baseline)
    after = (section.row(nearest["a"]), "Lowest, not advised" if section.winner is None else "Use", nearest["a"])
    verdict, use = phrase_verdict(result, section), "" if section.no_verdict else f"{advise(section)}."
    if several:
        verdict, use = phrase_several(sections), ""
    return contrast.compose_page(
        result, nearest, verdict, before, after, ((), _more_caveats(result, section)), advice=use, also=" ".join(also),
        figures=draw_figure(result, sections), tables=tables, note=note,
        details=list_details(result, *TERMS),
    )  # fmt: skip


def empty_page(result: LoadedResult) -> Page:
    """The page if nothing is compared with the first of its section."""
    text = "Fewer than two settings succeeded with every network."
    if left := result.info.get("runs_not_begun"):
        text = f"The time was up: {plural(left, 'run')} were not begun. The same command continues from what is stored."
    return Page(
        settings.describe_source(result), result.info["question"],
        "No verdict.", text,
        details=list_details(result, *TERMS),
    )  # fmt: skip


def _equals(column: pd.Series, value: Any) -> pd.Series:
    """Where a column has a value, which may be a missing one of any kind."""
    return column.isna() if is_missing(value) else column.eq(value)


def read_sections(result: LoadedResult) -> list[Section]:
    """The sections in the order of the table."""
    every = settings.summarise_settings(result)
    contrasts = result.over_networks()
    sections = []
    for (name, budget), rows in every.groupby(["section", "budget"], sort=False, dropna=False):
        compared = contrasts[(contrasts["section"] == name) & _equals(contrasts["budget"], budget)]
        usual = compared[compared["kind"] == "setting"]
        first = usual["b"].iloc[0] if len(usual) else rows["setting"].iloc[0]
        compared = compared[compared["b"] == first]
        compared = compared.sort_values("value_a", kind="stable")
        if len(rows) < 2 or len(compared) == 0:
            continue
        better = compared[compared["verdict"] == BETTER]
        winner = next((row for _, row in better.iterrows() if not is_set(row["more_noise"])), None)
        reasons = [text for text in compared["no_verdict"] if not is_missing(text)]
        decided = (compared["verdict"] != NO_VERDICT).any()
        no_verdict = "" if decided or not reasons else reasons[0]
        words = "" if is_missing(budget) else f"{budget:.0f} evaluations"
        title = name if words in ("", name) else f"{name.removesuffix(f', {budget:.0f}')}, {words}"
        sections.append(
            Section(title, 0.0 if is_missing(budget) else budget, first, rows, compared, winner, no_verdict)
        )
    return sections


def phrase_verdict(result: LoadedResult, section: Section) -> tuple[str, str]:
    """The first words, and a sentence with the effect and its interval."""
    if section.no_verdict:
        return "No verdict.", f"{capital(section.no_verdict)}."
    row = section.nearest
    size = contrast.format_change(result, row, "falls" if row["difference"] < 0 else "")
    if section.winner is not None:
        return f"{row['a']} is better than {row['b']}.", f"{size}."
    words = {BETTER: "better, but not recommended", NO_DIFFERENCE: "no difference detected"}
    lead = f"{row['a']} against {section.baseline}: {words.get(row['verdict'], row['verdict'])}."
    if row["verdict"] == BETTER and is_set(row["more_noise"]):
        return lead, f"It leaves visible noise ({number(row['visible_noise_a'], 3)}), though {size}."
    return lead, f"{add_correction(contrast.format_change(result, row), row)}."


def phrase_several(sections: Sequence[Section]) -> tuple[str, str]:
    """In how many sections a setting is better than the first, by number of evaluations, and where only worse ones are.

    Then which setting is recommended how often.
    """
    clauses = list[str]()
    for budget in sorted({section.budget for section in sections}, reverse=True):
        of_budget = [section for section in sections if section.budget == budget]
        better = sum(section.winner is not None for section in of_budget)
        clause = f"in {better} of {len(of_budget)} sections{f' with {budget:.0f} evaluations' if budget else ''}"
        verdicts = {section.name: {*section.contrasts["verdict"]} for section in of_budget}
        harmed = [name for name, words in verdicts.items() if WORSE in words and BETTER not in words]
        worse = [f"“{name.removesuffix(f', {budget:.0f} evaluations')}”" for name in harmed]
        clauses.append(f"{clause}{f', and only worse in {join(worse)}' if worse else ''}")
    used = Counter(section.use for section in sections if section.winner is not None)
    recommended = join(f"{name} in {n}" for name, n in used.most_common())
    return f"A setting is better than the first {'; '.join(clauses)}.", f"Recommended: {recommended}." if used else ""


def advise(section: Section) -> str:
    """Says what to do: use the recommended setting, or keep the baseline."""
    return f"{'Keep' if section.winner is None else 'Use'} {section.use}"


def _more_caveats(result: LoadedResult, section: Section) -> list[str]:
    """Names what was passed over for its visible noise; and says that a gain was chosen among several."""
    texts = list[str]()
    better = section.contrasts[section.contrasts["verdict"] == BETTER]
    if section.winner is not None and better["a"].iloc[0] != section.winner["a"]:
        texts.append(f"{confirmed.describe_noise(result, better.iloc[0])}.")
    if section.winner is not None and len(section.rows) > 2:
        choice = f"It is the best of {len(section.rows)} settings on the same networks"
        texts.append(f"{choice}, so its true gain is probably smaller. Its verdict is corrected for this choice.")
    return texts


def _name_cost(result: LoadedResult) -> list[str]:
    """Says what many comparisons cost in power, and what to do instead; nothing if there are few."""
    most = result.over_networks()["n_compared"].max()
    if is_missing(most) or most <= MANY:
        return []
    return [
        f"Verdicts are corrected for {most:.0f} comparisons, which hides smaller differences: an ExploringStudy with "
        "explore() tries them on other networks and tests the best alone (docs/sweeps.md)."
    ]


def _elsewhere(sections: Sequence[Section], headline: Section | None) -> list[str]:
    """Says what holds in the sections that the verdict is not about, in up to six sentences."""
    sections_by_text: dict[str, list[str]] = {}
    for section in (section for section in sections if section is not headline):
        text = "no verdict" if section.no_verdict else f"no setting is recommended over “{section.baseline}”"
        if section.winner is not None:
            use = advise(section)
            text = f"{use[:1].lower()}{use[1:]}"
        sections_by_text.setdefault(text, []).append(section.name)
    return [capital(f"{join(names)}: {text}.") for text, names in sections_by_text.items()][:6]


def draw_figure(result: LoadedResult, sections: Sequence[Section]) -> list[Figure]:
    """The differences from the baseline in every section."""
    sizes, _ = settings.allot_rows([len(section.contrasts) for section in sections])
    parts = {
        capital(section.name): [(row, row["a"], section.baseline) for _, row in section.contrasts.head(size).iterrows()]
        for section, size in zip(sections, sizes, strict=True)
    }
    return contrast.draw_differences("How the settings differ", parts, result)


def settings_tables(result: LoadedResult, sections: Sequence[Section]) -> tuple[list[Table], str]:
    """A table per section, best first, and what stands below them."""
    sizes, note = settings.allot_rows([len(section.rows) for section in sections])
    tables = [_table(result, section, size) for section, size in zip(sections, sizes, strict=True)]
    return tables, f"{note}Kernel distance, precision, recall and single runs are in table.csv."


def _table(result: LoadedResult, section: Section, size: int) -> Table:
    def make_row(row: pd.Series) -> Row:
        name = row["setting"]
        rows = section.contrasts[section.contrasts["a"] == name]
        change, verdict = "", "baseline" if name == section.baseline else ""
        if len(rows):
            change, verdict = settings.format_comparison(rows.iloc[0])
        return settings.table_row(row, change, verdict, name == section.use and not section.no_verdict)

    rows = section.rows.sort_values(PRIMARY_METRIC, kind="stable")
    rank = rows[PRIMARY_METRIC].rank(method="first")
    use = rows["setting"] == section.use
    shown = rows[(rank <= size - (use & (rank > size)).sum()) | use]
    title = f"{section.name}: {settings.count_images(result, rows.iloc[0])}"
    return settings.make_table(capital(f"{title}, against {section.baseline}"), result, shown, make_row)
