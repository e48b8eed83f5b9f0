"""The page of `beta`: does fresh noise in every step give better images?"""

import pandas as pd

from reports import contrast, settings
from reports.details import list_details
from reports.formats import (
    capital,
    correction,
    decimals,
    difference,
    is_missing,
    is_set,
    join,
    metric_name,
    number,
    plural,
    scale_metric,
    values_and_difference,
)
from reports.page import Figure, Page, Plot, Row, SampleGrid, Table
from reports.results import LoadedResult
from reports.schema import BETTER, CONTROL, JUDGE, NO_VERDICT, WORSE

PRIMARY, OTHER = "primary", "other-levels"  # kinds of contrasts: the one of the verdict, and those on other ladders
HEADINGS = {  # kind of contrast -> the heading of its lines
    PRIMARY: "Fresh noise, at {nfe} evaluations",
    "solvers": "Fresh noise, at {nfe} evaluations",
    "same-ladder": "More or less noise, at {nfe} evaluations",
    "pareto": "Fewer evaluations",
    "same-alpha": "Noise added in extra evaluations",
    "final-denoise": "One last denoising step",
    OTHER: "On other levels",
}
WORDS = {BETTER: ("Yes.", "lowers"), WORSE: ("No.", "raises")}
TERMS = ("MMD ×1000", "FD", "Grain", "Evaluations", "eta, beta")
NETWORKS = "The mean of the networks; the band is from the lowest to the highest one."  # below the plot


def page(result: LoadedResult) -> Page:
    rows, question = result.over_networks(), f"Does fresh noise in every step give better {result.unit}s?"
    primary = rows[rows["kind"] == PRIMARY]
    if primary.empty:
        runs = result.table[result.table["section"] == PRIMARY]
        text = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'primary run')} succeeded."
        details = list_details(result, None, *TERMS)
        return Page(settings.describe_source(result), question, "No verdict.", text, details=details)
    row, every = primary.iloc[0], settings.summarise_settings(result)
    first = every[every["section"] == PRIMARY].drop_duplicates("setting").set_index("setting", drop=False)
    before, after = first.loc[row["b"]], first.loc[row["a"]]
    best = {BETTER: after, WORSE: before}.get(row["verdict"])  # neither, without a verdict
    tables, note = settings_tables(result, rows, every, best)
    figure, warnings, caveats = draw_figure(result, rows, row["nfe_a"]), list[str](), list[str]()
    if not is_missing(row["n_planned"]) and row["n_networks"] < row["n_planned"]:
        warnings.append(f"{row['n_networks']:.0f} of {plural(row['n_planned'], 'network')} were compared.")
    if row["verdict"] in WORDS and row["new_network_low"] < 0 < row["new_network_high"]:
        caveats.append("One more network may show no difference.")
    if not result.fixed_beforehand:
        caveats.append("Exploratory: this comparison was not fixed before the run.")
    runs = result.runs[result.runs["section"].isin(["pareto", "same-alpha"]) & (result.runs["nfe"] > 0)]
    values = runs, metric_name("fd", result.features), result.unit
    plot = Plot("quality", "Quality against evaluations", NETWORKS, values)
    return contrast.compose_page(
        result, row, phrase_verdict(result, row), (before, "Before", f"{row['b']}, no fresh noise"),
        (after, "After", f"{row['a']}, fresh noise"), (warnings, caveats), question=question,
        details=list_details(result, row, *TERMS),
        also="" if contrast.has_failed(result) else describe_other_levels(result, rows, every),
        figures=[figure] if figure else [], grid=make_grid(result, every), tables=tables, note=note,
        plot=plot if len(runs) else None,
    )  # fmt: skip


def phrase_verdict(result: LoadedResult, row: pd.Series) -> tuple[str, str]:
    """The first words, and a sentence with the effect and its interval."""
    if row["verdict"] == NO_VERDICT:
        return "No verdict.", f"{capital(row['no_verdict'])}."
    cost = f"{'the same ' if row['nfe_a'] == row['nfe_b'] else ''}{number(row['nfe_a'], 0)}"
    change = contrast.format_change(result, contrast.headline_row(result, row))
    if row["verdict"] not in WORDS:
        return "No difference detected.", f"With {cost} evaluations, without and with fresh noise: {change}."
    lead, verb = WORDS[row["verdict"]]
    return lead, f"With {cost} evaluations, fresh noise {verb} {change}."


