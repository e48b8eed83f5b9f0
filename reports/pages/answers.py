"""The page on comparisons of settings, of any study: what to use, from contrasts.csv, answers.csv and table.csv."""

import pandas as pd

from reports import settings, snippets, words
from reports.details import list_details
from reports.facts import list_facts
from reports.forest import choose_rows, draw_curves, draw_forest
from reports.formats import are_set, capital, is_set, number, plural, scale_metric, verdict_words
from reports.page import Column, Page, Picture, Plot, Row, Table
from reports.results import LoadedResult
from reports.schema import CONFIRM, EFFECTS, EXPLORATION, EXPLORE, IN_USE, NO_VERDICT, PRIMARY, PRIMARY_METRIC, RIVAL

TERMS = ["MMD ×1000", "FD", "Visible noise", "Evaluations"]
EXPLORED = 10  # rows of the folded table per question


def page(result: LoadedResult) -> Page:
    rows = result.judged
    if rows.empty:
        return empty_page(result)
    every = settings.summarise_settings(result)
    effects = rows[rows["family"] == EFFECTS]
    main = choose_main(rows)
    before, after = (settings.find_setting(every, main, side) for side in "ba")
    lead, sentence = phrase_headline(result, rows, main, after)
    advice = words.phrase_advice(result, rows, every)
    if main["family"] == EFFECTS:
        advice = f"Confirm {after['setting']} before you use it: the same command without --no-confirm."
    pictures, aside = show_pictures(result, rows, main, before, after)
    warnings, caveats = find_caveats(result, main, before, after)
    shown = choose_rows(rows)
    tables, note = list_settings(result, every)
    terms = [
        *TERMS,
        *(["eta, beta"] if result.runs["eta"].notna().any() else []),
        *(["Interaction"] if len(effects) else []),
    ]
    return Page(
        settings.describe_source(result), result.question, lead, sentence, advice=advice,
        also="\n".join(words.describe_others(result, rows, main)), warnings=warnings, caveats=caveats,
        facts=[*list_facts(result, main, [before, after]), *snippets.show(write_code(main, before, after))],
        curves=draw_curves(result, rows, every), figures=[draw_forest(result, shown)], plot=plot_errors(result),
        pictures=pictures, aside=aside, tables=[list_comparisons(result, shown), *(tables if len(effects) else [])],
        noun="setting", order="", note=f"{note}Kernel distance and single runs are in table.csv.",
        details=list_details(result, *terms), folded=[*([] if len(effects) else tables), *list_explored(result)],
    )  # fmt: skip


def empty_page(result: LoadedResult) -> Page:
    """The page if nothing could be compared."""
    runs = result.table[result.table["section"] != EXPLORE]
    text = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'run')} succeeded: nothing could be compared."
    if left := result.info.get("runs_not_begun"):
        text = f"The time was up: {plural(left, 'run')} were not begun. The same command continues from what is stored."
    source = settings.describe_source(result)
    return Page(source, result.question, "No verdict.", text, details=list_details(result, *TERMS))


def choose_main(rows: pd.DataFrame) -> pd.Series:
    """The comparison of the headline: of the questions whose answer counts most an advised one, or the lowest.

    Without something in use or a rival it is the clearest change.
    """
    families = [CONFIRM, PRIMARY, EXPLORATION, EFFECTS]
    family = next(name for name in families if rows["family"].eq(name).any())
    asked = rows[rows["family"] == family]
    questions = asked[asked["b_is"].isin([IN_USE, RIVAL])]
    if questions.empty:
        return asked.sort_values("p").iloc[0]
    advised = asked[are_set(asked["advised"])].sort_values("value_a", kind="stable")
    if advised.empty:
        return questions.sort_values("value_a", kind="stable").iloc[0]
    first = advised.iloc[0]
    same = questions[questions["use"].eq(first["use"]) & questions["nfe"].eq(first["nfe"])]
    return same.iloc[-1] if len(same) and first["b_is"] != IN_USE else first


def phrase_headline(result: LoadedResult, rows: pd.DataFrame, main: pd.Series, after: pd.Series) -> tuple[str, str]:
    """The finding, with what was fixed beforehand, or of a grid what its factors change."""
    effects = rows[rows["family"] == EFFECTS]
    if main["family"] == EFFECTS:
        score = f"{settings.format_scores(result, after)}, visible noise {settings.format_noise(after)}"
        sentence = f"Lowest: {after['setting']}, {score}; not confirmed on other networks."
        return words.phrase_effects(result, effects), sentence
    if len(effects):
        change = f"{verdict_words(main)}, {words.format_change(result, main)}"
        change = f"{NO_VERDICT}, {main['reason']}" if main["verdict"] == NO_VERDICT else change
        return words.phrase_effects(result, effects), f"{main['question']}: {main['a']}, {change}."
    lead, sentence = words.phrase_finding(result, rows, main)
    primary = rows[rows["family"] == PRIMARY]
    if main["family"] == PRIMARY or primary.empty:
        return lead, sentence
    row = primary.iloc[0]
    if main["b_is"] != RIVAL:
        return lead, f"{sentence} {words.phrase_primary(row)}."
    change = words.format_change(result, row).partition(" (")[0]
    return lead, f"{words.phrase_primary(row)}: {row['reason'] if row['verdict'] == NO_VERDICT else change}."


def find_caveats(
    result: LoadedResult, main: pd.Series, before: pd.Series, after: pd.Series
) -> tuple[list[str], list[str]]:
    """Warnings and caveats on the main comparison and the settings that it compares."""
    warnings, caveats = settings.find_caveats(result, [before, after])
    warnings += words.find_disagreement(result, main) + words.find_other_order(result, main)
    families = {*result.judged["family"]}
    if PRIMARY in families and not result.fixed_beforehand:
        caveats.append("Exploratory: this comparison was not fixed before the run.")
    if len(result.choices) and CONFIRM not in families:
        caveats.append("What was chosen was not confirmed.")
    return warnings, caveats


