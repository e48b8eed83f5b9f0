"""The page on settings compared with the first of their section: `sweep`, `schedules`, `noise_levels`, `tune`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from reports import contrast, settings
from reports.details import list_details
from reports.formats import (
    add_correction,
    capital,
    difference,
    is_missing,
    is_set,
    join,
    metric_name,
    percent,
    plural,
    scale_metric,
    short,
    values_and_difference,
    verdict_words,
)
from reports.page import Code, Figure, Page, Plot, Row, Table
from reports.results import LoadedResult
from reports.schema import BETTER, CONTROL, JUDGE, NO_DIFFERENCE, NO_VERDICT

KINDS = ("setting", "tuned")  # contrasts of settings with the first of their section
INTERACTION = "interaction"  # kind of contrast: a difference of differences
MOST = 4  # interactions with a sentence
TERMS = ("MMD ×1000", "FD", "Grain", "Evaluations")
SECOND_INPUT = "the network the {unit} as a Gaussian mixture denoises it, as second input"
ETA = "eta 0 is DDIM, Euler steps without fresh noise; eta 1 is DDPM."


@dataclass(frozen=True)
class Section:
    """The settings of one section and budget: their rows, their contrasts with the baseline, the lowest score first.

    Args:
        apart: settings that answer another question than the headline's.
        tied: the set of the best: the lowest score, and all settings that are not distinguishable from it.
        winner: the contrast of the recommended one, if one is detectably better than the baseline.
        no_verdict: why there is no verdict.
    """

    name: str
    budget: float
    baseline: str
    rows: pd.DataFrame
    contrasts: pd.DataFrame
    apart: Sequence[str]
    tied: Sequence[str]
    winner: pd.Series | None
    no_verdict: str

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

    @property
    def other_trainings(self) -> list[str]:
        return list_other_trainings(self.rows, self.baseline)

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
    """What a page says: `use` or `keep` a setting, a `noun`, in a section, its `where`.

    `choose`: the section of the headline.
    """

    title: str = "How the settings differ"
    where: str = "{}"
    use: str = "Use {}"
    keep: str = "Keep {}"
    noun: str = "setting"
    choose: Callable[[Sequence[Section]], Section] = lambda sections: sections[0]


TEXTS = {  # experiment -> its texts
    "sweep": PageTexts(),
    "schedules": PageTexts("How schedules and samplers differ", "with {}", choose=largest),
    "noise_levels": PageTexts("How the trainings differ", "sampled with {}", "Train with {}", noun="distribution",
                              choose=best_baseline),
    "tune": PageTexts("How the finalists differ from your default", "with {}", keep="Keep your default, {}",
                      choose=smallest_gain),
}  # fmt: skip


def page(result: LoadedResult) -> Page:
    sections = read_sections(result)
    codes = read_codes(result)
    if not sections:
        return _empty_page(result, codes)
    if result.info["experiment"] == "compare":
        return _change_page(result, sections)
    texts = TEXTS[result.info["experiment"]]
    section = texts.choose(sections)
    nearest = section.nearest
    tables, note = settings_tables(result, sections, texts)
    figure = draw_figure(result, sections, texts)
    more = [
        *name_better(result, section),
        *_name_worst(result, section, sections, texts),
        *_elsewhere(result, sections, section, texts),
    ]
    more += describe_interactions(result, sections)
    also = "\n".join(filter(None, [" ".join(describe_others(result, section)), " ".join(more)]))
    first = [("Interaction", len(result.over_networks(kind=INTERACTION))), ("Tied", len(result.best_sets))]
    before = (section.row(section.baseline), "Before", section.baseline)
    after = (section.row(nearest["a"]), "Next" if section.winner is None else "After", nearest["a"])
    page = contrast.compose_page(
        result, nearest, phrase_verdict(result, section, texts), before, after,
        ((), _more_caveats(result, section)),
        also="" if contrast.has_failed(result) else also,
        figures=[figure] if figure else [], plot=plot_errors(result), codes=codes, tables=tables,
        note=_describe_race(result) + note,
        details=list_details(result, nearest, *TERMS, first=tuple(term for term, rows in first if rows)),
    )  # fmt: skip
    figures = list(page.key_figures)
    if section.winner is None and len(figures) > 1:  # an effect without a name would be read as that of the advice
        label = figures[0].label.replace("Effect on", f"Effect of {nearest['a']} on")
        figures[0] = replace(figures[0], label=label, role="" if len(section.better) else "effect")
    return replace(page, metric=f"{page.metric}{describe_sampling(result, section, texts)}", key_figures=figures)


def describe_sampling(result: LoadedResult, section: Section, texts: PageTexts) -> str:
    """What the names of samplers mean, and of trainings how they were sampled, for the first screen."""
    experiment = result.info["experiment"]
    text = ""
    run = result.runs.iloc[0]
    sigmas = " to ".join(short(run[name]) for name in ("sigma_max", "sigma_min"))
    if experiment == "schedules":
        text = f" Schedules go from sigma {sigmas}, unless their names say otherwise."
    if experiment == "noise_levels":
        text = f" {capital(texts.where.format(section.name))} on the {run['schedule']} schedule, sigma {sigmas}."
    if experiment in ("schedules", "noise_levels") and result.runs["eta"].gt(0).any():
        text += f" {ETA}"
    return text


def _empty_page(result: LoadedResult, codes: list[Code]) -> Page:
    """The page if nothing is compared with the first of its section."""
    failed = contrast.has_failed(result)
    also = " ".join(describe_interactions(result, []))
    text = "Fewer than two settings succeeded with every network."
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
    sections = sorted(sections, key=lambda section: (bool(section.no_verdict), section.nearest["p_value"]))
    clearest = sections[0]
    row = clearest.nearest
    verdicts = [section.nearest["verdict"] for section in sections]
    size = contrast.format_change(result, contrast.headline_row(result, row))
    text = capital(clearest.no_verdict) or add_correction(f"{clearest.name}: {size}", row)
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
    every = settings.summarise_settings(result)
    contrasts = result.over_networks()
    sections = []
    for (name, budget), rows in every.groupby(["section", "budget"], sort=False, dropna=False):
        members, compared = (
            table[(table["section"] == name) & _equals(table["budget"], budget)]
            for table in (result.best_sets, contrasts)
        )
        usual = compared[compared["kind"].isin(KINDS)]
        first = usual["b"].iloc[0] if len(usual) else rows["setting"].iloc[0]
        compared = compared[(compared["b"] == first) & (compared["kind"] != CONTROL)]
        compared = compared.sort_values("value_a", kind="stable")
        if len(rows) < 2 or len(compared) == 0:
            continue
        apart = list_other_trainings(rows, first) if result.info["experiment"] == "noise_levels" else []
        if {*compared["a"]} <= {*apart}:  # then they are the question
            apart = []
        better = compared[(compared["verdict"] == BETTER) & ~compared["a"].isin(apart)]
        advised = list(members.loc[members["recommended"].fillna(False).astype(bool), "setting"])
        if members["recommended"].isna().all():  # compare() of a user's study made no set
            advised = list(better["a"])[:1]
        winner = next((row for _, row in better.iterrows() if row["a"] in advised), None)
        tied = [member["setting"] for _, member in members.iterrows() if is_set(member["in_set"])]
        tied = [setting for setting in tied if setting not in apart]
        reasons = [text for text in (*compared["no_verdict"], *members["no_verdict"]) if not is_missing(text)]
        undecided = len(members) > 0 and members["in_set"].isna().all()  # as where networks of their own are few
        decided = (compared["verdict"] != NO_VERDICT).any() and not undecided
        no_verdict = "" if decided or not reasons else reasons[0]
        words = "" if is_missing(budget) else f"{budget:.0f} evaluations"
        title = name if words in ("", name) else f"{name}, {words}"
        best = tied if len(tied) > 1 else ()
        sections.append(Section(title, budget, first, rows, compared, apart, best, winner, no_verdict))
    return sections


def list_other_trainings(rows: pd.DataFrame, first: str) -> list[str]:
    """The settings whose weights of the loss or network differ from the first's: no answer on distributions."""
    usual = rows[rows["setting"] == first].iloc[0]
    differ = (rows[["weighting", "parameterisation"]] != usual[["weighting", "parameterisation"]]).any(axis=1)
    return list(rows.loc[differ, "setting"])


