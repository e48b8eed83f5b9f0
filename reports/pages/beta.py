"""The page of `beta`: does fresh noise in every step give better images?"""

import pandas as pd

from reports import confirmed, contrast, settings, snippets
from reports.details import list_details
from reports.formats import (
    capital,
    difference,
    evaluations,
    is_missing,
    is_set,
    join,
    number,
    percent,
    plural,
)
from reports.page import Curves, Figure, Page, Row, Table
from reports.results import LoadedResult
from reports.schema import (
    BETTER,
    CONFIRM,
    MORE,
    NO_DIFFERENCE,
    NO_VERDICT,
    NOT_SIGNIFICANT,
    PRIMARY,
    PRIMARY_METRIC,
    WITH,
    WITHOUT,
    WORSE,
)

PAIR = ["a", "nfe_a", "b", "nfe_b"]
HEADINGS = {  # kind of contrast -> the heading of its lines
    PRIMARY: "Fresh noise, on the {schedule} schedule",
    CONFIRM: "The best with fresh noise against the best without",
    MORE: "More evaluations against the cheapest",
}
ANSWERS = {  # verdict -> of the title, and in a figure
    BETTER: ("yes, better within", "with noise wins"),
    WORSE: ("no, worse within", "without noise wins"),
    NO_DIFFERENCE: ("no difference detected within", NO_DIFFERENCE),
    NOT_SIGNIFICANT: ("not significant after correction within", NOT_SIGNIFICANT),
    NO_VERDICT: ("no verdict within", NO_VERDICT),
}
NOT_COMPARED = "The best with fresh noise was not compared with the best without."
TERMS = ("MMD ×1000", "FD", "Visible noise", "Evaluations", "eta, beta")


def page(result: LoadedResult) -> Page:
    rows = result.over_networks()
    primary = rows[rows["kind"] == PRIMARY]
    if primary.empty:
        return page_without_primary(result)
    row = primary.iloc[0]
    every = settings.summarise_settings(result)
    compared = every[every["section"] == PRIMARY].drop_duplicates("setting").set_index("setting", drop=False)
    before, after = (compared.loc[row[side]] for side in "ba")
    best = {BETTER: after, WORSE: before}.get(row["verdict"])  # neither, without a verdict
    tables, note = settings_tables(result, rows, every, best)
    contests = rows[rows["kind"] == CONFIRM].sort_values("budget")
    doubts = find_warnings(row), find_caveats(result, row, rows)
    if has_gross_failure(row):
        contests = contests[:0]
    main, sides, use = row, [before, after], best
    if len(contests):
        main = contests.iloc[-1]
        sides = [find_side(every, main, side) for side in "ba"]
        use = choose_use(result, every, contests)
    without, having = (
        (side, title, settings.name_with_evaluations(side))
        for side, title in zip(sides, ("Without", "With"), strict=True)
    )
    code = [] if use is None else snippets.show(snippets.write_sampling(use))
    return contrast.compose_page(
        result, main, phrase_verdict(result, row, rows, contests, before["schedule"]), without, having, doubts,
        question=ask(result), advice="" if use is None else phrase_advice(result, use),
        more_facts=code,
        curves=draw_curves(result, every, contests), figures=draw_figure(result, rows, before["schedule"]),
        tables=tables, note=note,
        details=[*describe_recall(result, before, after), *list_details(result, *TERMS)],
    )  # fmt: skip


def ask(result: LoadedResult) -> str:
    return f"Does fresh noise in every step give better {result.unit}s?"


def page_without_primary(result: LoadedResult) -> Page:
    """The page where the main comparison failed, or was not asked for."""
    runs = result.table[result.table["section"] == PRIMARY]
    text = f"{(runs['status'] == 'ok').sum()} of {plural(len(runs), 'primary run')} succeeded."
    if runs.empty:
        text = "The main comparison was not asked for."
    source = settings.describe_source(result)
    return Page(source, ask(result), "No verdict.", text, details=list_details(result, *TERMS))


def find_warnings(row: pd.Series) -> list[str]:
    """That some networks failed."""
    if is_missing(row["n_planned"]) or row["n_networks"] >= row["n_planned"]:
        return []
    return [f"{row['n_networks']:.0f} of {plural(row['n_planned'], 'network')} were compared."]


