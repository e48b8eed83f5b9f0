"""The facts that a reader needs to believe a comparison of two settings, and to run it again."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from reports import settings
from reports.formats import are_set, capital, evaluations, join, number, percent, plural, scale_metric, short
from reports.page import Code
from reports.results import LoadedResult
from reports.schema import CONFIRM, EXPLORE, PRIMARY_METRIC
from reports.words import describe_doubt, name_networks

ETA = "eta: the sampler euler with fresh noise; eta 0 has none (DDIM), eta 1 is DDPM"
Facts = list[tuple[str, Any]]


def list_facts(result: LoadedResult, row: pd.Series, sides: Sequence[pd.Series]) -> Facts:
    """The facts on a row of `LoadedResult.judged` and its sides b and a."""
    info, unit = result.info, result.unit
    run = result.runs.loc[result.runs["images_seen"].fillna(0).idxmax()]
    size = sides[0]["n_samples"]
    real = settings.score_real(result, size)
    seen = f", {number(run['images_seen'], 0)} {unit}s seen in training" if run["images_seen"] > 0 else ""
    if recipe := info.get("options", {}).get("recipe") if result.trained_here else "":
        seen = f", recipe {recipe}{seen}"
    device = f"{run['device']}{', shared' if are_set(result.runs['shared_device']).any() else ''}"
    seconds = _pair(short(side["seconds"] / side["n_samples"]) for side in sides if side["seconds"] > 0)
    traits = {
        "visible noise": [settings.format_noise(side) for side in sides],
        "recall": [number(side["recall"], 2) for side in sides],
        "near copies": [percent(max(side["memorised"], 0)) for side in sides if side["memorised"] > -1],
    }
    origin = f"commit {info.get('commit') or 'unknown'}; {settings.describe_source(result).time}".strip("; ")
    facts = {
        "Data": f"{run['data']}{f'. Real {unit}s: {real}' if real else ''}",
        "Networks": f"{name_networks(result, row)} ({run['network']}{seen}). Others, and other data: not tested here",
        "Last level": f"sigma {_pair(short(side['sigma_min']) for side in sides)}",
        "Score": f"{result.metric_name()}: distance from {number(size, 0)} {unit}s of each network to "
        f"{number(run['n_reference'], 0)} real ones, in {result.features} features; 0 is a match. "
        f"{result.metric_name('fd')}: the distance of FID",
        "Cost": f"{_pair(evaluations(side['nfe']) for side in sides)} evaluations per {unit} on the "
        f"{_pair(side['schedule'] for side in sides)} schedule{f', {seconds} seconds ({device})' if seconds else ''}",
        f"In the {unit}s": capital("; ".join(f"{term} {_pair(texts)}" for term, texts in traits.items() if any(texts))),
        "Sure?": describe_doubt(result, row),
        "Fixed": describe_protocol(result),
        "Names": " ".join(describe_names(result, sides)),
        "Run again": Code(origin, info.get("command", "unknown")),
    }
    return [(term, fact) for term, fact in facts.items() if fact]


def describe_names(result: LoadedResult, sides: Sequence[pd.Series]) -> list[str]:
    """Explains the names of these settings, and of all that were confirmed: the first sentence of each formula."""
    confirmed = result.judged[result.judged["family"] == CONFIRM]
    shown = {*(side["setting"] for side in sides), *confirmed[["a", "b"]].to_numpy().flat}
    rows = result.runs[result.runs["setting"].isin(shown)]
    names = [*(side["schedule"] for side in sides), *rows["schedule"].unique(), *rows["sampler"].unique()]
    formulas = result.info.get("formulas", {})
    first = {name: text.replace("`", "").partition(". ")[0].removesuffix(".") for name, text in formulas.items()}
    texts = [
        f"{name}: {first[name]}." for name in dict.fromkeys(name.partition("(")[0] for name in names) if name in first
    ]
    if any("end=0" in name for name in shown):
        texts.append("end=0: then a last step to 0.")
    return [*texts, *([f"{ETA}."] if result.runs["eta"].notna().any() else [])]


def _pair(values: Iterable[str]) -> str:
    """Two values, or one if they are equal."""
    return " and ".join(dict.fromkeys(values))


def describe_protocol(result: LoadedResult) -> str:
    """Says what was fixed before any result; who chose, and who compared."""
    texts = list[str]()
    if result.fixed_beforehand:
        changed = result.info.get("differs_from_preset")
        texts.append("The main comparison, before any result")
        texts += [f"Changed since: {join(changed)}"] if changed else []
    explored = result.choices[result.choices["networks"].notna()]
    if len(explored) and result.was_confirmed:
        who = plural(explored["networks"].max(), "other network") if result.trained_here else "this network"
        planned = not result.table["section"].eq(EXPLORE).any()
        what = "chose one setting per question" if planned else f"chose among {len(explored)} settings"
        texts.append(f"{who} {what}; then, with other noise, these compared")
        barred = explored[are_set(explored["barred"])]
        if len(barred):
            lowest = barred.loc[barred[PRIMARY_METRIC].idxmin()]
            score = f"{result.metric_name()} {scale_metric(PRIMARY_METRIC, lowest[PRIMARY_METRIC])}"
            limit = "the default" if result.limit is None else number(result.limit, 2)
            text = f"{len(barred)} of {len(explored)} settings show more visible noise than {limit} and were barred"
            texts.append(f"{text}; the lowest of them: {settings.name_with_evaluations(lowest)}, {score} (explored)")
    return ". ".join(map(capital, texts))