def phrase_verdict(result: LoadedResult, section: Section, texts: PageTexts) -> tuple[str, str]:
    """The first words, and a sentence with the effect and its interval."""
    keep = texts.keep.format(name_setting(result, section, section.baseline))
    if section.no_verdict:
        return "No verdict.", f"{capital(section.no_verdict)}."
    if section.winner is not None:
        where = "" if is_missing(section.budget) else f"{texts.where.format(section.name)}, "
        size = contrast.format_change(result, contrast.headline_row(result, section.winner), "falls")
        return f"{advise(result, section, texts)}.", f"{capital(where)}{size}."
    if len(section.better):
        row = section.better.iloc[0]
        change = contrast.format_change(result, contrast.headline_row(result, row), "falls")
        if section.row(row["a"])["grain"] > max(result.rule("grainy"), section.row(section.baseline)["grain"]):
            return (
                f"{keep}: no other is better without fine noise.",
                f"{row['a']} looks noisy, though {change}.",
            )
    row = section.nearest
    *_, change, interval = values_and_difference(row)
    size = f"With {row['a']} {metric_name(JUDGE, result.features)} differs by {change} ({interval})"
    why = (
        "the lowest score is not detectably lower"
        if len(section.better)
        else f"no other {texts.noun} is detectably better"
    )
    return f"{keep}: {why}.", f"{add_correction(size, row)}."


