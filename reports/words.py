"""What pages say of comparisons: a sentence for each verdict, and for each advice of answers.csv.

A row is one of `LoadedResult.judged`.
"""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from reports import settings
from reports.formats import (
    add_correction,
    are_set,
    capital,
    difference,
    evaluations,
    is_missing,
    join,
    lower_on,
    number,
    percent,
    plural,
    scale_metric,
    short,
    values_and_difference,
    verdict_words,
)
from reports.results import LoadedResult
from reports.schema import (
    BETTER,
    BETTER_THAN_CHEAPEST,
    CHEAPER,
    CHEAPEST,
    CONFIRM,
    EFFECTS,
    EXPLORATION,
    IN_USE,
    NO_DIFFERENCE,
    NO_VERDICT,
    NOT_SIGNIFICANT,
    PRIMARY,
    PRIMARY_METRIC,
    RIVAL,
    TOO_NOISY,
    WORSE,
)

ANSWERS = {  # verdict -> what it says of a rival
    BETTER: "yes, better",
    WORSE: "no, worse",
    NO_DIFFERENCE: NO_DIFFERENCE,
    NOT_SIGNIFICANT: NOT_SIGNIFICANT,
    NO_VERDICT: NO_VERDICT,
}
DETECTED = [BETTER, WORSE]
SEVERAL = 4  # questions, from which the headline counts them
MANY = 12  # comparisons of one family


def format_change(result: LoadedResult, row: pd.Series, verb: str = "") -> str:
    """The values of b and a, their difference, and FD: "MMD ×1000 from 12.0 to 8.0 (difference −4.0; −5.0 to −3.0; FD
    7.6 to 5.0)".

    `verb`: what it does, such as "falls". Without a verdict nothing goes from here to there: "MMD ×1000 7.6 and 7.5".
    """
    before, after, change, interval = values_and_difference(row)
    name = f"{result.metric_name(row['metric'])} {verb}".rstrip()
    link = "to" if row["verdict"] in DETECTED else "and"
    values = f"{'from ' if link == 'to' else ''}{before} {link} {after}"
    fd = result.beside(row, "fd")
    also = ""
    if fd is not None:
        ends = (scale_metric("fd", fd[name]) for name in ("value_b", "value_a"))
        also = f"{result.metric_name('fd')} {f' {link} '.join(ends)}"
    return f"{name} {values} (difference {'; '.join(filter(None, [change, interval, lower_on(row), also]))})"


def phrase_finding(result: LoadedResult, rows: pd.DataFrame, main: pd.Series) -> tuple[str, str]:
    """The first words of a page and a sentence with the change, of the main comparison and those of its kind."""
    alike = rows[rows["family"].eq(main["family"]) & rows["b_is"].eq(main["b_is"])]
    verb = {BETTER: "falls", WORSE: "rises"}.get(main["verdict"], "")
    change = add_correction(format_change(result, main, verb), main)
    if alike["verdict"].eq(NO_VERDICT).all():
        return "No verdict.", f"{capital(main['reason'])}."
    if main["b_is"] == RIVAL:
        return phrase_rivals(alike), f"{change}."
    if main["family"] == EXPLORATION and main["b_is"] == IN_USE and len(alike.groupby(["question", "b"])) >= SEVERAL:
        return phrase_counts(alike)
    if main["b_is"] == IN_USE:
        return phrase_setting(alike, main), f"{change}."
    sentence = f"{main['question']}: {change}."
    if len(alike) > 1:
        counts = join(f"{count} {verdict}" for verdict, count in alike["verdict"].value_counts(sort=False).items())
        sentence += f" Of {len(alike)} settings: {counts}."
    return capital(f"{main['verdict']}."), sentence


def phrase_rivals(rows: pd.DataFrame) -> str:
    """Within how many evaluations which rival wins, with the interval where nothing is detected."""
    if rows["within"].isna().all():
        return f"{'; '.join(phrase_primary(row) for _, row in rows.iterrows())}."
    texts = list[str]()
    for verdict, answer in ANSWERS.items():
        alike = rows[rows["verdict"] == verdict]
        shows_interval = verdict in (NO_DIFFERENCE, NOT_SIGNIFICANT)
        names = list[str]()
        for _, pair in alike.groupby(["a", "nfe_a", "b", "nfe_b"] if shows_interval else "verdict", sort=False):
            text = join(number(within, 0) for within in pair["within"])
            text += "" if texts or names else " network evaluations"
            names.append(text + (f" ({'; '.join(difference(pair.iloc[0]))})" if shows_interval else ""))
        texts += [f"{answer} within {join(names)}"] if names else []
    return capital(f"{'; '.join(texts)}.")


def phrase_primary(row: pd.Series) -> str:
    """ "Fresh noise on the geometric schedule with 66, yes" of a comparison that was fixed beforehand."""
    answer = {BETTER: "yes", WORSE: "no"}.get(row["verdict"], row["verdict"])
    return f"{row['question']} with {evaluations(row['nfe_b'])}, {answer}"


