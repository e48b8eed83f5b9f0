"""From a table of runs to answers: `judge` compares pairs of settings, `answer` decides what to use. No files.

The table has a row per run, as table.csv does. A difference is the mean of a - b over networks. With five networks or
more its interval is Student's t over these; with fewer it is Student's t over what each image adds
(distances/intervals.py). Verdicts are on MMD, corrected by Holm over all pairs of a family that were planned: pairs of
the same samples count once, and what was not run, or has no verdict, counts as p = 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from experiments.distances.distance import Distance, mean_of
from experiments.distances.intervals import (
    ENOUGH_NETWORKS,
    Estimate,
    detectable,
    estimate_mean,
    estimate_pairs,
    holm,
    too_noisy,
    verdict,
)
from experiments.distances.reference import QUALITY, no_images_reason
from experiments.run.pairs import Pair
from reports.schema import (
    BETTER,
    BETTER_THAN_CHEAPEST,
    CHEAPER,
    CHEAPEST,
    COMPARED,
    CONFIRM,
    IN_USE,
    METRICS,
    NO_VERDICT,
    PRIMARY,
    PRIMARY_METRIC,
    RIVAL,
    TABLES,
    TOO_NOISY,
    WORSE,
    all_columns,
)

FEW_NETWORKS = f"settings with their own training are compared over {ENOUGH_NETWORKS} networks or more"
Added = Mapping[str, Mapping[str, Distance]]  # run_id -> metric -> the distance, with what each image adds to it


def judge(
    table: pd.DataFrame, pairs: Sequence[Pair], floors: pd.DataFrame, added: Added | None = None, *, paired: bool = True
) -> pd.DataFrame:
    """Compares pairs. Returns the rows of contrasts.csv, for each pair that ran one per metric.

    Args:
        table: all runs, also those that failed or were not begun.
        floors: the rows of floors.csv; without them all samples count as images.
        added: needed with fewer than five networks.
        paired: whether image i of a and of b comes from the same noise.
    """
    seeds = table["train_seed"].astype(object)  # sets of images have none
    keyed = table.assign(budget=table["budget"].fillna(0).astype(int), train_seed=seeds.where(seeds.notna(), ""))
    keyed = keyed[keyed["status"] != "infeasible"]
    runs: dict[Any, pd.DataFrame] = {
        key: rows.drop_duplicates("train_seed").set_index("train_seed")
        for key, rows in keyed.groupby(["section", "budget", "setting"], sort=False)
    }
    rows = list[dict[str, Any]]()
    planned: dict[str, set[object]] = {}
    for pair in pairs:
        sides = [[runs[key] for key in keys if key in runs] for keys in pair.sides]
        whole = [len(side) for side in sides] == [len(keys) for keys in pair.sides]
        samples = tuple(tuple(run["samples_id"]) for side in sides for run in side) if whole else pair.sides
        planned.setdefault(pair.family, set()).add(samples)
        if whole:
            rows += _compare(pair, sides, samples, floors, added, paired)
    _decide_verdicts(rows, {family: len(samples) for family, samples in planned.items()})
    return pd.DataFrame(rows, columns=all_columns(TABLES["contrasts.csv"])).astype({"within": "float64"})


def _compare(
    pair: Pair, sides: Sequence[Sequence[pd.DataFrame]], samples: object, floors: pd.DataFrame, added: Added | None,
    paired: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of one pair, over the networks on which all its settings ran; none without such a network."""
    cells = [cell for side in sides for cell in side]
    done = [cell[cell["status"] == "ok"] for cell in cells]
    seeds = [seed for seed in done[0].index if all(seed in cell.index for cell in done)]
    if not seeds:
        return []
    reason = "" if pair.family == PRIMARY else _missed(cells)
    reason = reason or _no_images(sides, pair.times, seeds, floors) or _few_networks(done, seeds)
    means = []
    for side in sides:
        values = [cell.reindex(columns=[*COMPARED, "nfe"]).loc[seeds].astype("float64") for cell in side]
        means.append(sum(values[1:], values[0]) / len(values))
    (section, budget, _), *_ = pair.sides[0]
    names = [name or keys[0][2] for name, keys in zip(pair.names, pair.sides, strict=True)]
    shared = {
        "question": pair.question, "family": pair.family, "section": section, "within": pair.within or budget or None,
        "a": names[0], "nfe_a": means[0]["nfe"].mean(), "b": names[1], "nfe_b": means[1]["nfe"].mean(),
        "b_is": pair.b_is, "n": len(seeds), "reason": reason, "samples": samples,
    }  # fmt: skip
    rows = []
    for metric in COMPARED:
        a, b = (side[metric] * pair.times for side in means)
        each = (a - b).dropna()
        if not len(each):
            continue
        found: Estimate | None = None
        if metric in METRICS and len(seeds) < ENOUGH_NETWORKS:
            found = _estimate_by_images(pair, sides, seeds, metric, added or {}, paired)
        elif len(each) > 1:
            found = estimate_mean(each.tolist())
        row = shared | {"metric": metric, "value_a": a.mean(), "value_b": b.mean(), "difference": each.mean()}
        row["estimate"] = found
        if found:
            row |= {"low": found.low, "high": found.high, "p": found.p}
        if len(each) > 1:
            row |= {"lower": int((each < 0).sum()), "each": " ".join(f"{value:.6g}" for value in each)}
        rows.append(row)
    return rows


