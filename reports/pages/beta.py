"""The page of `beta`: does fresh noise in every step give better images?"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from reports import contrast, settings
from reports.details import list_details
from reports.formats import (
    agreeing_decimals,
    capital,
    difference,
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
from reports.pages.chosen import MADE_BEFORE, describe_protocol
from reports.results import LoadedResult
from reports.schema import BETTER, CONFIRM, CONTROL, JUDGE, NO_DIFFERENCE, NO_VERDICT, NOT_SIGNIFICANT, WORSE

PRIMARY = "primary"  # kinds of contrasts
SPENT = "all evaluations"
PAIR = ["a", "nfe_a", "b", "nfe_b"]
WITHOUT = "without fresh noise"  # kind of setting
HEADINGS = {  # kind of contrast -> the heading of its lines
    PRIMARY: "Fresh noise, on the {schedule} schedule",
    CONFIRM: "The best with fresh noise against the best without",
    SPENT: "The best that takes all {most} evaluations against the best within them",
}
VERBS = {BETTER: "lowers", WORSE: "raises"}
CLAUSES = {
    BETTER: "fresh noise wins within",
    WORSE: "fresh noise loses within",
    NO_DIFFERENCE: "no difference is detected within",
    NOT_SIGNIFICANT: "no difference is significant after correction within",
    NO_VERDICT: "no verdict within",
}
ONLY_PRIMARY = "Only a part was run: the best with fresh noise was not compared with the best without."
BANDS = (
    "Coloured: the best settings that were confirmed, at the evaluations that they take, with 95 % intervals. Thin "
    "lines: the best at exactly each number of evaluations, on the networks that chose."
)
GREY = "Grey: on the {} schedule{}. "  # of the plot
TERMS = ("MMD ×1000", "FD", "Visible noise", "Evaluations", "eta, beta")


def page(result: LoadedResult) -> Page:
    rows = result.over_networks()
    question = f"Does fresh noise in every step give better {result.unit}s?"
    primary = rows[rows["kind"] == PRIMARY]
    if primary.empty:
        runs = result.table[result.table["section"] == PRIMARY]
        text = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'primary run')} succeeded."
        if runs.empty:
            text = "The main comparison was not asked for."
        details = list_details(result, None, *TERMS)
        return Page(settings.describe_source(result), question, "No verdict.", text, details=details)
    row = primary.iloc[0]
    every = settings.summarise_settings(result)
    compared = every[every["section"] == PRIMARY].drop_duplicates("setting").set_index("setting", drop=False)
    before, after = (compared.loc[row[side]] for side in "ba")
    best = {BETTER: after, WORSE: before}.get(row["verdict"])  # neither, without a verdict
    tables, note = settings_tables(result, rows, every, best)
    figure = draw_figure(result, rows, before["schedule"])
    warnings = list[str]()
    caveats = list[str]()
    if not is_missing(row["n_planned"]) and row["n_networks"] < row["n_planned"]:
        warnings.append(f"{row['n_networks']:.0f} of {plural(row['n_planned'], 'network')} were compared.")
    if row["verdict"] in VERBS and row["new_network_low"] < 0 < row["new_network_high"]:
        caveats.append(f"{capital(ordinal(row['n_networks'] + 1))} network may show no difference.")
    if not result.fixed_beforehand:
        caveats.append("Exploratory: this comparison was not fixed before the run.")
    contests = rows[rows["kind"] == CONFIRM].sort_values("budget")
    if not len(contests):
        was_asked = not result.info.get("options", {}).get("only_primary")
        caveats.append(MADE_BEFORE if was_asked and not result.info.get("options", {}).get("only") else ONLY_PRIMARY)
    elif is_missing(row["holds_for"]) and not contests["holds_for"].isna().any():
        caveats.append(f"Best against best holds for {contrast.name_networks(contests.iloc[0])} only.")
    sides = [(before, "Before", f"{row['b']}, no fresh noise"), (after, "After", f"{row['a']}, fresh noise")]
    best_sides = list_best(every, contests)
    also = [" ".join([*name_lowest(result, best_sides), *phrase_spent(result, rows[rows["kind"] == SPENT])])]
    also.append(describe_protocol(result))
    too_small = has_gross_failure(result, row)
    best = contests[:0] if too_small else contests
    return contrast.compose_page(
        result, row, phrase_verdict(result, row, best, before["schedule"]), sides[0], sides[1], (warnings, caveats),
        question=question, also="" if contrast.has_failed(result) or too_small else "\n".join(filter(None, also)),
        details=list_details(result, row, *TERMS), figures=[figure] if figure else [], tables=tables, note=note,
        more_pictures=[*best_sides[:2], *best_sides[2:][-2:]],
        summary=None if contrast.has_failed(result) else summarise_sides(result, [*sides, *best_sides]),
        summary_note=describe_recall(result, before, after),
        plot=None if contrast.has_failed(result) else plot_quality(result, every, contests, before["schedule"]),
    )  # fmt: skip


def has_gross_failure(result: LoadedResult, row: pd.Series) -> bool:
    """Whether the samples of the main comparison are no images: then nothing else is said of such networks."""
    return bool(row["verdict"] == NO_VERDICT and row["no_verdict"].startswith("the samples do not look"))


def phrase_verdict(result: LoadedResult, row: pd.Series, contests: pd.DataFrame, schedule: str) -> tuple[str, str]:
    """A sentence on the primary contrast, and one on the best with fresh noise against the best without."""
    best = phrase_best(contests)
    if row["verdict"] == NO_VERDICT:
        return "No verdict.", f"{capital(row['no_verdict'])}. {best}".strip()
    shown = contrast.headline_row(result, row)
    name = metric_name(shown["metric"], result.features)
    before, after, *_ = values_and_difference(shown)
    where = f"On the {schedule} schedule"
    if row["verdict"] not in VERBS:
        return f"{where}, no difference is detected: {name} {before} and {after}.", best
    return f"{where}, fresh noise {VERBS[row['verdict']]} {name} from {before} to {after}.", best


def phrase_best(contests: pd.DataFrame) -> str:
    """Within how many evaluations which kind wins; "" if nothing was compared. Intervals where nothing is detected."""
    texts = list[str]()
    for verdict, clause in CLAUSES.items():
        rows = contests[contests["verdict"] == verdict]
        if not len(rows):
            continue
        names = list[str]()
        for _, of_pair in rows.groupby(PAIR, sort=False):  # one pair may be the best within several numbers
            interval = difference(of_pair.iloc[0])[1] if verdict in (NO_DIFFERENCE, NOT_SIGNIFICANT) else ""
            budgets = join(number(budget, 0) for budget in of_pair["budget"])
            names.append(
                f"{budgets}{'' if texts or names else ' evaluations'}" + (f" ({interval})" if interval else "")
            )
        texts.append(f"{clause} {join(names)}")
    return f"Best against best, {'; '.join(texts)}." if texts else ""


def phrase_spent(result: LoadedResult, rows: pd.DataFrame) -> list[str]:
    """What it does to spend all evaluations, by kind of setting."""
    texts = list[str]()
    verbs = {BETTER: " help", WORSE: " make images worse"}
    for _, row in rows.iterrows():
        change, interval = difference(row)
        verb = verbs.get(row["verdict"], f": {row['verdict']}")
        counts = f"{number(row['nfe_a'], 0)} against {number(row['nfe_b'], 0)}"
        size = f"{metric_name(JUDGE, result.features)} {change}; {interval}"
        texts.append(f"{capital(row['choice'])}, more evaluations{verb} ({counts}: {size}).")
    return texts


def name_lowest(result: LoadedResult, best_sides: Sequence[contrast.Side]) -> list[str]:
    """The lowest of the confirmed settings."""
    if not best_sides:
        return []
    row, _, label = min(best_sides, key=lambda side: side[0][JUDGE])
    scores = [f"{metric_name(name, result.features)} {scale_metric(name, row[name])}" for name in (JUDGE, "fd")]
    return [f"Lowest of what was confirmed: {label}, {number(row['nfe'], 0)} evaluations ({join(scores)})."]


def list_best(every: pd.DataFrame, contests: pd.DataFrame) -> list[contrast.Side]:
    """The best settings without and with fresh noise, each once, with the evaluations that they take."""
    sides: dict[tuple[str, float], contrast.Side] = {}
    best = every[every["section"] == CONFIRM]
    for _, row in contests.iterrows():
        for side, words in (("b", "no fresh noise"), ("a", "fresh noise")):
            name, nfe = row[side], row[f"nfe_{side}"]
            chosen = best[(best["nfe"] == nfe) & (best["setting"] == name)].iloc[0]
            sides.setdefault((name, nfe), (chosen, f"Best, {nfe:.0f} evaluations", f"{name}, {words}"))
    return [*sides.values()]


def summarise_sides(result: LoadedResult, sides: Sequence[contrast.Side]) -> Table:
    """What else tells settings apart: variety, cost, fine noise and copies. Below it what recall says."""
    rows = [
        Row(f"{title}: {label}", [
            number(row["recall"], 3), number(row["precision"], 3),
            short(row["seconds"] / row["n_samples"]), settings.format_noise(row),
            "" if is_missing(row["memorised"]) else percent(max(row["memorised"], 0)),
        ])
        for row, title, label in sides
    ]  # fmt: skip
    device = result.runs["device"].iloc[0]
    shared = ", shared with other processes" if result.runs["shared_device"].fillna(False).any() else ""
    heads = ["Recall", "Precision", f"Seconds per {result.unit}", "Visible noise", "Nearer to training than real"]
    kept = [at for at in range(len(heads)) if any(row.cells[at] for row in rows)]  # points have no visible noise
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
    best = result.choices[result.choices["rank"] == 1].rename(columns={"kind": "curve", JUDGE: "value"})
    curves = pd.concat([curves, best[["section", "budget", "curve", "value"]]])
    floor = result.floor(JUDGE, contests["n_samples"].iloc[0])
    real = None if floor is None else floor["mean"]
    fewer = every[every["section"] == "pareto"]
    counts = f", {settings.count_images(result, fewer.iloc[0])}" if len(fewer) else ""
    text = GREY.format(schedule, counts) + BANDS if len(fewer) else BANDS
    values = curves, real, metric_name(JUDGE, result.features), result.unit, schedule
    return Plot("quality", "Quality against evaluations", text, values)


def draw_figure(result: LoadedResult, rows: pd.DataFrame, schedule: str) -> Figure | None:
    sections: dict[str, list[tuple[pd.Series, str, str]]] = {}
    for kind, title in HEADINGS.items():
        of_kind = rows[rows["kind"] == kind]
        for _, of_pair in of_kind.groupby(PAIR, sort=False):
            row = of_pair.iloc[0]
            heading = title.format(schedule=schedule, most=number(of_kind["nfe_a"].max(), 0))
            a, b = (f"{row[side]}, {number(row[f'nfe_{side}'], 0)} evaluations" for side in "ab")
            label = a
            if kind == CONFIRM:
                label = f"within {join(number(budget, 0) for budget in of_pair['budget'])}: {a}"
            sections.setdefault(heading, []).append((row, label, b))
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
        if row["section"] == CONFIRM:
            name += f", {number(row['nfe'], 0)} evaluations"
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
