"""The page of `beta`: does fresh noise in every step give better images?"""

from dataclasses import replace

import pandas as pd

from reports import contrast, figures, settings
from reports.conditions import conditions
from reports.formats import capital, correction, difference, listed, metric_name, missing, number, plural, scaled, true
from reports.page import Figure, Page, Row, Sheet, Slot, Table
from reports.results import Result
from reports.schema import BETTER, JUDGE, NO_VERDICT, WORSE

OTHER = "other-levels"  # kind of contrasts on other ladders than the primary one
FAMILIES = {  # kind of contrast -> the heading of its lines
    "primary": "Fresh noise, at {nfe} evaluations",
    "solvers": "Fresh noise, at {nfe} evaluations",
    "same-ladder": "More or less noise, at {nfe} evaluations",
    "pareto": "Fewer evaluations",
    "same-alpha": "Noise added in extra evaluations",
    "final-denoise": "One last denoising step",
    OTHER: "On other levels",
}
WORDS = {BETTER: ("Yes.", "lowers"), WORSE: ("No.", "raises")}
TERMS = ("MMD ×1000", "FD", "Grain", "Evaluations", "eta, beta")
QUESTION = "Does fresh noise in every step give better images?"


def page(result: Result) -> Page:
    rows = result.over_networks()
    primary = rows[rows["kind"] == "primary"]
    source = settings.source(result)
    if primary.empty:
        runs = result.table[result.table["section"] == "primary"]
        text = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'primary run')} succeeded."
        return Page(source, QUESTION, "No verdict.", text, conditions=conditions(result, None, *TERMS))
    row = primary.iloc[0]
    every = settings.rows(result)
    shown = {
        side: every[(every["section"] == "primary") & (every["setting"] == row[side])].iloc[0] for side in ("b", "a")
    }
    said = contrast.spoken(result, row)
    lead, verdict = contrast.failure(result) if contrast.failed(result) else answer(result, row, said)
    metric = said["metric"]
    best = {BETTER: shown["a"], WORSE: shown["b"]}.get(row["verdict"])  # neither, without a verdict
    tables, note = settings_tables(result, rows, every, best)
    lines = figure(result, rows, row["nfe_a"])
    quality = result.runs[result.runs["section"].isin(["pareto", "same-alpha"]) & (result.runs["nfe"] > 0)]
    line = quality["setting"].where(quality["section"] == "pareto", "beta at equal alpha")
    name = metric_name("fd", result.features)
    papers = [figures.quality(quality.assign(noise=line), "noise", "fd", name)] if len(quality) else []
    return Page(
        source, QUESTION, lead, verdict, failed=contrast.failed(result), caveat=" ".join(caveats(result, row, shown)),
        also="" if contrast.failed(result) else on_other_levels(result, rows, every),
        slots=slots(result, row, said),
        pictures=settings.pictures(
            result, metric, (shown["b"], "Before", f"{row['b']}, no fresh noise"),
            (shown["a"], "After", f"{row['a']}, fresh noise"),
        ),
        aside="Same place, same initial noise: compare them one by one.",
        figures=[lines] if lines else [], sheet=sheet(every), tables=tables, note=note,
        conditions=conditions(result, row, *TERMS), papers=papers,
    )  # fmt: skip


def answer(result: Result, row: pd.Series, said: pd.Series) -> tuple[str, str]:
    """The first words, and a sentence with the effect and its interval."""
    if row["verdict"] == NO_VERDICT:
        return "No verdict.", f"{capital(row['no_verdict'])}."
    cost = f"the same {number(row['nfe_a'], 0)}" if row["nfe_a"] == row["nfe_b"] else f"{number(row['nfe_a'], 0)}"
    size = contrast.size(result, said)
    if row["verdict"] not in WORDS:
        return "No difference detected.", f"With {cost} evaluations, without and with fresh noise: {size}."
    lead, verb = WORDS[row["verdict"]]
    return lead, f"With {cost} evaluations, fresh noise {verb} {size}."


def slots(result: Result, row: pd.Series, said: pd.Series) -> list[Slot]:
    """The four numbers; the evidence says when the comparison was chosen, and what differs from its preset."""
    found, differs = contrast.slots(result, row, said), result.info.get("differs_from_preset")
    chosen = "chosen before any result" + (f"; {listed(differs)} differ from the preset" if differs else "")
    fixed = result.info.get("fixed_beforehand")
    return [replace(one, notes=[*one.notes, chosen]) if fixed and one.role == "evidence" else one for one in found]


def caveats(result: Result, row: pd.Series, shown: dict[str, pd.Series]) -> list[str]:
    texts = contrast.unusual(result) + contrast.disagreement(result, row) + settings.caveats(result, shown.values())
    if not result.info.get("fixed_beforehand"):
        texts.append("Exploratory: this comparison was not fixed before the run.")
    if row["verdict"] in WORDS and row["new_network_low"] < 0 < row["new_network_high"]:
        texts.append("One more network may show no difference.")
    if not missing(row["n_planned"]) and row["n_networks"] < row["n_planned"]:
        texts.append(f"{row['n_networks']:.0f} of {plural(row['n_planned'], 'network')} were compared.")
    return texts


