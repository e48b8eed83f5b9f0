"""The page of `beta`: does fresh noise in every step give better images?"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from reports import contrast, settings
from reports.details import list_details
from reports.formats import (
    agreeing_decimals,
    capital,
    is_missing,
    join,
    metric_name,
    number,
    ordinal,
    percent,
    plural,
    scale_metric,
    short,
    values_and_difference,
)
from reports.page import Column, Figure, Page, Plot, Row, Table
from reports.results import LoadedResult
from reports.schema import BEST, BETTER, CONTROL, JUDGE, NO_DIFFERENCE, NO_VERDICT, WORSE

PRIMARY = "primary"  # kinds of contrasts
ANYWHERE = "best-anywhere"
CHOOSE = "choose"  # section of settings that only chose the best
HEADINGS = {  # kind of contrast -> the heading of its lines
    PRIMARY: "Fresh noise, at {nfe} evaluations",
    BEST: "The best with fresh noise against the best without",
    ANYWHERE: "The best of either kind at any number of evaluations",
    "same-schedule": "More or less noise, at {nfe} evaluations",
    "pareto": "Fewer evaluations",
    "same-alpha": "Noise added in extra evaluations",
    "final-denoise": "One last denoising step",
}
WITH_COST = (BEST, ANYWHERE, "pareto", "same-alpha")  # kinds whose lines name their evaluations
PAIR = ["a", "b", "nfe_a", "nfe_b"]
VERBS = {BETTER: "lowers", WORSE: "raises"}
CLAUSES = {
    BETTER: "{} wins with",
    WORSE: "{} loses with",
    NO_DIFFERENCE: "no difference is detected with",
    NO_VERDICT: "no verdict with",
}
BANDS = (
    "Coloured: at each number of evaluations the best setting, with its own schedule, which the tables name. A band is "
    "the 95 % interval of the mean. Conditions say where the settings were chosen."
)
GREY = "Grey: on the {} schedule{}. "  # of the plot
TERMS = ("MMD ×1000", "FD", "Grain", "Evaluations", "eta, beta")


def page(result: LoadedResult) -> Page:
    rows = result.over_networks()
    question = f"Does fresh noise in every step give better {result.unit}s?"
    primary = rows[rows["kind"] == PRIMARY]
    if primary.empty:
        runs = result.table[result.table["section"] == PRIMARY]
        text = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'primary run')} succeeded."
        details = list_details(result, None, *TERMS)
        return Page(settings.describe_source(result), question, "No verdict.", text, details=details)
    row = primary.iloc[0]
    every = settings.summarise_settings(result)
    every = every[every["section"] != CHOOSE]
    compared = every[every["section"] == PRIMARY].drop_duplicates("setting").set_index("setting", drop=False)
    before, after = (compared.loc[row[side]] for side in "ba")
    best = {BETTER: after, WORSE: before}.get(row["verdict"])  # neither, without a verdict
    tables, note = settings_tables(result, rows, every, best)
    figure = draw_figure(result, rows, row["nfe_a"])
    warnings = list[str]()
    caveats = list[str]()
    if not is_missing(row["n_planned"]) and row["n_networks"] < row["n_planned"]:
        warnings.append(f"{row['n_networks']:.0f} of {plural(row['n_planned'], 'network')} were compared.")
    if row["verdict"] in VERBS and row["new_network_low"] < 0 < row["new_network_high"]:
        caveats.append(f"{capital(ordinal(row['n_networks'] + 1))} network may show no difference.")
    if not result.fixed_beforehand:
        caveats.append("Exploratory: this comparison was not fixed before the run.")
    contests = rows[rows["kind"] == BEST].sort_values("budget")
    if not len(contests):
        caveats.append("The best setting with fresh noise was not compared with the best without.")
    elif is_missing(row["holds_for"]) and not contests["holds_for"].isna().any():
        caveats.append(f"Best against best holds for {contrast.name_networks(contests.iloc[0])} only.")
    sides = [(before, "Before", f"{row['b']}, no fresh noise"), (after, "After", f"{row['a']}, fresh noise")]
    best_sides = list_best(every, contests)
    caveats += name_lowest(result, best_sides)
    return contrast.compose_page(
        result, row, phrase_verdict(result, row, contests), sides[0], sides[1], (warnings, caveats), question=question,
        details=list_details(result, row, *TERMS), figures=[figure] if figure else [], tables=tables, note=note,
        more_pictures=[*best_sides[:2], *best_sides[2:][-2:]],
        summary=None if contrast.has_failed(result) else summarise_sides(result, [*sides, *best_sides]),
        summary_note=describe_recall(result, before, after),
        plot=None if contrast.has_failed(result) else plot_quality(result, every, contests, before["schedule"]),
    )  # fmt: skip


def phrase_verdict(result: LoadedResult, row: pd.Series, contests: pd.DataFrame) -> tuple[str, str]:
    """A sentence on the primary contrast, and one on the best with fresh noise against the best without."""
    best = phrase_best(result, contests, "it" if row["verdict"] in VERBS else "fresh noise")
    if row["verdict"] == NO_VERDICT:
        return "No verdict.", f"{capital(row['no_verdict'])}. {best}".strip()
    shown = contrast.headline_row(result, row)
    name = metric_name(shown["metric"], result.features)
    before, after, *_ = values_and_difference(shown)
    if row["verdict"] not in VERBS:
        return f"On one schedule, no difference is detected: {name} {before} and {after}.", best
    return f"On one schedule, fresh noise {VERBS[row['verdict']]} {name} from {before} to {after}.", best


def phrase_best(result: LoadedResult, contests: pd.DataFrame, noise: str) -> str:
    """With how many evaluations the best with fresh noise, called `noise`, wins; "" if nothing was compared."""
    texts = list[str]()
    for verdict, clause in CLAUSES.items():
        rows = contests[contests["verdict"] == verdict]
        if not len(rows):
            continue
        text = f"{clause.format('it' if texts else noise)} {join(number(budget, 0) for budget in rows['budget'])}"
        text += "" if texts else " evaluations"
        if verdict == NO_DIFFERENCE:
            largest = scale_metric(JUDGE, rows["difference"].abs().max())
            text += f" (up to {largest} in {metric_name(JUDGE, result.features)})"
        texts.append(text)
    return f"Best against best, {'; '.join(texts)}." if texts else ""


def list_best(every: pd.DataFrame, contests: pd.DataFrame) -> list[contrast.Side]:
    """The best settings without and with fresh noise, for each number of evaluations."""
    sides = list[contrast.Side]()
    best = every[every["section"] == BEST]
    for _, row in contests.iterrows():
        for name, words in ((row["b"], "no fresh noise"), (row["a"], "fresh noise")):
            chosen = best[(best["budget"] == row["budget"]) & (best["setting"] == name)].iloc[0]
            sides.append((chosen, f"Best, {row['budget']:.0f} evaluations", f"{name}, {words}"))
    return sides


def name_lowest(result: LoadedResult, best_sides: Sequence[contrast.Side]) -> list[str]:
    """The lowest of the best settings, and the lowest without fine noise: what to use."""

    def describe(place: int) -> str:
        row = best_sides[place][0]
        kind = "with" if place % 2 else "without"  # see `list_best`
        score = f"{metric_name(JUDGE, result.features)} {scale_metric(JUDGE, row[JUDGE])}"
        return f"{row['setting']}, {number(row['nfe'], 0)} evaluations, {kind} fresh noise ({score})"

    places = sorted(range(len(best_sides)), key=lambda place: best_sides[place][0][JUDGE])
    clean = [place for place in places if not best_sides[place][0]["grain"] > result.rule("grainy")]
    if not places:
        return []
    text = f"Lowest of the best settings: {describe(places[0])}"
    if clean[:1] == places[:1]:
        return [f"{text}."]
    rest = f"; without fine noise: {describe(clean[0])}" if clean else ""
    return [f"{text}, but it looks noisy{rest}."]


def summarise_sides(result: LoadedResult, sides: Sequence[contrast.Side]) -> Table:
    """What else tells settings apart: variety, cost, fine noise and copies. Below it what recall says."""
    rows = [
        Row(f"{title}: {label}", [
            number(row["recall"], 3), number(row["precision"], 3),
            short(row["seconds"] / row["n_samples"]), settings.format_grain(row),
            "" if is_missing(row["memorised"]) else percent(max(row["memorised"], 0)),
        ])
        for row, title, label in sides
    ]  # fmt: skip
    device = result.runs["device"].iloc[0]
    shared = ", shared with other processes" if result.runs["shared_device"].fillna(False).any() else ""
    heads = ["Recall", "Precision", f"Seconds per {result.unit}", "Grain", "Nearer to training than real"]
    kept = [at for at in range(len(heads)) if any(row.cells[at] for row in rows)]  # points have no grain
    rows = [replace(row, cells=[row.cells[at] for at in kept]) for row in rows]
    columns = [Column(heads[at], "n", f"{heads[at]} ") for at in kept]
    return Table(f"Variety, cost and copies ({device}{shared})", columns, rows)


def describe_recall(result: LoadedResult, before: pd.Series, after: pd.Series) -> str:
    """Whether fresh noise loses variety, in the primary contrast."""
    rows = result.quality[result.quality["metric"] == "recall"]
    if not len(rows):
        return ""
    change, low, high = rows[["value", "low", "high"]].iloc[0]
    outcome = "no loss of variety detected"
    if low > 0 or high < 0:
        outcome = f"fresh noise {'adds' if low > 0 else 'loses'} variety"
    digits = agreeing_decimals([(before["recall"], after["recall"], change)], least=3)
    texts = [number(value, digits) for value in (before["recall"], after["recall"], change, low, high)]
    return "Recall from {} to {} (difference {}; {} to {}, over networks): {}.".format(*texts, outcome)


def plot_quality(result: LoadedResult, every: pd.DataFrame, contests: pd.DataFrame, schedule: str) -> Plot | None:
    """The best without and the best with fresh noise against evaluations, if there are several numbers of them.

    `schedule`: that of the grey curves, eta 0 and eta 1.
    """
    curves = result.quality[result.quality["metric"] == JUDGE]
    if contests["budget"].nunique() < 2 or not len(curves):
        return None
    floor = result.floor(JUDGE, contests["n_samples"].iloc[0])
    real = None if floor is None else floor["mean"]
    fewer = every[every["section"] == "pareto"]
    counts = f", {settings.count_images(result, fewer.iloc[0])}" if len(fewer) else ""
    text = GREY.format(schedule, counts) + BANDS if (curves["section"] == "pareto").any() else BANDS
    values = curves, real, metric_name(JUDGE, result.features), result.unit, schedule
    return Plot("quality", "Quality against evaluations", text, values)


def draw_figure(result: LoadedResult, rows: pd.DataFrame, nfe: float) -> Figure | None:
    sections: dict[str, list[tuple[pd.Series, str, str]]] = {}
    for kind, title in HEADINGS.items():
        for _, row in rows[rows["kind"] == kind].iterrows():
            if kind == "pareto" and row["nfe_a"] == nfe:
                continue  # the same runs as on the same schedule
            if kind == ANYWHERE and (rows.loc[rows["kind"] == BEST, PAIR] == row[PAIR]).all(axis=1).any():
                continue  # in results of before: the same pair, corrected for another family
            cost = f", {row['nfe_a']:.0f} evaluations" if kind in WITH_COST else ""
            apart = kind == "same-alpha" or row["nfe_a"] != row["nfe_b"]
            against = row["b"] + (f", {row['nfe_b']:.0f} evaluations" if apart else "")
            heading = title.format(nfe=number(nfe, 0))
            sections.setdefault(heading, []).append((row, f"{row['a']}{cost}", against))
    return contrast.draw_differences("What fresh noise changes", sections, result)


def settings_tables(
    result: LoadedResult, rows: pd.DataFrame, every: pd.DataFrame, best: pd.Series | None
) -> tuple[list[Table], str]:
    """A table per number of images and of networks, since only equal numbers are compared."""
    once = every.drop_duplicates(["n_samples", "setting", "sampler", "nfe", "final_denoise"])
    parts = [part for _, part in once.groupby(["n_samples", "networks"], sort=False)]
    sizes, note = settings.allot_rows([len(part) for part in parts])

    def make_row(row: pd.Series) -> Row:
        candidates = rows[(rows["n_samples"] == row["n_samples"]) & (rows["kind"] != CONTROL)]
        last = candidates["final_denoise"].fillna(row["final_denoise"]) == row["final_denoise"]  # missing: sides differ
        chosen = (candidates["a"] == row["setting"]) & (candidates["nfe_a"] == row["nfe"]) & last
        comparisons = candidates[chosen]
        change, verdict = "", "baseline"
        if len(comparisons):
            change, verdict = settings.format_comparison(comparisons.iloc[0], against=True)
        name = row["setting"]
        if row["section"] == "final-denoise":
            name += " + denoising"
        recommended = best is not None and (row[["n_samples", "setting"]] == best[["n_samples", "setting"]]).all()
        return settings.table_row(row, change, verdict, recommended, name)

    tables = []
    for part, size in zip(parts, sizes, strict=True):
        title = settings.count_images(result, part.iloc[0])
        tables.append(settings.make_table(title, result, part.nsmallest(size, JUDGE), make_row))
    apart = (
        f"Only settings with the same numbers of {result.unit}s and networks are compared. " if len(tables) > 1 else ""
    )
    return tables, f"{note}{apart}Kernel distance, precision, recall and single runs are in the file table.csv."