def name_better(result: LoadedResult, section: Section) -> list[str]:
    """The lowest of the settings that are better than the default, if another one, of the lowest score, is not."""
    if section.winner is not None or section.no_verdict or not len(section.better):
        return []
    row = section.better.iloc[0]
    if row["a"] == section.nearest["a"]:
        return []
    change = contrast.format_change(result, contrast.headline_row(result, row), "falls")
    return [f"{row['a']} is better than {section.baseline}, so you may take it: {change}."]


def advise(result: LoadedResult, section: Section, texts: PageTexts) -> str:
    """What to do: use the recommended setting, and with how many it is tied."""
    text = texts.use.format(name_setting(result, section, section.use))
    if result.info["experiment"] == "noise_levels" and section.use in section.other_trainings:
        text, _ = name_training(result, section, section.use)
    return text + (f" (tied with {plural(len(section.tied) - 1, 'other')})" if section.use in section.tied else "")


def name_setting(result: LoadedResult, section: Section, setting: str) -> str:
    """A setting; of noise_levels with its noise distribution, if its training differs in nothing else."""
    if result.info["experiment"] != "noise_levels" or setting in section.other_trainings:
        return setting
    noise = str(section.row(setting)["train_noise"] or setting)
    return noise if noise.startswith(setting.partition("(")[0]) else f"{setting}, {noise}"


def describe_others(result: LoadedResult, section: Section) -> list[str]:
    """What else training may change, in the section of the headline: advice if it is better."""
    texts = list[str]()
    for _, row in section.contrasts[section.contrasts["a"].isin(section.apart)].iterrows():
        advice, topic = name_training(result, section, row["a"])
        name = metric_name(JUDGE, result.features)
        if row["verdict"] == BETTER:
            change, interval = difference(row, -1)
            trained = section.row(row["a"])
            if trained["grain"] > max(result.rule("grainy"), section.row(section.baseline)["grain"]):
                advice = f"{topic} scores better (lower), but looks noisy (grain {settings.format_grain(trained)})"
            texts.append(f"{advice}: {name} falls by {change} ({percent(row['level'])} interval {interval}).")
        else:
            change, interval = difference(row)
            texts.append(f"{topic}: {verdict_words(row)} ({name} {change}; {interval}).")
    return texts


def name_training(result: LoadedResult, section: Section, setting: str) -> tuple[str, str]:
    """What to do, and its name, for a training that differs from the baseline in its weights or its network."""
    row, first = section.row(setting), section.row(section.baseline)
    changed = {name: row[name] for name in settings.TRAINING if row[name] != first[name]}
    if changed == {"parameterisation": "mixture-input"}:
        text = SECOND_INPUT.format(unit=result.unit)
        return f"Give {text} (--parameterisations mixture-input)", f"Giving {text}"
    if [*changed] == ["weighting"]:
        return f"Weight the loss by {row['weighting']}", f"Weighting the loss by {row['weighting']}"
    return f"Train with {setting}", f"Training with {setting}"


def _grainier(section: Section) -> list[str]:
    """The setting of the lowest score, if it is better than the default, but another one is recommended."""
    lowest = list(section.better["a"][:1])
    return [name for name in lowest if section.winner is not None and name != section.winner["a"]]


def _more_caveats(result: LoadedResult, section: Section) -> list[str]:
    """What was passed over for its fine noise; and that a gain was chosen among several, unless it was confirmed."""
    name = metric_name(JUDGE, result.features)
    rows = section.rows[~section.rows["setting"].isin(section.apart)]
    texts = list[str]()
    for lowest in _grainier(section):
        size = settings.format_grain(section.row(lowest))
        texts.append(f"{lowest} scores better (lower) in {name}, but looks noisy (grain {size}).")
    if section.winner is not None and len(rows) > 2 and not len(result.race):  # finalists have other noise
        choice = f"It is the best of {len(rows)} {TEXTS[result.info['experiment']].noun}s on the same networks"
        texts.append(f"{choice}, so its true gain is probably smaller. Its verdict is corrected for this choice.")
    return texts