def _estimate_by_images(
    pair: Pair,
    sides: Sequence[Sequence[pd.DataFrame]],
    seeds: Sequence[object],
    metric: str,
    added: Added,
    paired: bool,
) -> Estimate:
    """The difference for these networks, from what each image adds."""
    by_network = [
        [mean_of([added[cell.loc[seed, "run_id"]][metric] for cell in side], pair.times) for side in sides]
        for seed in seeds
    ]
    return estimate_pairs([(a, b) for a, b in by_network], paired=paired)


def _missed(cells: Sequence[pd.DataFrame]) -> str:
    """Why a pair of which some runs are missing has no verdict; "" if all were made."""
    for cell in cells:
        if missing := int((cell["status"] != "ok").sum()):
            word = "failed" if (cell["status"] == "failed").any() else "were not made"
            return f"{missing} of its {len(cell)} runs {word}"
    return ""


def _no_images(
    sides: Sequence[Sequence[pd.DataFrame]], times: int, seeds: Sequence[object], floors: pd.DataFrame
) -> str:
    """Why the samples of a pair are not images; "" if they may be."""
    first = sides[0][0].loc[seeds[0]]
    alike = floors
    for name in ("features", "n_samples", "n_reference") if len(floors) else ():
        alike = alike[alike[name] == first[name]]
    floor = dict(zip(alike["metric"], alike["mean"], strict=True)) if len(alike) else {}
    real = {name: floor.get(name, 0.0) for name in QUALITY}
    for at in range(0, len(sides[0]), times):
        cells = [cell for side in sides for cell in side[at : at + times]]  # of one combination of other factors
        qualities = [{name: float(cell.loc[seeds, name].astype(float).mean()) for name in QUALITY} for cell in cells]
        if reason := no_images_reason(qualities, real):
            return reason
    return ""


def _few_networks(done: Sequence[pd.DataFrame], seeds: Sequence[object]) -> str:
    """Why settings that are trained differently have no verdict; "" if they have enough networks, or are not."""
    first = done[0]
    if len(seeds) >= ENOUGH_NETWORKS or "model_id" not in first or first.loc[seeds[0]].get("trained_by") == "others":
        return ""
    differ = any(len({cell.loc[seed, "model_id"] for cell in done}) > 1 for seed in seeds)
    return FEW_NETWORKS if differ else ""


def _decide_verdicts(rows: Sequence[dict[str, Any]], sizes: Mapping[str, int]) -> None:
    """Fills verdict, compared and detectable: Holm's correction over each family in the metric that decides."""
    p_values: dict[str, dict[object, float]] = {}
    for row in rows:
        if row["metric"] == PRIMARY_METRIC and not row["reason"]:
            p_values.setdefault(row["family"], {})[row["samples"]] = row["p"]
    corrected = {
        family: dict(zip(p, holm([*p.values()], sizes[family]), strict=True)) for family, p in p_values.items()
    }
    word = ""
    for row in rows:
        found = row["estimate"]
        row["compared"] = 1
        if row["metric"] == PRIMARY_METRIC:  # the first row of a pair, whose verdict all its rows have
            row["compared"] = sizes[row["family"]]
            word = NO_VERDICT if row["reason"] else verdict(found, corrected[row["family"]][row["samples"]])
        row["verdict"] = word
        row["detectable"] = detectable(found.se, found.freedom, row["compared"]) if found else None


