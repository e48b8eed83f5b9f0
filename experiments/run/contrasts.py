"""Comparisons (compare.py) as rows of contrasts.csv, best_sets.csv and floors.csv.

A contrast that was fixed beforehand has an interval of its own, and so has a control. Interactions have intervals that
hold for all of them at once (Bonferroni). All other differences are one family, whose intervals hold at once
(distances/family.py): the verdicts on settings against the first one and the set of the best come from the same
intervals.
"""

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from experiments.distances.distance import Array
from experiments.distances.family import Family, family
from experiments.distances.intervals import (
    BETTER,
    ENOUGH_NETWORKS,
    GRAINY,
    LEVEL,
    NO_VERDICT,
    Estimate,
    of_pairs,
    predicted,
    verdict,
)
from experiments.distances.real import JUDGE, METRICS
from experiments.distances.trust import MEASURES, no_images
from experiments.run.compare import ALONE, CONTROL, BestSet, Comparison, Contrast, Interaction, Row, Side, named

FEW_NETWORKS = f"settings with their own training are compared over {ENOUGH_NETWORKS} networks or more"
SMALLEST = 0.1  # the smallest difference of interest, as a share of b's score
ONE = ("experiment", "data", "network", "trained_by", "features", "n_samples", "n_reference")  # the same on both sides
log = logging.getLogger(__name__)
IF_SAME = ("n_steps", "final_denoise", "train_noise", "images_seen")


@dataclass(frozen=True)
class Families:
    """The family of all differences on a page, of each metric.

    It has each contrast without an interval of its own, and all pairs of each set of the best. Settings of one family
    have images from the same networks and noise. Where those of a page do not, it has as many families, and each has so
    many times less of the 5 %. A setting of which a run failed is in none.
    """

    places: Mapping[int, tuple[int, int]]  # id of a side -> its family, its place in that
    of: Sequence[Mapping[str, Family]]
    interactions: int = 0  # how many there are

    @classmethod
    def over(cls, comparisons: Sequence[Comparison]) -> "Families":
        """The families of comparisons that are `comparable`."""
        parts: dict[object, dict[int, Side]] = {}  # by networks: sides by id
        pairs = list[tuple[Side, Side]]()
        for one in comparisons:
            if isinstance(one, BestSet):
                pairs += itertools.combinations([side for side in one.sides if side.whole], 2)
            elif isinstance(one, Contrast) and one.kind not in ALONE and one.a.whole and one.b.whole:
                pairs.append((one.a, one.b))
        for side in (side for pair in pairs for side in pair):
            parts.setdefault(_images(side), {})[id(side)] = side
        places = {name: (n, place) for n, part in enumerate(parts.values()) for place, name in enumerate(part)}
        compared = [np.zeros((len(part), len(part)), dtype=bool) for part in parts.values()]
        for a, b in pairs:
            (n, first), (other, second) = places[id(a)], places[id(b)]
            assert n == other  # see `comparable`
            compared[n][first, second] = True
        level = 1 - (1 - LEVEL) / max(len(parts), 1)
        of = [
            {metric: _family([*part.values()], metric, which, level) for metric in METRICS}
            for part, which in zip(parts.values(), compared, strict=True)
        ]
        return cls(places, of, sum(isinstance(one, Interaction) for one in comparisons))

    def find(self, *sides: Side) -> tuple[Mapping[str, Family], list[int]] | None:
        """The family of some sides, and their places in it; None if one of them is in none."""
        found = [self.places[id(side)] for side in sides if id(side) in self.places]
        if len(found) < len(sides):
            return None
        return self.of[found[0][0]], [place for _, place in found]

    @property
    def pairs(self) -> int:
        """How many differences there are, in all."""
        return sum(each[JUDGE].pairs for each in self.of)