def describe_other_levels(result: LoadedResult, rows: pd.DataFrame, every: pd.DataFrame) -> str:
    """Whether the answer hangs on the ladder: what noise does on others, and what a solver reaches without it."""
    judged = rows[(rows["kind"] == OTHER) & (rows["verdict"] != NO_VERDICT)]
    name, texts = metric_name(JUDGE, result.features), list[str]()
    for ladder, members in every[every["section"] == OTHER].groupby("schedule", sort=False):
        own = judged[judged["a"].isin(members["setting"])]
        noise = own[(own["eta_a"] == 1) & (own["eta_b"] == 0)]
        if changes := [f"{row['nfe_a']:.0f} evaluations by {_format_change(row)}" for _, row in noise.iterrows()]:
            row = noise.iloc[0]
            whose = "" if is_missing(row["holds_for"]) else f", for {contrast.name_networks(row)},"
            texts.append(f"On the {ladder} ladder{whose} fresh noise changes {name} with {join(changes)}.")
        for _, row in own[own["nfe_a"] < own["nfe_b"]].nsmallest(1, "value_a").iterrows():
            before, after, *_ = values_and_difference(row)
            texts.append(
                f"{row['a']} with {row['nfe_a']:.0f} evaluations has {after}, {row['b']} with {row['nfe_b']:.0f} on "
                f"the first ladder {before}: difference {_format_change(row, decimals(row))}."
            )
    return " ".join(texts)


def _format_change(row: pd.Series, digits: int = 1) -> str:
    change, interval = difference(row, digits=digits)
    return f"{change} ({interval}; {row['verdict']}{correction(row)})"


def draw_figure(result: LoadedResult, rows: pd.DataFrame, nfe: float) -> Figure | None:
    sections: dict[str, list[tuple[pd.Series, str, str]]] = {}
    for kind, title in HEADINGS.items():
        for _, row in rows[rows["kind"] == kind].iterrows():
            if kind == "pareto" and row["nfe_a"] == nfe:
                continue  # the same runs as on the same ladder
            cost = f", {row['nfe_a']:.0f} evaluations" if kind in ("pareto", "same-alpha", OTHER) else ""
            apart = kind == "same-alpha" or row["nfe_a"] != row["nfe_b"]
            against = row["b"] + (f", {row['nfe_b']:.0f} evaluations" if apart else "")
            heading = title.format(nfe=number(nfe, 0))
            sections.setdefault(heading, []).append((row, f"{row['a']}{cost}", against))
    return contrast.draw_differences("What fresh noise changes", sections, result)


def settings_tables(
    result: LoadedResult, rows: pd.DataFrame, every: pd.DataFrame, best: pd.Series | None
) -> tuple[list[Table], str]:
    """A table per number of images, since only equal numbers are compared."""
    once = every.drop_duplicates(["n_samples", "setting", "sampler", "nfe", "final_denoise"])
    counts = list(dict.fromkeys(once["n_samples"]))
    sizes, note = settings.allot_rows([int((once["n_samples"] == count).sum()) for count in counts])

    def make_row(row: pd.Series) -> Row:
        same = rows[(rows["n_samples"] == row["n_samples"]) & (rows["kind"] != CONTROL)]
        last = same["final_denoise"].fillna(False) == row["final_denoise"]
        a = same[(same["a"] == row["setting"]) & (same["nfe_a"] == row["nfe"]) & last]
        b = same[(same["b"] == row["setting"]) & (same["kind"] == "solvers")]
        change, verdict = "", "baseline"
        if len(a) or len(b):
            change, verdict = settings.format_comparison((a if len(a) else b).iloc[0], flip=not len(a), against=True)
        name = row["setting"] + " + denoising" * is_set(row["final_denoise"])
        recommended = best is not None and (row[["n_samples", "setting"]] == best[["n_samples", "setting"]]).all()
        return settings.table_row(row, change, verdict, recommended, name)

    tables = []
    for count, size in zip(counts, sizes, strict=True):
        part = once[once["n_samples"] == count]
        title = settings.count_images(result, part.loc[part["networks"].idxmax()])
        tables.append(settings.make_table(title, result, part.nsmallest(size, JUDGE), make_row))
    apart = f"Only settings with the same number of {result.unit}s are compared. " if len(tables) > 1 else ""
    return tables, f"{note}{apart}Kernel distance, precision, recall and single runs are in table.csv."


def make_grid(result: LoadedResult, every: pd.DataFrame) -> SampleGrid | None:
    """Quality against evaluations: samples and the score for each eta on ladders of several lengths."""
    ladders = every[every["section"].isin(["pareto", "same-ladder"])].drop_duplicates(["setting", "nfe"])
    costs = sorted(ladders["nfe"].unique())
    if len(costs) < 2:
        return None
    cells = {
        (row["eta"], row["nfe"]): (row["samples_id"], scale_metric(JUDGE, row[JUDGE])) for _, row in ladders.iterrows()
    }
    etas = [(f"eta {eta:g}", [cells.get((eta, cost)) for cost in costs]) for eta in sorted(ladders["eta"].unique())]
    samples = "Four samples" if result.unit == "image" else "Samples"
    title = "Rows: more noise. Columns: more evaluations."
    note = f"{samples} of each setting, from the same initial noise everywhere. The number is MMD ×1000."
    return SampleGrid(title, note, [number(cost, 0) for cost in costs], etas, "evaluations")