def phrase_setting(rows: pd.DataFrame, main: pd.Series) -> str:
    """Whether a setting is better than the one in use."""
    where = f"With {number(main['within'], 0)} evaluations, " if rows["within"].nunique() > 1 else ""
    if main["reason"] == TOO_NOISY:
        return f"{where}{'keep' if where else 'Keep'} {main['b']}: {main['a']} scores lower, but shows visible noise."
    if main["verdict"] == BETTER:
        return f"{where}{main['a']} is better than {main['b']}."
    lead = "No better setting is confirmed: " if main["family"] == CONFIRM else ""
    return f"{lead}{main['a']} against {main['b']}: {main['verdict']}."


def phrase_counts(rows: pd.DataFrame) -> tuple[str, str]:
    """In how many questions a setting is better than the one in use, by number of evaluations; what is advised."""
    clauses = list[str]()
    for within, alike in sorted(rows.groupby("within", dropna=False), key=lambda item: -item[0]):
        asked = alike.groupby("question", sort=False)
        better = asked["advised"].any()
        harmed = asked["verdict"].agg(lambda verdicts: WORSE in {*verdicts} and BETTER not in {*verdicts})
        clause = f"in {better.sum()} of {len(better)} questions"
        clause += "" if is_missing(within) else f" with {number(within, 0)} evaluations"
        if harmed.any():
            clause += f", and only worse in {join(f'“{name}”' for name in harmed[harmed].index)}"
        clauses.append(clause)
    uses = Counter(rows.loc[are_set(rows["advised"]), "use"])
    use = join(f"{name} in {count}" for name, count in uses.most_common()) if uses else "nothing new"
    return f"A setting is better than the one in use {'; '.join(clauses)}.", f"Advised: {use}."


def list_factors(result: LoadedResult) -> list[str]:
    """The names of the factors of a grid, which are the questions of their effects; others are interactions."""
    return [name for name, _ in result.info.get("factors", [])]


def phrase_effects(result: LoadedResult, effects: pd.DataFrame) -> str:
    """The best value of each factor that has a better one than its first; each clause is the verdict of a row."""
    name = result.metric_name()
    effects = effects[effects["question"].isin(list_factors(result))]
    decided = effects[effects["verdict"] != NO_VERDICT]
    if decided.empty:
        return f"No verdict: {effects['reason'].iloc[0]}."
    if not decided["verdict"].isin(DETECTED).any():
        ends = [scale_metric(PRIMARY_METRIC, decided["detectable"].agg(end)) for end in ("min", "max")]
        factors = join(decided["question"].unique())
        return f"No effect of {factors} on {name} is detected; {' to '.join(dict.fromkeys(ends))} would have been."
    better = decided[decided["verdict"] == BETTER].sort_values("difference").drop_duplicates("question")
    texts = list[str]()
    for _, row in better.iterrows():
        cost = "" if is_missing(row["cost"]) or row["cost"] == 1 else f", and costs {short(row['cost'])} times as much"
        lowers = "" if texts else f"lowers {name} "
        texts.append(f"{row['a']} instead of {row['b']} {lowers}by {'{} ({})'.format(*difference(row, -1))}{cost}")
    return f"{join(texts) if texts else 'No value is better than the first of its factor'}."


def phrase_advice(result: LoadedResult, rows: pd.DataFrame, every: pd.DataFrame) -> str:
    """What to do: the advised rows; without one, what to keep. `every`: all settings."""
    advised = rows[are_set(rows["advised"])]
    noisy = rows[rows["reason"] == TOO_NOISY].sort_values("value_a")
    if len(advised) > SEVERAL:
        return ""  # the headline counts them
    texts = [f"{capital('; '.join(f'{row.asked}: use {row.use}' for _, row in advised.iterrows()))}."]
    if len(advised) == 1:
        texts = [phrase_use(result, rows, advised.iloc[0], every)]
    if advised.empty:
        kept = rows[rows["b_is"].eq(IN_USE) & rows["verdict"].ne(NO_VERDICT)]["b"].unique()
        reason = ": nothing better is confirmed" if noisy.empty else ""
        texts = [f"Keep {join(kept)}{reason}."] if len(kept) else []
    sentences = dict.fromkeys(describe_noise(result, row) for _, row in noisy.iterrows())
    return " ".join([*texts, *[*sentences][:2]])


