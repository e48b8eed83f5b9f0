"""The pages of what explorers chose and what other networks say of it: `schedules`, `noise_levels`, and sweeps.

Results in which nothing was chosen have the page of sweep.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from reports import confirmed, contrast, settings, snippets
from reports.details import list_details
from reports.formats import (
    add_correction,
    are_set,
    capital,
    decimals,
    difference,
    evaluations,
    is_missing,
    is_set,
    join,
    number,
    percent,
    plural,
    scale_metric,
    short,
)
from reports.page import Code, Column, Curves, Figure, Page, Plot, Row, Table
from reports.pages import sweep
from reports.results import LoadedResult
from reports.schema import AT_LARGEST, BETTER, CONFIRM, MORE, NO_VERDICT, PRIMARY_METRIC

NOT_CONFIRMED = "What was chosen was not confirmed."
TITLES = {
    "schedules": "The chosen schedule and sampler against the default",
    "noise_levels": "The chosen trainings against the baseline",
}
AXES = {"train_noise": "noise levels", "weighting": "weights", "parameterisation": "output", "combination": "training"}
TERMS = ("MMD ×1000", "FD", "Visible noise", "Evaluations")
EXPLORED = 10  # rows of the folded table per question


@dataclass(frozen=True)
class Answer:
    """A setting against what it would replace: a row of contrasts.csv with the settings that it compares.

    Args:
        question: in words: "with 16 evaluations"; of trainings "sampled with eta 0".
        before, after: what is used today and what was chosen, as rows of `summarise_settings`.
    """

    row: pd.Series
    question: str
    before: pd.Series
    after: pd.Series

    @property
    def advised(self) -> bool:
        return is_set(self.row["recommended"])

    @property
    def is_training(self) -> bool:
        return self.row["choice"] in AXES


def page(result: LoadedResult) -> Page:
    rows = result.over_networks(kind=CONFIRM)
    if rows.empty:
        explored = sweep.page(result)
        caveats = [NOT_CONFIRMED] if result.info["experiment"] in TITLES else []
        return replace(explored, caveats=[*caveats, *explored.caveats])
    answers = list_answers(result, rows)
    by_question = [answers[at] for at in choose_by_question(rows).index]
    headline = answers[choose_contrast(result, rows).name]
    advised = [answer for answer in answers.values() if answer.advised]
    shown = headline if headline.advised or not advised else min(advised, key=lambda answer: answer.row["value_a"])
    words = ("Default", "Use") if shown.advised else ("Keep", "Not advised")
    write = snippets.write_training if shown.is_training else snippets.write_sampling
    code = write(shown.after if shown.advised else shown.before)
    advice = phrase_advice(result, [*answers.values()], by_question, headline)
    if shown is not headline:
        advice += f" With {shown.row['a']}, {contrast.format_change(result, shown.row, 'falls')}."
    return contrast.compose_page(
        result, shown.row, phrase_verdict(result, headline),
        (shown.before, words[0], shown.row["b"]), (shown.after, words[1], shown.row["a"]),
        advice=advice, curves=draw_curves(result, by_question),
        figures=draw_figure(result), plot=plot_errors(result),
        codes=list_codes(by_question, code),
        more_facts=[*describe_worst(advised), *snippets.show(code)],
        tables=[make_table(result, [*answers.values()])],
        noun="confirmed setting", order="", note="Kernel distance, precision, recall and single runs are in table.csv.",
        details=list_details(result, *TERMS), folded=list_explored(result),
    )  # fmt: skip


def list_answers(result: LoadedResult, rows: pd.DataFrame) -> dict[Any, Answer]:
    """Returns the answers of confirmers, by the index of its row."""
    every = settings.summarise_settings(result)
    return {
        at: Answer(row, name_question(result, row), *(find_setting(every, row, side) for side in "ba"))
        for at, row in rows.iterrows()
    }


def choose_contrast(result: LoadedResult, rows: pd.DataFrame) -> pd.Series:
    """The contrast of the headline.

    Of samplings the recommended one of the fewest evaluations, or a dearer one that is better than it. Of trainings
    that of the noise levels, with the sampler with which the baseline scores best. Without anything recommended the
    largest number of evaluations.
    """
    if rows["choice"].isin(AXES).any():
        of_levels = rows["choice"].eq("train_noise")
        first = rows[of_levels if of_levels.any() else rows["choice"].eq(rows["choice"].iloc[0])]
        best = first[first["value_b"] == first["value_b"].min()]
        recommended = best[are_set(best["recommended"])]
        return (recommended if len(recommended) else best).iloc[0]
    recommended = rows[are_set(rows["recommended"])].sort_values("budget")
    if len(recommended) and len(result.over_networks(kind=MORE)):
        _, used = find_price(result, recommended)
        places = recommended[["a", "nfe_a"]]
        return recommended[(places == (places if used is None else used[["a", "nfe_a"]])).all(axis=1)].iloc[0]
    beyond = result.over_networks(kind=AT_LARGEST)
    lower = set(beyond.loc[beyond["verdict"] == BETTER, "budget"])
    for candidates in (recommended[recommended["budget"].isin(lower)], recommended):
        if len(candidates):
            return candidates.iloc[0]
    return rows.sort_values(["budget", "value_a"], ascending=[False, True]).iloc[0]


def find_price(result: LoadedResult, recommended: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series | None]:
    """The dearer settings against the cheapest recommended one, and which of them is advised in its place."""
    dearer = confirmed.find_dearer(result, recommended["a"].iloc[0], recommended["nfe_a"].iloc[0])
    places = pd.MultiIndex.from_frame(recommended[["a", "nfe_a"]])
    return dearer, confirmed.choose_dearer(dearer[pd.MultiIndex.from_frame(dearer[["a", "nfe_a"]]).isin(places)])


def choose_by_question(rows: pd.DataFrame) -> pd.DataFrame:
    """One contrast per number of evaluations and default: the recommended one, otherwise the lowest."""
    rows = rows.assign(recommended=are_set(rows["recommended"]))
    rows = rows.sort_values(["recommended", "value_a"], ascending=[False, True]).drop_duplicates(["budget", "b"])
    return rows.sort_values(["budget", "b"])


def find_setting(every: pd.DataFrame, row: pd.Series, side: str) -> pd.Series:
    """The row of a setting of a confirmed contrast."""
    chosen = every[(every["section"] == CONFIRM) & (every["setting"] == row[side])]
    same = chosen[chosen["nfe"] == row[f"nfe_{side}"]]
    return (same if len(same) else chosen).iloc[0]


def phrase_verdict(result: LoadedResult, answer: Answer) -> tuple[str, str]:
    """The finding, and the effect with its interval."""
    row = answer.row
    if row["verdict"] == NO_VERDICT:
        return "No verdict.", f"{capital(row['no_verdict'])}."
    where = "" if answer.is_training else f"{capital(answer.question)}, "  # a training's name says how it was sampled
    size = contrast.format_change(result, row, "falls" if answer.advised else "")
    if answer.advised:
        return f"{where}{row['a']} is better than {row['b']}{_beyond(result, row)}.", f"{size}."
    if row["verdict"] == BETTER:
        return capital(f"{where}keep {row['b']}: {confirmed.describe_noise(result, row)}."), f"{size}."
    text = f"{where}no better setting is confirmed."
    if answer.is_training:
        text = f"No change of {AXES[row['choice']]} is confirmed to help."
    return text, f"{add_correction(f'{row.a} against {row.b}: {size}', row)}."


def phrase_advice(
    result: LoadedResult, answers: Sequence[Answer], by_question: Sequence[Answer], headline: Answer
) -> str:
    """Says what to do: one setting per number of evaluations, or one training; and whether more evaluations help."""
    if headline.row["verdict"] == NO_VERDICT:
        return ""
    uses: dict[str, list[str]] = {}  # what to do -> for which questions
    for answer in by_question:
        use = advise(result, answer) if answer.advised else f"keep {answer.row['b']}"
        uses.setdefault(use, []).append(answer.question)
    text = f"{capital('; '.join(f'{join(names)}, {use}' for use, names in uses.items()))}."
    noisier = [answer.row for answer in answers if answer.row["a"] != headline.row["a"]]
    noisier = [row for row in noisier if is_set(row["more_noise"]) and row["verdict"] == BETTER]
    noisier = sorted(noisier, key=lambda row: row["value_a"])[:2]
    not_advised = [f"{confirmed.describe_noise(result, row)}." for row in noisier]
    advised = pd.DataFrame([answer.row for answer in by_question if answer.advised])
    if len(result.over_networks(kind=MORE)) and len(advised):
        use = f"Use {headline.row['a']} with {evaluations(headline.row['nfe_a'])} evaluations."
        price = confirmed.phrase_price(*find_price(result, advised.sort_values("budget")))
        return " ".join(filter(None, [use, price, *not_advised]))
    if len(advised) and advised["nfe_a"].nunique() > 1:
        best, most = advised.loc[advised["value_a"].idxmin()], advised.iloc[-1]
        if best.name != most.name:
            scores = [
                f"{scale_metric(PRIMARY_METRIC, row['value_a'])} with {number(row['nfe_a'], 0)}" for row in (best, most)
            ]
            text += f" More evaluations are not better here: {join(scores)} (not tested against each other)."
    return " ".join([text, *not_advised])


def describe_worst(advised: Sequence[Answer]) -> list[tuple[str, str]]:
    """Lists what each advised setting scores on its worst network, if there are several."""
    used = sorted(advised, key=lambda answer: answer.row["nfe_a"])
    sides = [answer.after for answer in used if answer.after["networks"] > 1]
    texts = (
        f"{scale_metric(PRIMARY_METRIC, side['worst'])} with {settings.name_with_evaluations(side)}" for side in sides
    )
    return [("Worst network", f"Of {sides[0]['networks']}: {'; '.join(dict.fromkeys(texts))}")] if sides else []


def _beyond(result: LoadedResult, row: pd.Series) -> str:
    """Returns ", even with N" if a setting is better than the default with N, the most evaluations; otherwise ""."""
    beyond = result.over_networks(kind=AT_LARGEST)
    beyond = beyond[(beyond["budget"] == row["budget"]) & (beyond["a"] == row["a"]) & (beyond["verdict"] == BETTER)]
    return f", even with {number(beyond['nfe_b'].iloc[0], 0)}" if len(beyond) else ""


def name_question(result: LoadedResult, row: pd.Series) -> str:
    """ "with 16 evaluations", or of trainings "sampled with eta 0"; without these what the confirmation changed."""
    if row["choice"] in AXES:
        return f"sampled with eta {short(row['eta_a'])}"
    if is_missing(row["budget"]):
        return f"on other {'networks' if result.trained_here else 'noise'}"
    return f"with {number(row['budget'], 0)} evaluations"


def advise(result: LoadedResult, answer: Answer) -> str:
    """Says what to do, in lower case: which setting to use, or how to train."""
    before, after = answer.before, answer.after
    if not answer.is_training:
        return f"use {after['setting']}"
    changed = {name: after[name] for name in settings.TRAINING if after[name] != before[name]}
    if changed == {"parameterisation": "mixture-input"}:
        text = f"the network the {result.unit} as a Gaussian mixture denoises it, as second input"
        return f"give {text} (--parameterisations mixture-input)"
    if [*changed] == ["weighting"]:
        return f"weight the loss by {after['weighting']}"
    return f"train with {join(changed.values())}"


def draw_curves(result: LoadedResult, by_question: Sequence[Answer]) -> Curves | None:
    """The chosen settings and the default against evaluations, if there are several numbers of them."""
    if len(by_question) < 2 or len({answer.row["b"] for answer in by_question}) > 1:
        return None
    points, columns = [], {}
    for answer in by_question:
        row = answer.row
        columns[row["budget"]] = (row["verdict"], [row["a"], *difference(row)])
        for value, name, setting in (
            ("value_b", f"default: {row['b']}", answer.before),
            ("value_a", "chosen", answer.after),
        ):
            values = dict.fromkeys(("value", "low", "high"), row[value]) | {"explored": math.nan}
            points.append({"curve": name, "nfe": row["budget"], **values, "row": setting})
    title = TITLES.get(result.info["experiment"], "The chosen settings against the default")
    confidence = percent(by_question[-1].row["level"])
    note = f"Below: the chosen setting, and its difference from the default, with its {confidence} interval."
    return contrast.draw_curves(result, title, pd.DataFrame(points), columns, note)


def draw_figure(result: LoadedResult) -> list[Figure]:
    """The confirmed differences, by question."""
    sections: dict[str, list[contrast.Labelled]] = {}
    for kind in (CONFIRM, MORE, AT_LARGEST):
        for _, row in result.over_networks(kind=kind).iterrows():
            heading = capital(name_question(result, row))
            against = row["b"]
            if kind == AT_LARGEST:
                heading = f"Against the default with {number(row['nfe_b'], 0)} evaluations"
            if kind == MORE:
                heading = f"Against what was chosen with {number(row['nfe_b'], 0)} evaluations"
            label = row["a"] if kind == CONFIRM else f"{row['a']}, {number(row['nfe_a'], 0)} evaluations"
            sections.setdefault(heading, []).append((row, label, against))
    for _, row in result.over_networks(kind="setting").iterrows():  # of a sweep that has such comparisons too
        sections.setdefault(capital(row["section"]), []).append((row, row["a"], row["b"]))
    title = TITLES.get(result.info["experiment"], "The chosen settings against the default")
    return contrast.draw_differences(title, sections, result)


def make_table(result: LoadedResult, answers: Sequence[Answer]) -> Table:
    """A row per confirmed comparison; the recommended settings are bold."""
    name = result.metric_name()
    heads = [
        Column("Question"), Column("Default", "n", "default "), Column("Chosen", "n", f"{name} "),
        Column("Difference", "wide"), Column("Verdict", "verdicts"), Column("Visible noise", "few", "visible noise "),
    ]  # fmt: skip
    cells = []
    digits = decimals(*(answer.row for answer in answers), most=2)
    for answer in answers[: settings.ROWS]:
        row = answer.row
        before, after = (scale_metric(PRIMARY_METRIC, row[name], digits) for name in ("value_b", "value_a"))
        change, verdict = settings.format_comparison(row, digits=digits)
        noise = ""
        if not is_missing(row["visible_noise_a"]):
            noise = f"{number(row['visible_noise_a'], 3)}, default {number(row['visible_noise_b'], 3)}"
        question = f"{answer.question}, {AXES[row['choice']]}" if answer.is_training else answer.question
        values = [question, before, after, change, verdict, noise]
        cells.append(Row(row["a"], values, answer.after["samples_id"], answer.advised))
    count = settings.count_images(result, answers[0].after)
    return Table(f"Confirmed: {name}, {count}", heads, cells)


def list_explored(result: LoadedResult) -> list[Table]:
    """The table of what explorers tried, best first. These networks chose: it is not tested."""
    rows = result.choices[result.choices["networks"].notna()]
    if not len(rows):
        return []
    name = result.metric_name()
    heads = [
        Column("Kind"),
        Column("Evaluations", "n"),
        Column("Place", "n"),
        Column(name, "n"),
        Column("Visible noise", "n"),
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


def list_codes(by_question: Sequence[Answer], shown: str) -> list[Code]:
    """Code of what is recommended with each number of evaluations, but for that which the first screen shows."""
    sides = [answer.after for answer in by_question if answer.advised and not is_missing(answer.row["budget"])]
    texts = {settings.name_with_evaluations(side): snippets.write_sampling(side) for side in sides}
    return [Code(name, text) for name, text in texts.items() if text not in ("", shown)]
