"""The pages of what explorers chose and what other networks say of it: `schedules`, `noise_levels`, `tune`, and sweeps.

Results in which nothing was chosen have the page of sweep.py.
"""

import json
from dataclasses import replace

import pandas as pd

from reports import contrast, settings
from reports.details import list_details
from reports.formats import (
    add_correction,
    capital,
    decimals,
    difference,
    is_missing,
    is_set,
    join,
    metric_name,
    number,
    plural,
    scale_metric,
    short,
    spell,
    verdict_words,
)
from reports.page import Code, Column, Figure, Page, Plot, Row, Table
from reports.results import LoadedResult
from reports.schema import BETTER, CONFIRM, EXPLORE, JUDGE, NO_VERDICT

AT_LARGEST = "fewer evaluations"  # kind of contrast: a chosen setting against the default with the most evaluations
DEFAULT = "default"  # kind of setting
MADE_BEFORE = (
    "Made before explore, choose, confirm (December 2026): the same networks tried all settings and judged them, and "
    "verdicts are corrected for all comparisons. A new run answers better."
)
TITLES = {
    "schedules": "The chosen schedule and sampler against the default",
    "noise_levels": "The chosen trainings against the baseline",
    "tune": "The finalists against what you use today",
}
AXES = {"train_noise": "noise levels", "weighting": "weights", "parameterisation": "output", "combination": "all"}
TERMS = ("MMD ×1000", "FD", "Visible noise", "Evaluations")
ETA = "eta 0 is DDIM, Euler steps without fresh noise; eta 1 is DDPM."
EXPLORED = 40  # rows of the folded table


def page(result: LoadedResult) -> Page:
    rows = result.over_networks(kind=CONFIRM)
    if rows.empty:
        return _page_of_before(result)
    row = choose_contrast(result, rows)
    every = settings.summarise_settings(result)
    before, after = (find_setting(every, row, side) for side in "ba")
    figure = draw_figure(result)
    also = [*describe_others(result, rows, row), describe_protocol(result)]
    words = "Before", "After" if is_set(row["recommended"]) else "Compared"
    return contrast.compose_page(
        result, row, phrase_verdict(result, row, before, after), (before, words[0], row["b"]),
        (after, words[1], row["a"]), ((), _caveats(rows)),
        also="" if contrast.has_failed(result) else "\n".join(also), figures=[figure] if figure else [],
        plot=plot_errors(result), codes=read_codes(result), tables=[make_table(result, rows, every)],
        noun="confirmed setting", order="", note="Kernel distance, precision, recall and single runs are in table.csv.",
        details=list_details(result, row, *TERMS), folded=list_explored(result),
    )  # fmt: skip


def _page_of_before(result: LoadedResult) -> Page:
    """The page of a result in which nothing was confirmed."""
    from reports.pages import sweep

    page = sweep.page(result)
    is_part = result.info.get("options", {}).get("only") or result.info["experiment"] not in TITLES
    caveats = [] if is_part else [MADE_BEFORE]
    return replace(page, caveats=[*caveats, *page.caveats])


def choose_contrast(result: LoadedResult, rows: pd.DataFrame) -> pd.Series:
    """The contrast of the headline.

    Of `schedules` and `tune` the recommended one of the fewest evaluations, if it is better than the default with the
    most, that one. Of `noise_levels` that of the noise levels, with the sampler with which the baseline scores best.
    Without anything recommended the largest number of evaluations.
    """
    if result.info["experiment"] == "noise_levels":
        of_levels = rows["choice"].eq("train_noise")
        first = rows[of_levels if of_levels.any() else rows["choice"].eq(rows["choice"].iloc[0])]
        best = first[first["value_b"] == first["value_b"].min()]
        recommended = best[best["recommended"].fillna(False).astype(bool)]
        return (recommended if len(recommended) else best).iloc[0]
    recommended = rows[rows["recommended"].fillna(False).astype(bool)].sort_values("budget")
    beyond = result.over_networks(kind=AT_LARGEST)
    lower = set(beyond.loc[beyond["verdict"] == BETTER, "budget"])
    for candidates in (recommended[recommended["budget"].isin(lower)], recommended):
        if len(candidates):
            return candidates.iloc[0]
    return rows.sort_values(["budget", "value_a"], ascending=[False, True]).iloc[0]


def find_setting(every: pd.DataFrame, row: pd.Series, side: str) -> pd.Series:
    """The row of a setting of a confirmed contrast."""
    chosen = every[(every["section"] == CONFIRM) & (every["setting"] == row[side])]
    same = chosen[chosen["nfe"] == row[f"nfe_{side}"]]
    return (same if len(same) else chosen).iloc[0]


