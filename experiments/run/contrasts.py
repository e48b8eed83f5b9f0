"""Comparisons as rows of contrasts.csv and effects.csv, for experiments and for `score`.

Every interval is the ordinary 95 % interval of its own comparison (distances/intervals.py). Verdicts are corrected by
Holm's method over a family, in the metric that decides: all exploratory comparisons that a study plans, all effects of
a grid, or all that confirmers compare. The contrast that was fixed beforehand is a family of one.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.distances.distance import Array
from experiments.distances.intervals import (
    CONFIDENCE,
    ENOUGH_NETWORKS,
    Estimate,
    estimate_pairs,
    holm,
    too_noisy,
    verdict,
)
from experiments.distances.reference import QUALITY, no_images_reason
from experiments.run.comparisons import (
    CONFIRM,
    Comparison,
    Contrast,
    Effect,
    Row,
    Side,
    name_both,
    shared_seeds,
)
from reports.schema import (
    BETTER,
    EFFECTS,
    EXPLORATION,
    METRICS,
    NO_VERDICT,
    PRIMARY,
    PRIMARY_METRIC,
)

FEW_NETWORKS = f"settings with their own training are compared over {ENOUGH_NETWORKS} networks or more"
ONE = ("experiment", "data", "network", "trained_by", "features", "n_samples", "n_reference")  # the same on both sides
IF_SAME = ("n_steps", "final_denoise", "train_noise", "images_seen")  # columns that are empty if the sides differ
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of a study."""

    floors: Sequence[Row]  # rows of floors.csv; without them, all samples count as images
    # by comparison the reason for no verdict, and its difference in the metric that decides, corrected for its family
    known: Mapping[int, tuple[str, Estimate]] = field(default_factory=dict)
    # key in `known` of the exploratory comparison of two settings, by the names of both
    pairs: Mapping[frozenset[object], int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, comparisons: Sequence[Comparison], floors: Sequence[Row], planned: Sequence[Comparison] = ()
    ) -> "Verdicts":
        """The verdicts on comparisons that `filter_comparable` gave. They are found by `id`, so the caller keeps them.

        `planned`: all that the study compares, if these are a part. A family has the size that was planned: what was
        not run, or has no verdict, counts as p = 1.
        """
        planned = planned or comparisons
        judged = [c for c in comparisons if c.seeds]
        estimates = {id(c): estimate_difference(c, PRIMARY_METRIC) for c in judged}
        made = cls(floors)
        known = {id(c): (made.verdict_blocker(c), replace(estimates[id(c)], family=c.kind)) for c in judged}
        for name in (EXPLORATION, CONFIRM, EFFECTS):
            family = {id(c): _samples(c) for c in judged if family_of(c) == name}
            p_values = dict[object, float]()  # by samples: comparisons of the same runs count once
            for key, samples in family.items():
                blocker, estimate = known[key]
                if not blocker:
                    p_values[samples] = estimate.p_value
            members = {_samples(c) for c in planned if family_of(c) == name}
            size = max(len(members), len(p_values), 1)
            corrected = dict(zip(p_values, holm([*p_values.values()], size), strict=True))
            for key, samples in family.items():
                blocker, estimate = known[key]
                p_adjusted = None if blocker else corrected[samples]
                known[key] = blocker, estimate.corrected(name, p_adjusted, size)
        pairs = {frozenset[object](side.name for side in c.sides): id(c) for c in judged if c.kind != PRIMARY}
        return replace(made, known=known, pairs=pairs)

    def verdict_blocker(self, contrast: Comparison) -> str:
        """Why a comparison gets no verdict; "" if it does."""
        if contrast.kind != PRIMARY and (missed := [side for side in contrast.sides if not side.whole]):
            return f"{missed[0].planned - len(missed[0].rows)} of its {missed[0].planned} runs failed"
        judged = contrast.combinations if isinstance(contrast, Effect) else [contrast.sides]
        return next(filter(None, (self.settings_blocker(sides, contrast.seeds) for sides in judged)), "")

    def settings_blocker(self, sides: Sequence[Side], seeds: Sequence[int | None]) -> str:
        """Why settings get no verdict: their samples are no images, or networks are too few."""
        row = sides[0].rows[seeds[0]]
        columns = ("features", "n_samples", "n_reference")
        floor = {of["metric"]: of["mean"] for of in self.floors if all(of[name] == row[name] for name in columns)}
        qualities = [{name: _mean(side, name, seeds) for name in QUALITY} for side in sides]
        if reason := no_images_reason(qualities, {name: floor.get(name, 0.0) for name in QUALITY}):
            return reason
        retrained = differ_in_networks(sides) and row.get("trained_by") != "others"  # ready ones are what they are
        if retrained and len(seeds) < ENOUGH_NETWORKS:
            return FEW_NETWORKS
        return ""