def answer(judged: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of answers.csv: for each pair what to use, and why. What is advised is decided here and nowhere else.

    What was confirmed with and without fresh noise, or with several numbers of evaluations, has one advice: the
    cheapest confirmed setting; a dearer one if it is confirmed to be better than that one. Otherwise each question has
    one: the lowest of the settings that are better than the one in use. A setting that shows more noise than the limit
    is never advised.
    """
    rows = judged[judged["metric"] == PRIMARY_METRIC].reset_index(drop=True)
    for name in QUALITY:
        other = judged[judged["metric"] == name].reset_index(drop=True)
        for end, column in (("", "difference"), ("_low", "low"), ("_high", "high")):
            rows[f"{name}{end}"] = other[column]
    rows["cost"] = rows["nfe_a"] / rows["nfe_b"]
    uses = [_use(row, *(_is_noisy(table, row, side) for side in "ab")) for _, row in rows.iterrows()]
    sides = [side for side, _ in uses]
    rows["use"] = [row[side] if side else "" for side, (_, row) in zip(sides, rows.iterrows(), strict=True)]
    rows["nfe"] = rows["nfe_a"].where(pd.Series(sides) == "a", rows["nfe_b"].where(pd.Series(sides) == "b"))
    rows["reason"] = [reason for _, reason in uses]
    rows["advised"] = False
    for at, reason in _advise(rows).items():
        rows.loc[at, ["advised", "reason"]] = [True, reason or rows.loc[at, "reason"]]
    return rows[all_columns(TABLES["answers.csv"])]


def _use(row: pd.Series, noisy_a: bool, noisy_b: bool) -> tuple[str, str]:
    """The side of a pair to use, "" for none, and why."""
    if row["verdict"] == NO_VERDICT:
        return "", row["reason"]
    if row["b_is"] == RIVAL:
        order = sorted("ab", key=lambda side: (row["verdict"] != {"a": BETTER, "b": WORSE}[side], row[f"value_{side}"]))
        quiet = [side for side in order if not {"a": noisy_a, "b": noisy_b}[side]]
        if row["family"] == PRIMARY and row["verdict"] not in (BETTER, WORSE):
            quiet = []
        return (quiet[0], row["verdict"] if quiet == order else TOO_NOISY) if quiet else ("", row["verdict"])
    if row["b_is"] in (IN_USE, CHEAPER):
        if row["verdict"] == BETTER and noisy_a:
            return "b", TOO_NOISY
        return "a" if row["verdict"] == BETTER else "b", row["verdict"]
    return "", row["verdict"]


def _is_noisy(table: pd.DataFrame, row: pd.Series, side: str) -> bool:
    """Whether a setting shows more noise than the limit, where that was measured on all its networks."""
    if "visible_noise" not in table:
        return False
    alike = (
        (table["setting"] == row[side]) & (table["section"] == row["section"]) & (table["nfe"] == row[f"nfe_{side}"])
    )
    noise = table.loc[alike & (table["status"] == "ok"), "visible_noise"].dropna()
    return len(noise) >= row["n"] and too_noisy(noise.astype(float).tolist())


def _advise(rows: pd.DataFrame) -> dict[Any, str]:
    """The advised rows of answers.csv, by index, and why if the verdict does not say it."""
    confirmed = rows[rows["family"] == CONFIRM].sort_values("within", kind="stable")
    prices = confirmed[confirmed["b_is"] == CHEAPER]
    rivals = confirmed[confirmed["b_is"] == RIVAL]
    usable = rows[(rows["b_is"] == IN_USE) & (rows["use"] == rows["a"])]
    if rivals.empty and prices.empty:
        best = usable.sort_values("value_a", kind="stable").drop_duplicates(["question", "within", "b"])
        primary = rows[(rows["family"] == PRIMARY) & (rows["use"] != "")]
        return dict.fromkeys([*best.sort_index().index, *primary.index], "")
    contests = confirmed[(confirmed["b_is"] == RIVAL) & (confirmed["use"] != "") | confirmed.index.isin(usable.index)]
    if contests.empty:
        return {}
    cheapest = contests.iloc[0]
    dearer = prices[
        (prices["b"] == cheapest["use"]) & (prices["nfe_b"] == cheapest["nfe"]) & (prices["use"] == prices["a"])
    ]
    if rivals.empty:  # a dearer setting that is not better than the one in use is not advised
        places = {*zip(usable["a"], usable["nfe_a"], strict=True)}
        dearer = dearer[[place in places for place in zip(dearer["a"], dearer["nfe_a"], strict=True)]]
    if dearer.empty:
        return {cheapest.name: CHEAPEST}
    return {dearer["value_a"].idxmin(): BETTER_THAN_CHEAPEST}