def find_caveats(result: LoadedResult, row: pd.Series, rows: pd.DataFrame) -> list[str]:
    """Lists what limits the answer on one schedule, and that on the best settings."""
    contests = rows[rows["kind"] == CONFIRM]
    caveats = confirmed.find_noisy(result)
    if not result.fixed_beforehand:
        caveats.append("Exploratory: this comparison was not fixed before the run.")
    if not len(contests):
        caveats.append(NOT_COMPARED)
    elif is_missing(row["holds_for"]) and not contests["holds_for"].isna().any():
        caveats.append(f"Best against best holds for {contrast.name_networks(contests.iloc[0])} only.")
    return caveats


def has_gross_failure(row: pd.Series) -> bool:
    """Whether the samples of the main comparison are no images: then nothing else is said of such networks."""
    return bool(row["verdict"] == NO_VERDICT and row["no_verdict"].startswith("the samples do not look"))


def find_side(every: pd.DataFrame, row: pd.Series, side: str) -> pd.Series:
    """The row of one of the best settings."""
    best = every[every["section"] == CONFIRM]
    return best[(best["nfe"] == row[f"nfe_{side}"]) & (best["setting"] == row[side])].iloc[0]


def choose_use(result: LoadedResult, every: pd.DataFrame, contests: pd.DataFrame) -> pd.Series | None:
    """The cheapest confirmed setting that may be advised, or the lowest of those that are better than it."""
    for _, contest in contests[contests["verdict"] != NO_VERDICT].iterrows():
        noisy = {"a": is_set(contest["more_noise"]), "b": is_set(contest["noisy_b"])}
        order = sorted("ab", key=lambda side: contest[f"value_{side}"])
        winner = {BETTER: "a", WORSE: "b"}.get(contest["verdict"], order[0])
        sides = [side for side in (winner, *order) if not noisy[side]]
        if sides:
            cheapest = find_side(every, contest, sides[0])
            dearer = confirmed.choose_dearer(confirmed.find_dearer(result, cheapest["setting"], cheapest["nfe"]))
            return cheapest if dearer is None else find_side(every, dearer, "a")
    return None


def phrase_verdict(
    result: LoadedResult, row: pd.Series, rows: pd.DataFrame, contests: pd.DataFrame, schedule: str
) -> tuple[str, str]:
    """The finding by number of evaluations, and on one schedule."""
    best = phrase_best(contests)
    if row["verdict"] == NO_VERDICT:
        return "No verdict.", f"{capital(row['no_verdict'])}. {best}".strip()
    change = contrast.format_change(result, row)
    answer = {BETTER: "yes", WORSE: "no"}.get(row["verdict"], NO_DIFFERENCE)
    where = f"on the {schedule} schedule with {evaluations(row['nfe_b'])}"
    if best:
        return best, f"{capital(where)}, {answer}: {change.partition(' (')[0]}."
    return f"{capital(answer)} {where} evaluations.", f"{change}."


def phrase_best(contests: pd.DataFrame) -> str:
    """Within how many evaluations which kind wins; "" if nothing was compared.

    With intervals where nothing is detected.
    """
    texts = list[str]()
    for verdict, (answer, _) in ANSWERS.items():
        rows = contests[contests["verdict"] == verdict]
        shown = verdict in (NO_DIFFERENCE, NOT_SIGNIFICANT)
        names = list[str]()
        for _, group in rows.groupby(PAIR if shown else "verdict", sort=False):  # a pair may be the best within several
            names.append(join(number(budget, 0) for budget in group["budget"]))
            if not (texts or names[1:]):
                names[0] += " network evaluations"
            if shown:
                change, interval = difference(group.iloc[0])
                noise = " with it" if verdict == NOT_SIGNIFICANT else ""
                names[-1] += f" ({change}{noise}; {interval})"
        texts += [f"{answer} {join(names)}"] if names else []
    takes = {*contests["nfe_a"], *contests["nfe_b"]}
    also = f": the best of both kinds take {evaluations(min(takes))}" if len(takes) == 1 and len(contests) > 1 else ""
    return f"{capital('; '.join(texts))}{also}." if texts else ""


def phrase_advice(result: LoadedResult, best: pd.Series) -> str:
    """Advises the lowest of the confirmed settings that may be advised, and says whether more evaluations help."""
    use = f"Use {best['setting']} with {evaluations(best['nfe'])} evaluations"
    if best["section"] == PRIMARY:
        return f"{use}, if you stay on the {best['schedule']} schedule."
    scores = settings.format_scores(result, best) + settings.format_worst(best)
    return f"{use}: {scores}. {phrase_price(result, best)}".strip()