def estimate_difference(contrast: Comparison, metric: str) -> Estimate:
    """a - b with its own interval, network by network."""
    paired = all(side.paired for side in contrast.sides)
    estimate = estimate_pairs(contrast.pairs(metric), paired=paired)
    return replace(estimate, holds_for=None) if contrast.sides[0].is_image_set else estimate


def family_of(comparison: Comparison) -> str:
    """The name of the comparisons that it is corrected together with."""
    if isinstance(comparison, Effect):
        return EFFECTS
    if comparison.kind == PRIMARY:
        return PRIMARY
    return CONFIRM if comparison.sides[0].section == CONFIRM else EXPLORATION


def _samples(contrast: Comparison) -> object:
    """The samples that a comparison is made of: comparisons of the same samples count as one."""
    ids = [tuple(row.get("samples_id") for row in side.rows.values()) for side in contrast.sides]
    unknown = any(None in of_side or not of_side for of_side in ids)
    return id(contrast) if unknown or isinstance(contrast, Effect) else tuple(ids)


def filter_comparable(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons whose settings have images from the same networks and noise. A warning names the others."""
    out = list[Comparison]()
    for comparison in comparisons:
        sides = [side for side in comparison.sides if side.whole]
        images: dict[tuple[object, ...], Side] = {}  # by networks and noise
        for side in reversed(sides):
            ids = ((seed, row.get("sample_seed"), row.get("n_samples")) for seed, row in side.rows.items())
            images[side.paired, *ids] = side
        if len(images) < 2:
            out.append(comparison)
            continue
        *_, other, first = images.values()
        reason = "they have images from different networks or noise"
        log.warning(f"{name_both(first, other)} are not compared: {reason}")
    return out


def score_interval(side: Side) -> Row:
    """The score of a setting in the metric that decides, a mean over networks, with its interval."""
    distances = [by_metric[PRIMARY_METRIC] for by_metric in side.distances.values()]
    score = estimate_pairs([(distance, distance - distance) for distance in distances])
    return {"metric": PRIMARY_METRIC, "value": score.difference, "low": score.low, "high": score.high}


def contrast_rows(comparisons: Sequence[Comparison], verdicts: Verdicts) -> Iterator[Row]:
    """Rows of contrasts.csv: for each metric one per network, then one over networks. `verdicts` is of these."""
    recommended = recommend(comparisons, verdicts)
    for comparison in comparisons:
        if isinstance(comparison, Effect) or not comparison.seeds:
            continue
        rows = [*_rows(comparison, *verdicts.known[id(comparison)])]
        rows[-len(METRICS)] |= _noise(comparison) | {"recommended": id(comparison) in recommended}
        yield from rows


def effect_rows(comparisons: Sequence[Comparison], verdicts: Verdicts) -> Iterator[Row]:
    """Rows of effects.csv, a row per metric. `verdicts` is of these."""
    for effect in comparisons:
        if not isinstance(effect, Effect) or not effect.seeds:
            continue
        blocker, judged = verdicts.known[id(effect)]
        word = NO_VERDICT if blocker else verdict(judged)
        for metric in METRICS:
            estimate = judged if metric == PRIMARY_METRIC else estimate_difference(effect, metric)
            row = effect.columns | {"metric": metric} | vars(estimate)
            yield row | {"n_networks": len(effect.seeds), "verdict": word, "no_verdict": blocker or None}


def recommend(comparisons: Sequence[Comparison], verdicts: Verdicts) -> set[int]:
    """The `id` of the recommended contrast of each question that was confirmed.

    It is the lowest score among those that are better than their opponent and within the limit of visible noise.
    """
    questions: dict[object, list[Contrast]] = {}
    for comparison in comparisons:
        if comparison.kind != CONFIRM or isinstance(comparison, Effect) or not comparison.seeds:
            continue
        blocker, estimate = verdicts.known[id(comparison)]
        if not blocker and verdict(estimate) == BETTER and not _noise(comparison)["more_noise"]:
            question = (comparison.kind, comparison.budget, comparison.role, comparison.b.name)
            questions.setdefault(question, []).append(comparison)
    return {id(min(contrasts, key=lambda contrast: contrast.a.score)) for contrasts in questions.values()}


def _noise(contrast: Contrast) -> Row:
    """The visible noise of both sides, and whether it is above the limit; None where it was not measured."""
    shares = [side.visible_noise for side in contrast.sides]
    if min(map(len, shares)) < len(contrast.seeds):
        return dict.fromkeys(("visible_noise_a", "visible_noise_b", "more_noise", "noisy_b"))
    a, b = (float(np.mean(of_side)) for of_side in shares)
    return {
        "visible_noise_a": a,
        "visible_noise_b": b,
        "more_noise": too_noisy(shares[0]),
        "noisy_b": too_noisy(shares[1]),
    }


def _rows(contrast: Contrast, blocker: str, judged: Estimate) -> Iterator[Row]:
    """The rows of a comparison.

    `blocker`: why it has no verdict, or "". `judged`: its corrected difference in the metric that decides.
    """
    shared = _shared(contrast)
    seeds = contrast.seeds
    paired = all(side.paired for side in contrast.sides)
    word = NO_VERDICT if blocker else verdict(judged)
    for metric in METRICS:
        for seed, (a, b) in zip(seeds, contrast.pairs(metric), strict=True):
            if seed is None:  # sets of images, which no network of ours made
                continue
            of_network: Row = {"train_seed": seed, "value_a": a.value, "value_b": b.value, "n_networks": 1}
            of_network["run_id_a"] = contrast.a.rows[seed]["run_id"]
            of_network["run_id_b"] = contrast.b.rows[seed]["run_id"]
            yield shared | _numbers(metric, estimate_pairs([(a, b)], paired=paired)) | of_network
    for metric in METRICS:
        estimate = judged if metric == PRIMARY_METRIC else estimate_difference(contrast, metric)
        pairs = contrast.pairs(metric)
        value_a = float(np.mean([a.value for a, _ in pairs]))
        value_b = float(np.mean([b.value for _, b in pairs]))
        row: Row = {"value_a": value_a, "value_b": value_b, "n_networks": len(seeds)}
        if metric == PRIMARY_METRIC and not contrast.a.is_image_set and len(seeds) > 1:
            row["n_lower"] = sum(a.value < b.value for a, b in pairs)
        row |= {"no_verdict": blocker or None, "verdict": word}
        if blocker:
            estimate = replace(estimate, clear=False)
        yield shared | _numbers(metric, estimate) | row


def _mean(side: Side, name: str, seeds: Sequence[int | None] | None = None) -> float:
    """The mean of a column over all networks, or over those with these seeds."""
    return float(np.mean([side.rows[seed][name] for seed in (side.rows if seeds is None else seeds)]))


def differ_in_networks(sides: Sequence[Side]) -> bool:
    """Whether these settings have different networks, asked of the seeds for which all of them succeeded."""
    return any(len({side.rows[seed].get("model_id") for side in sides}) > 1 for seed in shared_seeds(sides))


def _numbers(metric: str, estimate: Estimate) -> Row:
    return {"metric": metric, "level": CONFIDENCE} | vars(estimate)


def _shared(contrast: Contrast) -> Row:
    a, b = contrast.sides
    first, other = rows = [side.rows[contrast.seeds[0]] for side in contrast.sides]
    out: Row = {"kind": contrast.kind, "n_planned": a.planned, "section": a.section, "a": a.label, "b": b.label}
    out |= {"budget": a.budget if contrast.budget is None else contrast.budget, "choice": contrast.role or None}
    for side, row in zip("ab", rows, strict=True):
        out |= {f"{name}_{side}": row.get(name) for name in ("alpha", "beta", "eta", "nfe")}
    out |= {name: first.get(name) for name in ONE}
    equal = {name: first.get(name) for name in IF_SAME if other.get(name) == first.get(name)}
    return out | dict.fromkeys(IF_SAME) | equal


def summarise(values: Array) -> dict[str, float]:
    numbers = {"mean": values.mean(), "sd": values.std(ddof=1), "low": values.min(), "high": values.max()}
    return {name: float(value) for name, value in numbers.items()}