def show_pictures(
    result: LoadedResult, rows: pd.DataFrame, main: pd.Series, before: pd.Series, after: pd.Series
) -> tuple[list[Picture], str]:
    """The pictures of both sides, titled by what to do with them, and what they show."""
    advised = rows[are_set(rows["advised"])]
    places = {*zip(advised["use"], advised["nfe"], strict=True)}
    titles = {"a": "Compared", "b": {IN_USE: "In use", RIVAL: "Rival"}.get(main["b_is"], "First")}
    for side in "ab":
        if main["use"] == main[side]:
            titles[side] = "Use" if (main[side], main[f"nfe_{side}"]) in places else "Keep"
    sides = [(before, titles["b"]), (after, titles["a"])]
    pictures = settings.show_pictures(
        result, *((side, title, settings.name_with_evaluations(side)) for side, title in sides)
    )
    if len(pictures) < 3:
        return pictures, ""
    if result.unit == "point":
        return pictures, "Pairs of neighbouring coordinates, 500 points: the same axes, and the same initial noise."
    same = before["sample_seed"] == after["sample_seed"]
    place = f" “{titles['b']}” and “{titles['a']}” start from the same noise: compare them place by place."
    return pictures, f"The first of each.{place if same else ''}"


def write_code(main: pd.Series, before: pd.Series, after: pd.Series) -> str:
    """Code of what to use: its training if that is what was compared, otherwise its sampling."""
    use = {main["a"]: after, main["b"]: before}.get(main["use"])
    if use is None:
        return ""
    trained = before[settings.TRAINING].ne(after[settings.TRAINING]).any()
    return snippets.write_training(use) if trained else snippets.write_sampling(use)


def list_comparisons(result: LoadedResult, rows: pd.DataFrame) -> Table:
    """A row per comparison; the advised ones are bold."""
    every = settings.summarise_settings(result)
    heads = [
        Column("Question"), Column("Against"), Column(f"Difference in {result.metric_name()}", "wide"),
        Column("Precision", "n", "precision "), Column("Recall", "n", "recall "), Column("Verdict", "verdicts"),
    ]  # fmt: skip
    cells = []
    for _, row in rows.iterrows():
        change, verdict = settings.format_comparison(row)
        others = [result.beside(row, name) for name in ("precision", "recall")]
        quality = ["" if other is None else number(other["difference"], 2) for other in others]
        strip = settings.find_setting(every, row, "a")["samples_id"] if row["family"] != EFFECTS else ""
        values = [row["asked"], row["name_b"], change, *quality, verdict]
        cells.append(Row(row["name_a"], values, strip, is_set(row["advised"]) and row["use"] == row["a"]))
    return Table(f"Differences: a value below 0 is nearer to real {result.unit}s", heads, cells)


def list_settings(result: LoadedResult, every: pd.DataFrame) -> tuple[list[Table], str]:
    """A table of settings per section, number of images and of networks, and what to say of those left out."""
    parts = [part for _, part in every.groupby(["section", "n_samples", "networks"], sort=False)]
    sizes, note = settings.allot_rows([len(part) for part in parts])
    tables = []
    for part, size in zip(parts, sizes, strict=True):
        section = part["section"].iloc[0]
        title = f"{capital(section)}: {settings.count_images(result, part.iloc[0])}"
        best = part.nsmallest(size, PRIMARY_METRIC)
        tables += [settings.make_table(title, result, best, settings.table_row)] if size else []
    return tables, note


def list_explored(result: LoadedResult) -> list[Table]:
    """The table of what explorers tried, best first. These networks chose: it is not tested."""
    rows = result.choices[result.choices["networks"].notna()]
    if not len(rows):
        return []
    heads = [
        Column("Kind"),
        *(Column(head, "n") for head in ("Evaluations", "Place", result.metric_name(), "Visible noise")),
    ]
    shown = rows.groupby(["budget", "kind"], sort=False, dropna=False).head(EXPLORED)
    cells = [
        Row(row["setting"], [
            row["kind"] + (", chosen" if is_set(row["chosen"]) else ""), number(row["nfe"], 0), number(row["rank"], 0),
            scale_metric(PRIMARY_METRIC, row[PRIMARY_METRIC]), number(row["visible_noise"], 3),
        ], best=is_set(row["chosen"]))
        for _, row in shown.iterrows()
    ]  # fmt: skip
    networks = f"{plural(rows['networks'].max(), 'network')} × {plural(rows['n'].max(), result.unit)}"
    return [Table(f"Explored: {networks}. These networks chose; not tested", heads, cells)]


def plot_errors(result: LoadedResult) -> Plot | None:
    """The error on held-out images at each noise level, if it was measured."""
    curves = result.curves
    if not len(curves) or not len(result.densities):
        return None
    names = result.table.drop_duplicates("model_id").set_index("model_id")["setting"].str.rpartition(", ")[0]
    means = curves.assign(setting=curves["model_id"].map(names))
    means = means.groupby(["setting", "train_noise", "sigma"], sort=False, as_index=False)["relative_error"].mean()
    text = (
        f"Below 1 a setting denoises better than {means['setting'].iloc[0]} at that level. Means over "
        f"{plural(curves['train_seed'].nunique(), 'network')}, on {plural(curves['n_images'].iloc[0], result.unit)} "
        "that training did not see, with the same noise for all. Below: how densely training visits the levels, as a "
        "density of ln sigma with its peak at 1."
    )
    return Plot("errors", "Error at each noise level", text, (pd.DataFrame(means), result.densities))