def phrase_verdict(result: LoadedResult, row: pd.Series, before: pd.Series, after: pd.Series) -> tuple[str, str]:
    """What to do, and the effect with its interval."""
    if row["verdict"] == NO_VERDICT:
        return "No verdict.", f"{capital(row['no_verdict'])}."
    where = name_question(result, row)
    shown = contrast.headline_row(result, row)
    if is_set(row["recommended"]):
        text = f"{capital(where)}, {advise(result, before, after)}."
        size = contrast.format_change(result, shown, "falls")
        return text, f"{size[:1].upper()}{size[1:]}{_beyond(result, row)}."
    size = contrast.format_change(result, shown)
    where = "" if _is_training(result) else f"{capital(where)}, "  # of a training its name says how it was sampled
    if row["verdict"] == BETTER:
        text = f"{where}{after['setting']} scores better, but shows more noise."
        return (
            text,
            f"{size}; visible noise {number(row['visible_noise_b'], 3)} and {number(row['visible_noise_a'], 3)}.",
        )
    text = f"{where}no better {'training' if _is_training(result) else 'setting'} is confirmed."
    text = text[:1].upper() + text[1:]
    sides = f"{after['setting']} against {before['setting']}"
    return text, f"{add_correction(f'{sides}: {size}', row)}."


def _beyond(result: LoadedResult, row: pd.Series) -> str:
    """Whether a setting is better than the default with the most evaluations."""
    beyond = result.over_networks(kind=AT_LARGEST)
    beyond = beyond[(beyond["budget"] == row["budget"]) & (beyond["a"] == row["a"]) & (beyond["verdict"] == BETTER)]
    return f", lower than the default with {number(beyond['nfe_b'].iloc[0], 0)}" if len(beyond) else ""


def _is_training(result: LoadedResult) -> bool:
    return bool(result.info["experiment"] == "noise_levels")


def name_question(result: LoadedResult, row: pd.Series) -> str:
    """ "with 16 evaluations", or of trainings "sampled with eta 0"."""
    if _is_training(result):
        return f"sampled with eta {short(row['eta_a'])}"
    return "on other networks" if is_missing(row["budget"]) else f"with {number(row['budget'], 0)} evaluations"


def advise(result: LoadedResult, before: pd.Series, after: pd.Series) -> str:
    """What to do, in lower case."""
    if not _is_training(result):
        return f"use {after['setting']}"
    changed = {name: after[name] for name in settings.TRAINING if after[name] != before[name]}
    if changed == {"parameterisation": "mixture-input"}:
        text = f"the network the {result.unit} as a Gaussian mixture denoises it, as second input"
        return f"give {text} (--parameterisations mixture-input)"
    if [*changed] == ["weighting"]:
        return f"weight the loss by {after['weighting']}"
    return f"train with {join(changed.values())}"


def describe_others(result: LoadedResult, rows: pd.DataFrame, headline: pd.Series) -> list[str]:
    """What the other questions came to, in a line; what the names of samplers mean."""
    texts = list[str]()
    every = settings.summarise_settings(result)
    questions = rows.groupby(["budget", "choice", "b"], sort=False, dropna=False)
    for _, of_question in questions:
        if (of_question["a"] == headline["a"]).any() and (of_question["b"] == headline["b"]).any():
            continue
        chosen = of_question[of_question["recommended"].fillna(False).astype(bool)]
        row = (chosen if len(chosen) else of_question.sort_values("value_a")).iloc[0]
        before, after = (find_setting(every, row, side) for side in "ba")
        change, interval = difference(row)
        text = advise(result, before, after) if len(chosen) else f"{after['setting']}: {verdict_words(row)}"
        where = "" if _is_training(result) and not len(chosen) else f"{name_question(result, row)}: "
        texts.append(f"{capital(where)}{text} ({change}; {interval}).")
    if result.runs["eta"].gt(0).any():
        texts.append(ETA)
    return [" ".join(texts)]