def on_other_levels(result: Result, rows: pd.DataFrame, every: pd.DataFrame) -> str:
    """Whether the answer hangs on the ladder: what noise does on others, and what a solver reaches without it."""
    own = rows[(rows["kind"] == OTHER) & (rows["verdict"] != NO_VERDICT)]
    name, texts = metric_name(JUDGE, result.features), list[str]()
    for ladder, members in every[every["section"] == OTHER].groupby("schedule", sort=False):
        here = own[own["a"].isin(members["setting"])]
        noise = here[(here["eta_a"] == 1) & (here["eta_b"] == 0)]
        each = [f"{row['nfe_a']:.0f} evaluations by {_change(row)}" for _, row in noise.iterrows()]
        if each:
            one = noise.iloc[0]
            whose = "" if missing(one["holds_for"]) else f", for {contrast.networks(one)},"
            texts.append(f"On the {ladder} ladder{whose} fresh noise changes {name} with {listed(each)}.")
        fewer = here[here["nfe_a"] < here["nfe_b"]].nsmallest(1, "value_a")
        for _, row in fewer.iterrows():
            texts.append(
                f"{row['a']} with {row['nfe_a']:.0f} evaluations has {scaled(JUDGE, row['value_a'])}, {row['b']} with "
                f"{row['nfe_b']:.0f} on the first ladder {scaled(JUDGE, row['value_b'])}: difference {_change(row)}."
            )
    return " ".join(texts)


def _change(row: pd.Series) -> str:
    change, interval = difference(row)
    return f"{change} ({interval}; {row['verdict']}{correction(row)})"


def figure(result: Result, rows: pd.DataFrame, nfe: float) -> Figure | None:
    """The contrasts of every kind, in the order of FAMILIES."""
    families: dict[str, list[tuple[pd.Series, str, str]]] = {}
    for kind, title in FAMILIES.items():
        for _, row in rows[rows["kind"] == kind].iterrows():
            if kind == "pareto" and row["nfe_a"] == nfe:
                continue  # the same runs as on the same ladder
            cost = f", {row['nfe_a']:.0f} evaluations" if kind in ("pareto", "same-alpha", OTHER) else ""
            apart = kind == "same-alpha" or row["nfe_a"] != row["nfe_b"]
            against = row["b"] + (f", {row['nfe_b']:.0f} evaluations" if apart else "")
            heading = title.format(nfe=number(nfe, 0))
            families.setdefault(heading, []).append((row, f"{row['a']}{cost}", against))
    return contrast.figure("What fresh noise changes", families, result)


def settings_tables(
    result: Result, rows: pd.DataFrame, every: pd.DataFrame, best: pd.Series | None
) -> tuple[list[Table], str]:
    """A table per number of images, since only equal numbers are compared."""
    once = every.drop_duplicates(["n_samples", "setting", "sampler", "nfe", "final_denoise"])
    counts = list(dict.fromkeys(once["n_samples"]))
    sizes, note = settings.rooms([int((once["n_samples"] == count).sum()) for count in counts])

    def made(row: pd.Series) -> Row:
        same = rows[(rows["n_samples"] == row["n_samples"]) & (rows["kind"] != "control")]
        last = same["final_denoise"].fillna(False) == row["final_denoise"]
        a = same[(same["a"] == row["setting"]) & (same["nfe_a"] == row["nfe"]) & last]
        b = same[(same["b"] == row["setting"]) & (same["kind"] == "solvers")]
        change, verdict = "", "baseline"
        if len(a) or len(b):
            change, verdict = settings.compared((a if len(a) else b).iloc[0], flip=not len(a), against=True)
        name = row["setting"] + (" + denoising" if true(row["final_denoise"]) else "")
        recommended = best is not None and row["n_samples"] == best["n_samples"] and row["setting"] == best["setting"]
        return settings.table_row(row, change, verdict, recommended, name)

    tables = []
    for count, size in zip(counts, sizes, strict=True):
        part = once[once["n_samples"] == count]
        title = f"{number(count, 0)} images from each of {plural(part['networks'].max(), 'network')}"
        tables.append(settings.table(title, result, part.nsmallest(size, JUDGE), made))
    apart = "Only settings with the same number of images are compared. " if len(tables) > 1 else ""
    return tables, f"{note}{apart}Kernel distance, precision, recall and single runs are in table.csv."


def sheet(every: pd.DataFrame) -> Sheet | None:
    """Quality against evaluations: four samples and the score for each eta on ladders of several lengths."""
    ladders = every[every["section"].isin(["pareto", "same-ladder"])].drop_duplicates(["setting", "nfe"])
    costs = sorted(ladders["nfe"].unique())
    if len(costs) < 2:
        return None
    cells = {(row["eta"], row["nfe"]): (row["samples_id"], scaled(JUDGE, row[JUDGE])) for _, row in ladders.iterrows()}
    etas = [(f"eta {eta:g}", [cells.get((eta, cost)) for cost in costs]) for eta in sorted(ladders["eta"].unique())]
    note = "Four samples of each setting, from the same initial noise everywhere. The number is MMD ×1000."
    return Sheet(
        "Rows: more noise. Columns: more evaluations.", note, [number(cost, 0) for cost in costs], etas, "evaluations"
    )