def comparable(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those whose settings have images from the same networks and noise. It says which are left out.

    A part of the runs may have been asked for, and a report on the rest must not be lost.
    """
    out = list[Comparison]()
    for one in comparisons:
        sides = [side for side in one.sides if side.whole]
        again = isinstance(one, Contrast) and one.kind == CONTROL  # which has other noise
        if again or len(images := {_images(side): side for side in reversed(sides)}) < 2:
            out.append(one)
            continue
        *_, other, first = images.values()
        why = "they have images from different networks or noise"
        log.warning(f"{named(first, other)} are not compared: {why}")
    return out


def _images(side: Side) -> tuple[object, ...]:
    """Sides of which this is equal have images from the same networks and noise."""
    return side.paired, *((seed, row.get("sample_seed"), row.get("n_samples")) for seed, row in side.rows.items())


def _family(sides: Sequence[Side], metric: str, compared: NDArray[np.bool_], level: float) -> Family:
    distances = [[each[metric] for each in side.distances.values()] for side in sides]
    return family(distances, compared, paired=sides[0].paired, level=level)


# --- contrasts.csv ---


def contrast_rows(comparisons: Sequence[Comparison], families: Families, floors: Sequence[Row]) -> Iterator[Row]:
    """Rows of contrasts.csv: for each metric one per network, then one over networks.

    Args:
        families: of these comparisons.
        floors: rows of floors.csv, for samples that are no images. Without them nothing is held to be none.
    """
    for one in comparisons:
        if not isinstance(one, BestSet) and one.seeds:
            yield from _rows(one, families, floors)


def _rows(one: Contrast | Interaction, families: Families, floors: Sequence[Row]) -> Iterator[Row]:
    shared, seeds = _shared(one), one.seeds
    for metric in METRICS:
        for seed, (a, b) in zip(seeds, one.pairs(metric), strict=True):
            own = {"train_seed": seed, "value_a": a.value, "value_b": b.value, "n_networks": 1}
            ids: Row = {}
            if isinstance(one, Contrast):
                ids = {f"run_id_{name}": side.rows[seed]["run_id"] for name, side in zip("ab", one.sides, strict=True)}
            yield shared | _numbers(metric, of_pairs([(a, b)], paired=_paired(one))) | own | ids
    whole, why, adjusted = {metric: _estimate(one, metric, families) for metric in METRICS}, "", None
    if one.kind not in ALONE:
        effects = isinstance(one, Interaction)
        count = families.interactions if effects else families.pairs
        if missed := [side for side in one.sides if not side.whole]:
            why = f"{missed[0].planned - len(missed[0].rows)} of its {missed[0].planned} runs failed"
        elif count > 1:
            adjusted = f"simultaneous, {count} {'interactions' if effects else 'pairs'}"
    judged = [one.a, one.b, one.sides] if isinstance(one, Interaction) else [one.sides]
    why = why or next(filter(None, (no_verdict(sides, seeds, floors) for sides in judged)), "")
    if why:
        whole = {metric: replace(estimate, clear=False) for metric, estimate in whole.items()}
    for metric in METRICS:
        low, high = predicted([a.value - b.value for a, b in one.pairs(metric)]) or (None, None)
        value_a, value_b = (float(np.mean([pair[side].value for pair in one.pairs(metric)])) for side in (0, 1))
        row: Row = {
            "value_a": value_a,
            "value_b": value_b,
            "n_networks": len(seeds),
            "new_network_low": low,
            "new_network_high": high,
            "adjusted": adjusted,
            "no_verdict": why or None,
            "verdict": NO_VERDICT if why else verdict(whole[JUDGE]),
        }
        if metric == JUDGE and not why and isinstance(one, Contrast):
            row |= to_settle(whole[metric], SMALLEST * value_b, one)
        yield shared | _numbers(metric, whole[metric]) | row


def _estimate(one: Contrast | Interaction, metric: str, families: Families) -> Estimate:
    """The difference with the interval that its kind has."""
    if isinstance(one, Interaction):
        alone = of_pairs(one.pairs(metric), paired=_paired(one), level=1 - (1 - LEVEL) / families.interactions)
        return replace(alone, p_value=min(1.0, families.interactions * alone.p_value))
    if one.kind not in ALONE and (found := families.find(one.a, one.b)) is not None:
        known, (a, b) = found
        return known[metric].difference(a, b)
    return of_pairs(one.pairs(metric), paired=_paired(one))


def _paired(one: Contrast | Interaction) -> bool:
    return all(side.paired for side in one.sides)


def to_settle(estimate: Estimate, smallest: float, one: Contrast) -> Row:
    """How many images, or networks, would settle a difference that is not clear, and the time of sampling them.

    That many detect the measured difference with 80 % power, or `smallest`, the smallest difference of interest, if
    that is larger.
    """
    size = max(abs(estimate.difference), smallest)
    if one.a.prompted:  # more samples of the same prompts would not
        return {}
    if estimate.clear or size <= 0 or estimate.detectable <= size:
        return {}
    times, rows = (estimate.detectable / size) ** 2, [side.rows[seed] for side in (one.a, one.b) for seed in one.seeds]
    if estimate.holds_for is None:
        return {"networks_to_settle": math.ceil(len(one.seeds) * times)}
    seconds = sum(float(row.get("seconds") or 0) for row in rows)
    return {"n_to_settle": math.ceil(int(rows[0]["n_samples"]) * times), "minutes_to_settle": seconds * times / 60}


def no_verdict(sides: Sequence[Side], seeds: Sequence[int], floors: Sequence[Row]) -> str:
    """Why settings get no verdict: their samples are no images, or networks are too few; "" if they do.

    `seeds`: of the networks that are compared.
    """
    rows = [side.rows[seeds[0]] for side in sides]
    same = ("features", "n_samples", "n_reference")
    floor = {row["metric"]: row["mean"] for row in floors if all(row[name] == rows[0][name] for name in same)}
    qualities = [{name: _mean(side, name, seeds) for name in MEASURES} for side in sides]
    why = no_images(qualities, {name: floor.get(name, 0.0) for name in MEASURES})
    return why or (FEW_NETWORKS if own_training(sides) and len(seeds) < ENOUGH_NETWORKS else "")


def _mean(side: Side, name: str, seeds: Sequence[int] | None = None) -> float:
    """The mean of a column over networks, all or those with these seeds."""
    return float(np.mean([side.rows[seed][name] for seed in (side.rows if seeds is None else seeds)]))


def own_training(sides: Sequence[Side]) -> bool:
    """Whether these settings have networks of their own."""
    return len({next(iter(side.rows.values())).get("model_id") for side in sides if side.rows}) > 1


def _numbers(metric: str, estimate: Estimate) -> Row:
    """The columns of an interval."""
    return {"metric": metric, "level": LEVEL} | vars(estimate)


def _shared(one: Contrast | Interaction) -> Row:
    """The columns that all rows of a contrast share."""
    first, *others = rows = [side.rows[one.seeds[0]] for side in one.sides]
    out: Row = {"kind": one.kind, "n_planned": one.sides[0].planned}
    if isinstance(one, Contrast):
        out |= {"mode": one.a.group, "budget": one.a.budget, "a": one.a.label, "b": one.b.label}
        for side, row in zip("ab", rows, strict=True):
            out |= {f"{name}_{side}": row.get(name) for name in ("alpha", "beta", "eta", "nfe")}
    else:
        out |= {"mode": one.kind, "a": _effect(*one.a), "b": _effect(*one.b)}
    out |= {name: first.get(name) for name in ONE}
    same = {name: first.get(name) for name in IF_SAME if all(row.get(name) == first.get(name) for row in others)}
    return out | dict.fromkeys(IF_SAME) | same


def _effect(a: Side, b: Side) -> str:
    """The difference of two settings in words."""
    return f"{a.label}{'' if a.group == b.group else f' ({a.group})'} against {b.label} ({b.group})"


# --- best_sets.csv ---


def best_set_rows(comparisons: Sequence[Comparison], families: Families, floors: Sequence[Row]) -> Iterator[Row]:
    """Rows of best_sets.csv, one per setting. Settings with a failed run are left out.

    The first is the baseline. Recommended is the lowest score among the settings that are detectably better than it,
    without grain if there is such a setting; if none is better, the baseline.
    """
    for one in comparisons:
        if isinstance(one, BestSet) and len(sides := [side for side in one.sides if side.whole]) > 1:
            yield from _set_rows(sides, families, floors)


def _set_rows(sides: Sequence[Side], families: Families, floors: Sequence[Row]) -> list[Row]:
    seeds, found = list(sides[0].rows), families.find(*sides)
    assert found is not None  # the pairs of each set are in a family
    known, places = found[0][JUDGE], found[1]
    apart = own_training(sides)
    best, out, better = min(places, key=lambda place: float(known.values[place])), list[Row](), list[Row]()
    columns = ("n_samples", "n_reference", "nfe", "data", "network", "features", "trained_by", "images_seen")
    for place, side in zip(places, sides, strict=True):
        why = no_verdict([side], seeds, floors) or (FEW_NETWORKS if apart and len(seeds) < ENOUGH_NETWORKS else "")
        difference, low, high = known.to_best(place, places)
        row = (
            {name: side.rows[seeds[0]].get(name) for name in columns}
            | {"mode": side.group, "budget": side.budget, "setting": side.label, "metric": JUDGE, "level": LEVEL}
            | {"value": float(known.values[place]), "fd": _mean(side, "fd"), "n_networks": len(seeds)}
            | {"n_settings": len(sides), "best": place == best, "holds_for": known.holds_for}
            | {"interval": f"simultaneous, {families.pairs} pairs: {known.how}"}
            | {"difference": difference, "low": low, "high": high, "destroyed": _destroyed(side, floors)}
            | {"in_set": None if why else low <= 0, "no_verdict": why or None}
        )
        out.append(row)
        if place != places[0] and not (why or no_verdict((side, sides[0]), seeds, floors)):
            better += [row] if verdict(known.difference(place, places[0])) == BETTER else []
    grain = {row["setting"]: _mean(side, "grain") for row, side in zip(out, sides, strict=True) if _has_grain(side)}
    usable = [row for row in better if not grain.get(row["setting"], 0.0) > GRAINY] or better
    baseline = None if out[0]["no_verdict"] else out[0]
    recommended = min(usable, key=lambda row: float(row["value"]), default=baseline)
    return [row | {"recommended": row is recommended} for row in out]


def _destroyed(side: Side, floors: Sequence[Row]) -> float | None:
    """The upper end of the 95 % interval of MMD^2 above the floor, as a share of destroyed images; None if not known.

    A share s of destroyed images gives at most s^2 C (distances/harm.py). Here C is 1, the least that it can be, so the
    share is not too small. Near the floor the spread is that of real images, which samples do not show.
    """
    same = ("features", "n_samples", "n_reference")
    first = next(iter(side.rows.values()))
    floor = next((row for row in floors if row["metric"] == JUDGE and all(row[n] == first[n] for n in same)), None)
    if floor is None:
        return None
    distances = [each[JUDGE] for each in side.distances.values()]
    se = math.sqrt(sum(one.se**2 + floor["sd"] ** 2 for one in distances)) / len(distances)
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * se
    high = float(np.mean([one.value for one in distances])) - floor["mean"] + half
    return math.sqrt(max(high, 0.0))


def _has_grain(side: Side) -> bool:
    return all(row.get("grain") is not None for row in side.rows.values())


def summary(values: Array) -> dict[str, float]:
    """Mean, standard deviation and range of repeated scores."""
    numbers = {"mean": values.mean(), "sd": values.std(ddof=1), "low": values.min(), "high": values.max()}
    return {name: float(number) for name, number in numbers.items()}