def _name_worst(result: LoadedResult, headline: Section, sections: Sequence[Section], texts: PageTexts) -> list[str]:
    """The highest score in the section of the headline, if tables are too long to show it."""
    if sum(len(section.rows) for section in sections) <= settings.ROWS:
        return []
    row = headline.rows.loc[headline.rows[JUDGE].idxmax()]
    score = f"{metric_name(JUDGE, result.features)} {scale_metric(JUDGE, row[JUDGE])}"
    where = capital(texts.where.format(headline.name))
    return [f"{where}, the worst of {len(headline.rows)} is {row['setting']} ({score})."]


def _elsewhere(result: LoadedResult, sections: Sequence[Section], headline: Section, texts: PageTexts) -> list[str]:
    """What holds in the other sections."""
    sections_by_text: dict[str, list[str]] = {}
    for section in (section for section in sections if section is not headline):
        text = "no verdict" if section.no_verdict else f"keep {name_setting(result, section, section.baseline)}"
        if name_better(result, section):
            better = section.better.iloc[0]["a"]
            text += f" (the lowest score is not detectably lower), or take {better}, which is better"
        if section.winner is not None:
            use = advise(result, section, texts)
            text = f"{use[:1].lower()}{use[1:]}"
            text += "".join(f"; {lowest} scores better (lower), but looks noisy" for lowest in _grainier(section))
        sections_by_text.setdefault(text, []).append(texts.where.format(section.name))
    return [capital(f"{join(names)}: {text}.") for text, names in sections_by_text.items()][:4]


def describe_interactions(result: LoadedResult, sections: Sequence[Section]) -> list[str]:
    """A sentence on each interaction; or that none is tested, if sections have the same effects."""
    rows = result.over_networks(kind=INTERACTION)
    name = metric_name(JUDGE, result.features)
    effects = [(label, section.baseline) for section in sections for label in section.contrasts["a"]]
    if not len(rows) and result.info["experiment"] == "sweep" and len({*effects}) < len(effects):
        return ["Whether an effect differs between sections is not tested."]
    texts = []
    for _, row in rows.head(MOST).iterrows():
        second, first, change, interval = values_and_difference(row)
        power = scale_metric(JUDGE, row["detectable"])
        size = f"{'better' if row['difference'] < 0 else 'worse'} by {change.removeprefix('−')}"
        outcome = {
            NO_DIFFERENCE: f"{verdict_words(row)} ({change}; {interval}; can detect {power})",
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
        name = row["setting"]
        rows = section.contrasts[section.contrasts["a"] == name]
        change, verdict = "", "baseline" if name == section.baseline else ""
        if len(rows):
            change, verdict = settings.format_comparison(rows.iloc[0])
        verdict = ", ".join(filter(None, [verdict, "tied" if name in section.tied else ""]))
        return settings.table_row(row, change, verdict, name == section.use and not section.no_verdict)

    rows = section.rows.sort_values(JUDGE, kind="stable")
    rank = rows[JUDGE].rank(method="first")
    use = rows["setting"] == section.use
    shown = rows[(rank <= size - (use & (rank > size)).sum()) | use]
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
        "that training did not see, with the same noise for all. Below: how densely training visits the levels, as a "
        "density of ln sigma with its peak at 1."
    )
    return Plot("errors", "Error at each noise level", text, (pd.DataFrame(means), result.densities))


def _describe_race(result: LoadedResult) -> str:
    race = result.race
    if not len(race):
        return ""
    count = plural(len(race.drop_duplicates(["budget", "setting"])), "setting")
    size = plural(race["n_samples"].min(), result.unit)
    confirmed = f"the tables show the best, confirmed on other {result.unit}s"
    return f"{count} raced on {size} each; {confirmed}. race.csv has all. "


def read_codes(result: LoadedResult) -> list[Code]:
    """What can be pasted, from settings.json. Each says whether it was compared with the samples that were measured."""
    path = result.folder / "settings.json"
    codes = list[Code]()
    if not path.is_file():
        return codes
    for setting in json.loads(path.read_text(encoding="utf-8"))["settings"]:
        title = f"{plural(setting['budget'], 'evaluation')}, {setting['setting']}"
        for library, file in sorted(setting["exports"].items(), key=lambda pair: pair[0] != "torch"):
            reason = setting.get("not_compared", {}).get(library)
            note = f" (not compared with our samples: {reason})" if reason else ""
            codes.append(Code(f"{title}: {library}{note}", (result.folder / file).read_text(encoding="utf-8")))
        for library, reason in sorted(setting.get("no_exports", {}).items()):
            codes.append(Code(f"{title}: no code for {library}", f"# {reason}"))
    return codes