def phrase_price(result: LoadedResult, best: pd.Series) -> str:
    """Says what more evaluations than the fewest change."""
    rows = result.over_networks(kind=MORE)
    used = rows[rows["a"].eq(best["setting"]) & rows["nfe_a"].eq(best["nfe"]) & rows["verdict"].eq(BETTER)]
    used = used.sort_values("value_b", kind="stable")  # both kinds were confirmed with the fewest evaluations
    cheapest = (best["setting"], best["nfe"]) if used.empty else (used["b"].iloc[0], used["nfe_b"].iloc[0])
    dearer = confirmed.find_dearer(result, *cheapest)
    return confirmed.phrase_price(dearer, confirmed.choose_dearer(dearer))


def describe_recall(result: LoadedResult, before: pd.Series, after: pd.Series) -> list[tuple[str, str]]:
    """Says whether fresh noise loses variety, in the primary contrast; nothing if recall was not measured."""
    rows = result.quality[result.quality["metric"] == "recall"]
    if not len(rows):
        return []
    change, low, high = rows[["value", "low", "high"]].iloc[0]
    outcome = "no loss of variety detected"
    if low > 0 or high < 0:
        outcome = f"fresh noise {'adds' if low > 0 else 'loses'} variety"
    texts = [number(value, 3) for value in (before["recall"], after["recall"], change, low, high)]
    text = "{}: from {} to {} (difference {}; {} to {}, over networks).".format(capital(outcome), *texts)
    return [(f"Recall, {before['setting']} to {after['setting']}", text)]


def draw_curves(result: LoadedResult, every: pd.DataFrame, contests: pd.DataFrame) -> Curves | None:
    """The best without and the best with fresh noise within each number of evaluations, if there are several."""
    scores = result.quality[(result.quality["metric"] == PRIMARY_METRIC) & (result.quality["section"] == CONFIRM)]
    if contests["budget"].nunique() < 2 or not len(scores):
        return None
    scores = scores.set_index(["setting", "budget"])
    seen = result.runs["images_seen"].fillna(0).max()
    alike = result.choices[result.choices["images_seen"].fillna(0) == seen].set_index(["setting", "nfe"])[
        PRIMARY_METRIC
    ]
    points, columns = [], {}
    for _, contest in contests.iterrows():
        change, interval = difference(contest)
        columns[contest["budget"]] = (contest["verdict"], [ANSWERS[contest["verdict"]][1], change, interval])
        for kind, side in zip((WITHOUT, WITH), "ba", strict=True):
            place = (contest[side], contest[f"nfe_{side}"])
            score = scores.loc[place, ["value", "low", "high"]]
            row = find_side(every, contest, side)
            points.append({"curve": kind, "nfe": contest["budget"], **score, "row": row, "explored": alike.get(place)})
    frame = pd.DataFrame(points).astype({"explored": "float64"})
    first = contests.iloc[0]
    note = (
        "Dots: what was chosen of each kind within that number of evaluations, as confirmed on "
        f"{contrast.name_networks(first)}, with {percent(first['level'])} intervals. Below: with noise minus without."
    )
    if frame["explored"].notna().all():
        note += " Dotted: the same settings on the networks that chose them."
    return contrast.draw_curves(result, "Quality within each number of evaluations", frame, columns, note, within=True)


def draw_figure(result: LoadedResult, rows: pd.DataFrame, schedule: str) -> list[Figure]:
    sections: dict[str, list[contrast.Labelled]] = {}
    for kind, title in HEADINGS.items():
        of_kind = rows[rows["kind"] == kind]
        for _, of_pair in of_kind.groupby(PAIR, sort=False):
            row = of_pair.iloc[0]
            heading = title.format(schedule=schedule)
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
        candidates = rows[rows["n_samples"] == row["n_samples"]]
        last = candidates["final_denoise"].fillna(row["final_denoise"]) == row["final_denoise"]  # missing: sides differ
        chosen = (candidates["a"] == row["setting"]) & (candidates["nfe_a"] == row["nfe"]) & last
        comparisons = candidates[chosen]
        is_base = ((candidates["b"] == row["setting"]) & (candidates["nfe_b"] == row["nfe"])).any()
        change, verdict = "", "baseline" if is_base else ""
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
        tables.append(settings.make_table(title, result, part.nsmallest(size, PRIMARY_METRIC), make_row))
    apart = (
        f"Only settings with the same numbers of {result.unit}s and networks are compared. " if len(tables) > 1 else ""
    )
    return tables, f"{note}{apart}Kernel distance, precision, recall and single runs are in the file table.csv."