def describe_protocol(result: LoadedResult) -> str:
    """Who chose, and who compared: the two sentences of every page on settings that were chosen."""
    rows = result.choices
    confirmed = result.over_networks(kind=CONFIRM)
    if not len(rows) or not len(confirmed):
        return ""
    explored = rows[rows["networks"].notna()]
    n_networks = confirmed["n_networks"].max()
    opponent = "the chosen" if result.info["experiment"] == "beta" else "the chosen with the default"
    given = not result.table["section"].eq(EXPLORE).any()
    what = "chose one setting per question beforehand" if given else f"tried all {len(explored)} settings and chose"
    if not result.runs["trained_by"].eq("sigmabench").any():
        return f"This network {what}. With other noise it compared {opponent}; the intervals are of that alone."
    n_explorers = explored["networks"].max()
    who = f"{spell(n_explorers)} {'network' if n_explorers == 1 else 'networks'} {what}. " if len(explored) else ""
    others = f"{spell(n_networks)} other {'network' if n_networks == 1 else 'networks'}"
    return f"{who}{others}, with other noise, compared {opponent}; the intervals are theirs alone."


def _caveats(rows: pd.DataFrame) -> list[str]:
    noisier = rows[rows["more_noise"].fillna(False).astype(bool) & (rows["verdict"] == BETTER)]
    return [
        f"{row['a']} scores lower than {row['b']}, but shows more noise ({number(row['visible_noise_a'], 3)}, not "
        f"{number(row['visible_noise_b'], 3)}): it is not recommended."
        for _, row in noisier.drop_duplicates(["a", "b"]).head(2).iterrows()
    ]


def draw_figure(result: LoadedResult) -> Figure | None:
    """The confirmed differences, by question."""
    sections: dict[str, list[tuple[pd.Series, str, str]]] = {}
    for kind in (CONFIRM, AT_LARGEST):
        for _, row in result.over_networks(kind=kind).iterrows():
            heading = capital(name_question(result, row))
            against = row["b"]
            if kind == AT_LARGEST:
                heading = f"Against the default with {number(row['nfe_b'], 0)} evaluations"
            label = row["a"] if kind == CONFIRM else f"{row['a']}, {number(row['nfe_a'], 0)} evaluations"
            sections.setdefault(heading, []).append((row, label, against))
    for _, row in result.over_networks(kind="setting").iterrows():  # of a sweep that has such comparisons too
        sections.setdefault(capital(row["section"]), []).append((row, row["a"], row["b"]))
    title = TITLES.get(result.info["experiment"], "The chosen settings against the default")
    return contrast.draw_differences(title, sections, result)


def make_table(result: LoadedResult, rows: pd.DataFrame, every: pd.DataFrame) -> Table:
    """A row per confirmed comparison; the recommended settings are bold."""
    name = metric_name(JUDGE, result.features)
    heads = [
        Column("Question"), Column("Default", "n", "default "), Column("Chosen", "n", f"{name} "),
        Column("Difference", "wide"), Column("Verdict", "verdicts"), Column("Visible noise", "few", "visible noise "),
    ]  # fmt: skip
    cells = []
    digits = decimals(*(row for _, row in rows.iterrows()), most=2)
    for _, row in rows.head(settings.ROWS).iterrows():
        before, after = (scale_metric(JUDGE, row[name], digits) for name in ("value_b", "value_a"))
        change, verdict = settings.format_comparison(row, digits=digits)
        noise = ""
        if not is_missing(row["visible_noise_a"]):
            noise = f"{number(row['visible_noise_a'], 3)}, default {number(row['visible_noise_b'], 3)}"
        question = name_question(result, row)
        question += f", {AXES[row['choice']]}" if row["choice"] in AXES else ""
        values = [question, before, after, change, verdict, noise]
        strip = find_setting(every, row, "a")["samples_id"]
        cells.append(Row(row["a"], values, strip, is_set(row["recommended"])))
    count = settings.count_images(result, find_setting(every, rows.iloc[0], "a"))
    return Table(f"Confirmed: {name}, {count}", heads, cells)


def list_explored(result: LoadedResult) -> list[Table]:
    """What explorers tried, best first. These networks chose: it is not tested."""
    rows = result.choices[result.choices["networks"].notna()]
    if not len(rows):
        return []
    name = metric_name(JUDGE, result.features)
    heads = [
        Column("Kind"),
        Column("Evaluations", "n"),
        Column("Place", "n"),
        Column(name, "n"),
        Column("Visible noise", "n"),
    ]
    shown = rows.groupby(["budget", "kind"], sort=False, dropna=False).head(
        max(2, EXPLORED // max(1, rows["budget"].nunique()))
    )
    cells = [
        Row(row["setting"], [
            row["kind"] + (", chosen" if is_set(row["chosen"]) else ""), number(row["nfe"], 0), number(row["rank"], 0),
            scale_metric(JUDGE, row[JUDGE]), number(row["visible_noise"], 3),
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
