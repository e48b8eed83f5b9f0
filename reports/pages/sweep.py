"""The page on settings compared with the first of their section: `sweep`, `schedules`, `noise_levels`, `tune`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import contrast, settings
from reports.details import list_details
from reports.formats import (
    capital,
    correction,
    difference,
    is_missing,
    is_set,
    join,
    metric_name,
    plural,
    scale_metric,
    values_and_difference,
)
from reports.page import Code, Figure, Page, Plot, Row, Table
from reports.results import LoadedResult
from reports.schema import BETTER, CONTROL, JUDGE, NO_DIFFERENCE, NO_VERDICT

KINDS = ("setting", "tuned")  # contrasts of settings with the first of their section
INTERACTION, MOST = "interaction", 4  # kind of contrast: a difference of differences; how many have a sentence
TERMS = ("MMD ×1000", "FD", "Grain", "Evaluations")


@dataclass(frozen=True)
class Section:
    """The settings of one section and budget: their rows, their contrasts with the baseline, the lowest score first.

    Args:
        apart: settings that answer another question than the headline's.
        tied: the setting of the lowest score, and all settings that cannot be told from it.
        winner: the contrast of the recommended one, if one is detectably better than the baseline.
        why: why there is no verdict.
    """

    name: str
    budget: float
    baseline: str
    rows: pd.DataFrame
    contrasts: pd.DataFrame
    apart: Sequence[str]
    tied: Sequence[str]
    winner: pd.Series | None
    why: str

    @property
    def use(self) -> str:
        return self.baseline if self.winner is None else str(self.winner["a"])

    @property
    def nearest(self) -> pd.Series:
        """The contrast that the headline is about: of the recommended setting, or else of the lowest score."""
        return self.winner if self.winner is not None else self.answers.iloc[0]

    @property
    def answers(self) -> pd.DataFrame:
        return self.contrasts[~self.contrasts["a"].isin(self.apart)]

    @property
    def better(self) -> pd.DataFrame:
        return self.answers[self.answers["verdict"] == BETTER]

    def row(self, setting: str) -> pd.Series:
        return self.rows[self.rows["setting"] == setting].iloc[0]


def smallest_gain(sections: Sequence[Section]) -> Section:
    """The smallest budget with a detectable gain, otherwise the largest budget."""
    gains = (section for section in sections if section.winner is not None)
    return min(gains, key=lambda section: section.budget, default=largest(sections))


def largest(sections: Sequence[Section]) -> Section:
    return max(sections, key=lambda section: section.budget)


def best_baseline(sections: Sequence[Section]) -> Section:
    """The section, such as a sampler, with which the baseline scores best."""
    return min(sections, key=lambda section: section.contrasts["value_b"].iloc[0])


@dataclass(frozen=True)
class PageTexts:
    """What a page says: `use` or `keep` a setting in a section, its `where`. `choose`: the section of the headline."""

    title: str = "How the settings differ"
    where: str = "{}"
    use: str = "Use {}"
    keep: str = "Keep {}"
    choose: Callable[[Sequence[Section]], Section] = lambda sections: sections[0]


TEXTS = {  # experiment -> its texts
    "sweep": PageTexts(),
    "schedules": PageTexts("How schedules and samplers differ", "with {}", choose=largest),
    "noise_levels": PageTexts("How the trainings differ", "sampled with {}", "Train with {}", choose=best_baseline),
    "tune": PageTexts("How the finalists differ from your default", "with {}", keep="Keep your default, {}",
                      choose=smallest_gain),
}  # fmt: skip


def page(result: LoadedResult) -> Page:
    sections, codes = read_sections(result), read_codes(result)
    if not sections:
        return _empty_page(result, codes)
    if result.info["experiment"] == "compare":
        return _change_page(result, sections)
    texts = TEXTS[result.info["experiment"]]
    section = texts.choose(sections)
    nearest, failed = section.nearest, contrast.has_failed(result)
    tables, note = settings_tables(result, sections, texts)
    figure = draw_figure(result, sections, texts)
    more = [*describe_others(result, section), *_elsewhere(result, sections, section, texts)]
    more += describe_interactions(result, sections)
    first = [("Interaction", len(result.over_networks(kind=INTERACTION))), ("Tied", len(result.best_sets))]
    before = (section.row(section.baseline), "Before", section.baseline)
    after = (section.row(nearest["a"]), "Next" if section.winner is None else "After", nearest["a"])
    return contrast.compose_page(
        result, nearest, phrase_verdict(result, section, texts), before, after,
        ((), _more_caveats(result, section)),
        also="" if failed else " ".join(more),
        figures=[figure] if figure else [], plot=plot_errors(result), codes=codes, tables=tables,
        note=_describe_race(result) + note,
        details=list_details(result, nearest, *TERMS, first=tuple(term for term, rows in first if rows)),
    )  # fmt: skip


def _empty_page(result: LoadedResult, codes: list[Code]) -> Page:
    """The page if nothing is compared with the first of its section."""
    failed = contrast.has_failed(result)
    also, text = " ".join(describe_interactions(result, [])), "Fewer than two settings succeeded with every network."
    if also:
        text = "No setting is compared with the first of its section."
    elif left := result.info.get("runs_not_begun"):
        text = f"The time was up: {plural(left, 'run')} were not begun. The same command continues from what is stored."
    return Page(
        settings.describe_source(result), result.info["question"],
        *(contrast.explain_failure(result) if failed else ("No verdict.", text)), failed=failed,
        also="" if failed else also, codes=() if failed else codes, details=list_details(result, None, *TERMS),
    )  # fmt: skip


def _change_page(result: LoadedResult, sections: Sequence[Section]) -> Page:
    """The page of `compare`: each of its sections is a setting, before a change and after it."""
    sections = sorted(sections, key=lambda section: (bool(section.why), section.nearest["p_value"]))
    clearest = sections[0]
    row = clearest.nearest
    verdicts = [section.nearest["verdict"] for section in sections]
    size = contrast.format_change(result, contrast.headline_row(result, row))
    text = capital(clearest.why) or f"{clearest.name}: {size}{correction(row)}"
    if len(sections) > 1:
        counts = join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))
        text += f". Of {len(sections)} settings: {counts}"
    lines = [(section.nearest, section.name, section.baseline) for section in sections[: settings.ROWS]]
    figure = contrast.draw_differences("How the settings changed", {"After the change": lines}, result)
    before, after = ((clearest.row(name), capital(name), clearest.name) for name in ("before", "after"))
    return contrast.compose_page(
        result, row, (f"{capital(row['verdict'])}.", f"{text}."), before, after,
        figures=[figure] if figure else [], details=list_details(result, row, *TERMS),
    )  # fmt: skip


def _equals(column: pd.Series, value: Any) -> pd.Series:
    """Where a column has a value, which may be a missing one of any kind."""
    return column.isna() if is_missing(value) else column.eq(value)


def read_sections(result: LoadedResult) -> list[Section]:
    """The sections in the order of the table."""
    every, contrasts, sets, sections = settings.summarise_settings(result), result.over_networks(), result.best_sets, []
    for (name, budget), rows in every.groupby(["section", "budget"], sort=False, dropna=False):
        members, own = (
            table[(table["section"] == name) & _equals(table["budget"], budget)] for table in (sets, contrasts)
        )
        named = own[own["kind"].isin(KINDS)]
        first = named["b"].iloc[0] if len(named) else rows["setting"].iloc[0]
        own = own[(own["b"] == first) & (own["kind"] != CONTROL)].sort_values("value_a", kind="stable")
        if len(rows) < 2 or len(own) == 0:
            continue
        apart = [name for name in own["a"] if name not in {*members["setting"]}]
        apart = apart if result.info["experiment"] == "noise_levels" and len(members) else []
        better = own[own["verdict"] == BETTER]
        advised = list(members.loc[members["recommended"].fillna(False).astype(bool), "setting"])
        if members["recommended"].isna().all():  # compare() of a user's study made no set
            advised = list(better["a"])[:1]
        winner = next((row for _, row in better.iterrows() if row["a"] in advised), None)
        tied = [name for name, inside in zip(members["setting"], members["in_set"], strict=True) if is_set(inside)]
        why = next((text for text in (*own["no_verdict"], *members["no_verdict"]) if not is_missing(text)), "")
        undecided = len(members) > 0 and members["in_set"].isna().all()  # as where networks of their own are few
        why = "" if (own["verdict"] != NO_VERDICT).any() and not undecided else why
        words = "" if is_missing(budget) else f"{budget:.0f} evaluations"
        title = name if words in ("", name) else f"{name}, {words}"
        sections.append(Section(title, budget, first, rows, own, apart, tied if len(tied) > 1 else (), winner, why))
    return sections


def phrase_verdict(result: LoadedResult, section: Section, texts: PageTexts) -> tuple[str, str]:
    """The first words, and a sentence with the effect and its interval."""
    name = metric_name(JUDGE, result.features)
    keep = f"{texts.keep.format(name_setting(result, section, section.baseline))}."
    if section.why:
        return "No verdict.", f"{capital(section.why)}."
    if section.winner is not None:
        where = "" if is_missing(section.budget) else f"{texts.where.format(section.name)}, "
        size = contrast.format_change(result, contrast.headline_row(result, section.winner), "falls")
        return f"{advise(result, section, texts)}.", f"{capital(where)}{size}."
    if len(section.better):
        row = section.better.iloc[0]
        change, interval = difference(row)
        why = f"but the lowest score, that of {section.nearest['a']}, is not detectably lower than the default's"
        if section.row(row["a"])["grain"] > max(result.rule("grainy"), section.row(section.baseline)["grain"]):
            why = "with more fine noise; no other is better without"
        return keep, f"{row['a']} is better (lower) in {name} (difference {change}; {interval}), {why}."
    row = section.nearest
    change, interval = difference(row)
    text = f"No other setting is detectably better; for {row['a']} {name} differs by {change} ({interval})"
    return keep, f"{text}{correction(row)}."


def advise(result: LoadedResult, section: Section, texts: PageTexts) -> str:
    """What to do: use the recommended setting, and with how many it is tied."""
    text = texts.use.format(name_setting(result, section, section.use))
    return text + (f" (tied with {plural(len(section.tied) - 1, 'other')})" if section.use in section.tied else "")


def name_setting(result: LoadedResult, section: Section, setting: str) -> str:
    """A setting by its noise distribution or its second input, if its training differs in nothing else."""
    row, first = section.row(setting), section.row(section.baseline)
    changed = {row[name] for name in settings.TRAINING if row[name] != first[name]}
    if result.info["experiment"] != "noise_levels":
        return setting
    if changed == {"mixture-input"}:
        return f"a second input, the {result.unit} as a mixture of Gaussians denoises it"
    return str(row["train_noise"] or setting) if changed <= {row["train_noise"]} else setting


def describe_others(result: LoadedResult, section: Section) -> list[str]:
    """What else training may change, in the section of the headline."""
    texts = list[str]()
    for _, row in section.contrasts[section.contrasts["a"].isin(section.apart)].iterrows():
        change, interval = difference(row)
        size = f"{metric_name(JUDGE, result.features)} {change}; {interval}"
        name = capital(name_setting(result, section, row["a"]))
        texts.append(f"{name}: {row['verdict']}{correction(row)} ({size}).")
    return texts


def _grainier(section: Section) -> list[str]:
    """The setting of the lowest score, if it is better than the default, but another one is recommended."""
    lowest = list(section.better["a"][:1])
    return [name for name in lowest if section.winner is not None and name != section.winner["a"]]


def _more_caveats(result: LoadedResult, section: Section) -> list[str]:
    """What was passed over for its fine noise; and that a gain was chosen among several, unless it was confirmed."""
    name, count, texts = metric_name(JUDGE, result.features), len(section.rows), list[str]()
    for lowest in _grainier(section):
        size = settings.format_grain(section.row(lowest))
        texts.append(f"{lowest} has a lower {name}, but fine noise in its samples (grain {size}).")
    if section.winner is not None and count > 2 and not len(result.race):  # finalists have other noise
        texts.append(f"Lowest of {count} settings on the same networks: the size of its gain is optimistic.")
    return texts


def _elsewhere(result: LoadedResult, sections: Sequence[Section], headline: Section, texts: PageTexts) -> list[str]:
    """What holds in the other sections."""
    sections_by_text: dict[str, list[str]] = {}
    for section in (section for section in sections if section is not headline):
        text = "no verdict" if section.why else f"keep {section.baseline}"
        if section.winner is not None:
            use = advise(result, section, texts)
            text = f"{use[:1].lower()}{use[1:]}"
            text += "".join(f"; {lowest} is better (lower), with fine noise" for lowest in _grainier(section))
        sections_by_text.setdefault(text, []).append(texts.where.format(section.name))
    return [capital(f"{join(names)}: {text}.") for text, names in sections_by_text.items()][:4]


def describe_interactions(result: LoadedResult, sections: Sequence[Section]) -> list[str]:
    """A sentence on each interaction; or that none is tested, if sections have the same effects."""
    rows, name = result.over_networks(kind=INTERACTION), metric_name(JUDGE, result.features)
    effects = [(label, section.baseline) for section in sections for label in section.contrasts["a"]]
    if not len(rows) and result.info["experiment"] == "sweep" and len({*effects}) < len(effects):
        return ["Whether an effect differs between sections is not tested."]
    texts = []
    for _, row in rows.head(MOST).iterrows():
        second, first, change, interval = values_and_difference(row)
        power = scale_metric(JUDGE, row["detectable"])
        size = f"{'better' if row['difference'] < 0 else 'worse'} by {change.removeprefix('−')}"
        outcome = {
            NO_DIFFERENCE: f"{NO_DIFFERENCE}{correction(row)} ({change}; {interval}; can detect {power})",
            NO_VERDICT: f"no verdict, {row['no_verdict']}",
        }.get(row["verdict"], f"the first is {size} (difference {change}; {interval})")
        texts.append(f"{capital(row['a'])} changes {name} by {first}, {row['b']} by {second}: {outcome}.")
    left = len(rows) - len(texts)
    return texts + ([f"{plural(left, 'other interaction')} in contrasts.csv."] if left else [])


def draw_figure(result: LoadedResult, sections: Sequence[Section], texts: PageTexts) -> Figure | None:
    """The differences from the baseline in every section."""
    sizes, _ = settings.allot_rows([len(section.contrasts) for section in sections])
    parts = {
        capital(texts.where.format(section.name)): [
            (row, row["a"], section.baseline) for _, row in section.contrasts.head(size).iterrows()
        ]
        for section, size in zip(sections, sizes, strict=True)
    }
    return contrast.draw_differences(texts.title, parts, result)


def settings_tables(result: LoadedResult, sections: Sequence[Section], texts: PageTexts) -> tuple[list[Table], str]:
    """A table per section, best first, and what stands below them."""
    sizes, note = settings.allot_rows([len(section.rows) for section in sections])
    tables = [_table(result, section, size, texts) for section, size in zip(sections, sizes, strict=True)]
    return tables, f"{note}Kernel distance, precision, recall and single runs are in table.csv."


def _table(result: LoadedResult, section: Section, size: int, texts: PageTexts) -> Table:
    def make_row(row: pd.Series) -> Row:
        rows, name = section.contrasts[section.contrasts["a"] == row["setting"]], row["setting"]
        change, verdict = "", "baseline" if name == section.baseline else ""
        if len(rows):
            change, verdict = settings.format_comparison(rows.iloc[0])
        verdict = ", ".join(filter(None, [verdict, "tied" if name in section.tied else ""]))
        return settings.table_row(row, change, verdict, name == section.use and not section.why)

    rows = section.rows.sort_values(JUDGE, kind="stable")
    best, use = rows[JUDGE].rank(method="first"), rows["setting"] == section.use
    shown = rows[(best <= size - (use & (best > size)).sum()) | use]
    title = f"{texts.where.format(section.name)}: {settings.count_images(result, rows.iloc[0])}"
    return settings.make_table(capital(f"{title}, against {section.baseline}"), result, shown, make_row)


def plot_errors(result: LoadedResult) -> Plot | None:
    """The error on held-out images at each noise level, if it was measured."""
    curves = result.curves
    if not len(curves) or not len(result.densities):
        return None
    name = curves["train_noise"]
    for column in (curves["weighting"], curves["parameterisation"]):
        name = name + (", " + column).mask(column == column.iloc[0], "")
    means = curves.assign(setting=name).groupby(["setting", "train_noise", "sigma"], sort=False, as_index=False)
    means = means["relative_error"].mean()
    text = (
        f"Below 1 a setting denoises better than {means['setting'].iloc[0]} at that level. Means over "
        f"{plural(curves['train_seed'].nunique(), 'network')}, on {plural(curves['n_images'].iloc[0], result.unit)} "
        "that training did not see, with the same noise for all. Below: how densely training visits the levels."
    )
    return Plot("errors", "Error at each noise level", text, (pd.DataFrame(means), result.densities))


def _describe_race(result: LoadedResult) -> str:
    race, unit = result.race, result.unit
    if not len(race):
        return ""
    count, n = (
        plural(len(race.drop_duplicates(["budget", "setting"])), "setting"),
        plural(race["n_samples"].min(), unit),
    )
    return f"{count} raced on {n} each; the tables show the best, confirmed on other {unit}s. race.csv has all. "


def read_codes(result: LoadedResult) -> list[Code]:
    """What can be pasted, from settings.json. Each says whether it was compared with the samples that were measured."""
    path, codes = result.folder / "settings.json", list[Code]()
    if not path.is_file():
        return codes
    for setting in json.loads(path.read_text(encoding="utf-8"))["settings"]:
        title = f"{plural(setting['budget'], 'evaluation')}, {setting['setting']}"
        for library, file in sorted(setting["exports"].items(), key=lambda pair: pair[0] != "torch"):
            why = setting.get("not_compared", {}).get(library)
            note = f" (not compared with our samples: {why})" if why else ""
            codes.append(Code(f"{title}: {library}{note}", (result.folder / file).read_text(encoding="utf-8")))
        for library, why in sorted(setting.get("no_exports", {}).items()):
            codes.append(Code(f"{title}: no code for {library}", f"# {why}"))
    return codes