def phrase_use(result: LoadedResult, rows: pd.DataFrame, row: pd.Series, every: pd.DataFrame) -> str:
    """The one advice of a result, with its scores, and what more evaluations change."""
    side = settings.find_setting(every, row, "a" if row["use"] == row["a"] else "b")
    use = f"Use {row['use']} with {evaluations(row['nfe'])} evaluations"
    if row["family"] == PRIMARY:
        return f"{use}, if you stay on the {side['schedule']} schedule."
    text = f"{use}: {settings.format_scores(result, side)}{settings.format_worst(side)}."
    if row["reason"] == BETTER_THAN_CHEAPEST:
        cheaper = f"{row['b']} with {evaluations(row['nfe_b'])}"
        text += f" It is better than {cheaper}, the cheapest that was confirmed ({'; '.join(difference(row))})."
    dearer = rows[rows["b_is"].eq(CHEAPER) & rows["b"].eq(row["use"]) & rows["nfe_b"].eq(row["nfe"])]
    if row["reason"] == CHEAPEST and len(dearer):
        lowest = dearer.loc[dearer["value_a"].idxmin()]
        size = scale_metric(PRIMARY_METRIC, abs(lowest["difference"]))
        word = "lower" if lowest["difference"] < 0 else "higher"
        scores = f"With {evaluations(lowest['nfe_a'])}, {lowest['a']} scores {size} {word}"
        text += f" {scores}: {verdict_words(lowest)} ({difference(lowest)[1]})."
    return text


def describe_noise(result: LoadedResult, row: pd.Series) -> str:
    """Why a setting that scores lower is not advised."""
    loud = "a" if row["use"] == row["b"] else "b"
    noise = result.beside(row, "visible_noise")
    level = "" if noise is None else f" ({number(noise[f'value_{loud}'], 3)})"
    return f"{row[loud]} scores lower, but shows more visible noise{level} than the limit."


def describe_others(result: LoadedResult, rows: pd.DataFrame, main: pd.Series) -> Iterator[str]:
    """Sentences on other questions: what to keep, factors that depend on each other, and what many comparisons cost."""
    effects = rows[rows["family"].eq(EFFECTS) & ~rows["question"].isin(list_factors(result))]
    depends = effects[effects["verdict"].isin(DETECTED)]
    if len(depends):
        texts = (f"{row['a']} by {'{} ({})'.format(*difference(row))}" for _, row in depends.iterrows())
        yield f"Depends on another factor: {'; '.join(texts)}."
    asked = rows[rows["b_is"].eq(IN_USE)]
    kept = [
        f"{name}: {'no verdict' if pairs['use'].eq('').all() else f'keep {b}'}"
        for (name, b), pairs in asked.groupby(["asked", "b"], sort=False)
        if not pairs["use"].eq(pairs["a"]).any() and name != main["asked"]
    ]
    if 0 < len(kept) <= SEVERAL:
        yield capital(f"{'; '.join(kept)}.")
    explored = asked[asked["family"] == EXPLORATION]
    if explored.duplicated(["a", "b"]).any():
        yield "Whether an effect differs between questions is not tested; a grid does that (sweep --vary)."
    if explored["compared"].max() > MANY:
        yield (
            f"Verdicts are corrected for {explored['compared'].max():.0f} comparisons, which hides smaller differences:"
            " an ExploringStudy with explore() tries them on other networks and tests the best alone (docs/sweeps.md)."
        )


def find_disagreement(result: LoadedResult, row: pd.Series) -> list[str]:
    """A warning if FD says something else than the metric that decides."""
    fd = result.beside(row, "fd")
    if fd is None or not fd["low"] * fd["high"] > 0:
        return []
    word = BETTER if fd["difference"] < 0 else WORSE
    if row["verdict"] in (NO_VERDICT, word):
        return []
    change, interval = difference(fd)
    primary = f"{result.metric_name()} is the primary metric"
    return [f"In {result.metric_name('fd')}, {row['a']} is {word}: {change} ({interval}); {primary}."]


def find_other_order(result: LoadedResult, row: pd.Series) -> list[str]:
    """A warning if FD has another lowest among settings that were confirmed, or are in the section of a row."""
    every = settings.summarise_settings(result)
    rows = every[every["section"].isin([row["section"], CONFIRM])].dropna(subset=[PRIMARY_METRIC, "fd"])
    rows = rows[rows["networks"] == rows["networks"].max()]
    lowest = [rows.loc[rows[name].idxmin()] for name in (PRIMARY_METRIC, "fd") if len(rows)]
    if len({scale_metric("fd", side["fd"]) for side in lowest}) < 2:
        return []
    texts = [f"{settings.name_with_evaluations(side)}: {settings.format_scores(result, side)}" for side in lowest]
    return [f"MMD and FD order the best settings differently. Lowest {'; '.join(texts)}."]


def name_networks(result: LoadedResult, row: pd.Series) -> str:
    """How many networks a verdict is about: "5 networks" in general, or "these 2 networks"."""
    if result.hold_for(row["n"]):
        return plural(row["n"], "network")
    return "this network" if row["n"] == 1 else f"these {number(row['n'], 0)} networks"


def describe_doubt(result: LoadedResult, row: pd.Series) -> str:
    """What the interval of a comparison is about, and what it could detect."""
    many = "networks" if result.hold_for(row["n"]) else f"{result.unit}s of {name_networks(result, row)}"
    texts = [f"{percent(result.confidence)} interval: where the mean over many such {many} lies"]
    if not is_missing(row["detectable"]) and row["verdict"] not in DETECTED:
        texts.append(f"can detect {scale_metric(PRIMARY_METRIC, row['detectable'])} in {result.metric_name()}")
    return "; ".join(texts)
