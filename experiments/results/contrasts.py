"""Paired differences with intervals, from stored scores -> contrasts.csv."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.config.comparison import Contrast
from experiments.config.config import ScoreConfig
from experiments.config.trial import Row, Trial, described
from experiments.distances.trust import MEASURES, no_images
from experiments.metrics.distances import METRICS, Array
from experiments.metrics.intervals import ENOUGH_NETWORKS, LEVEL, Estimate, holm, pooled_scores, predicted, verdict
from experiments.stages.common import load_meta
from experiments.store.store import Store
from reports.schema import JUDGE, NO_VERDICT

FEW_NETWORKS = f"settings with their own training are compared over {ENOUGH_NETWORKS} networks or more"
SMALLEST = 0.1  # the smallest difference of interest, as a share of b's score
RowsById = Mapping[str, Row]  # by run_id
Runs = tuple[tuple[str, str], ...]  # the run ids of a and b, for each network
Scores = Mapping[str, Array]  # metric -> (1 + GROUPS,): the score of one network's images, then its replicates


@dataclass(frozen=True)
class Measured:
    """A contrast with the scores of both sides for each network.

    Its verdict is corrected for `n_comparisons`; `p_adjusted` are the corrected p values by metric, if it has a family.
    """

    contrast: Contrast
    pairs: Sequence[tuple[Trial, Trial]]
    scored: Sequence[tuple[Scores, Scores]]
    n_comparisons: int = 1
    p_adjusted: Mapping[str, float] | None = None

    def differences(self, metric: str) -> list[Array]:
        """a - b for each network, (1 + GROUPS,). The jackknife leaves out images with the same indices of both."""
        return [a[metric] - b[metric] for a, b in self.scored]

    def estimate(self, metric: str) -> Estimate:
        """The estimate over networks. `clear` and what was detectable are corrected for the number of comparisons."""
        whole = pooled_scores(self.differences(metric))
        if self.p_adjusted is None:
            return whole
        stricter = vars(pooled_scores(self.differences(metric), 1 - (1 - LEVEL) / self.n_comparisons))
        power = {name: stricter[name] for name in ("detectable", "detectable_low", "detectable_high")}
        return replace(whole, clear=whole.clear and self.p_adjusted[metric] <= 1 - LEVEL, **power)

    @property
    def runs(self) -> Runs:
        """What is compared with what."""
        return tuple((a.run_id, b.run_id) for a, b in self.pairs)


def contrast_rows(
    contrasts: Sequence[Contrast], rows: Sequence[Row], store: Store, floors: Sequence[Row] = ()
) -> list[Row]:
    """Rows of contrasts.csv. A pair with a failed run is left out; a contrast without any pair has no rows.

    Args:
        floors: rows of floors.csv, for samples that are no images. Without them nothing is held to be none.
    """
    ok = {row["run_id"]: row for row in rows if row["status"] == "ok"}
    measured = []
    for contrast in contrasts:
        pairs = [(a, b) for a, b in contrast.pairs if a.run_id in ok and b.run_id in ok]
        scored = [(stored_scores(a.score, store), stored_scores(b.score, store)) for a, b in pairs]
        measured += [Measured(contrast, pairs, scored)] if pairs else []
    return [line for one in adjusted_for_number(measured) for line in measured_rows(one, ok, floors)]


def adjusted_for_number(measured: Sequence[Measured]) -> list[Measured]:
    """The same contrasts; in each family a difference is clear only if it is so after Holm's correction.

    `detectable` is then what the first step of Holm's method detects, which is Bonferroni's. The same runs, compared in
    two modes, count once.
    """
    families: dict[str, dict[Runs, Measured]] = {}
    for one in measured:
        families.setdefault(one.contrast.family, {})[one.runs] = one
    p_values: dict[tuple[str, Runs], dict[str, float]] = {}
    for name, family in families.items():
        for metric in METRICS:
            adjusted = holm([one.estimate(metric).p_value for one in family.values()])
            for runs, p_value in zip(family, adjusted, strict=True):
                p_values.setdefault((name, runs), {})[metric] = p_value
    return [
        replace(one, n_comparisons=len(families[family]), p_adjusted=p_values[family, one.runs]) if family else one
        for one in measured
        for family in [one.contrast.family]
    ]


def measured_rows(one: Measured, ok: RowsById, floors: Sequence[Row] = ()) -> Iterator[Row]:
    """One row per metric and network, then one pooled row per metric."""
    contrast, pairs, scored = one.contrast, one.pairs, one.scored
    shared = _shared(contrast, pairs, ok)
    for metric in METRICS:
        for pair, (a, b), difference in zip(pairs, scored, one.differences(metric), strict=True):
            own = {"train_seed": pair[0].model.seed, "run_id_a": pair[0].run_id, "run_id_b": pair[1].run_id}
            values = {"value_a": float(a[metric][0]), "value_b": float(b[metric][0]), "n_networks": 1}
            yield shared | _numbers(metric, pooled_scores([difference])) | own | values
    why = no_verdict(list(zip(*pairs, strict=True)), ok, floors, contrast.retrained)
    whole = {metric: one.estimate(metric) for metric in METRICS}
    if why:
        whole = {metric: replace(estimate, clear=False) for metric, estimate in whole.items()}
    for metric in METRICS:
        low, high = predicted([float(difference[0]) for difference in one.differences(metric)]) or (None, None)
        value_a, value_b = (
            float(np.mean([scores[metric][0] for scores in side])) for side in zip(*scored, strict=True)
        )
        pooled_row = {
            "value_a": value_a,
            "value_b": value_b,
            "n_networks": len(pairs),
            "new_network_low": low,
            "new_network_high": high,
            "adjusted": f"Holm, {one.n_comparisons} comparisons" if one.n_comparisons > 1 else None,
            "p_adjusted": one.p_adjusted[metric] if one.p_adjusted else None,
            "no_verdict": why or None,
            "verdict": NO_VERDICT if why else verdict(whole[JUDGE]),
        }
        if metric == JUDGE and not why:
            seconds = sum(ok[trial.run_id]["seconds"] for pair in pairs for trial in pair)
            pooled_row |= to_settle(whole[metric], SMALLEST * value_b, shared["n_samples"], len(pairs), seconds)
        yield shared | _numbers(metric, whole[metric]) | pooled_row


def to_settle(estimate: Estimate, smallest: float, n: int, n_networks: int, seconds: float) -> Row:
    """How many images, or networks, would settle a difference that is not clear.

    That many detect the measured difference with 80 % power, or `smallest`, the smallest difference of interest, if
    that is larger.
    `minutes_to_settle` is the time of sampling them, if `seconds` is the time of sampling n from each network.
    """
    size = max(abs(estimate.difference), smallest)
    if estimate.clear or size <= 0 or estimate.detectable <= size:
        return {}
    times = (estimate.detectable / size) ** 2
    if estimate.holds_for is None:
        return {"networks_to_settle": math.ceil(n_networks * times)}
    return {"n_to_settle": math.ceil(n * times), "minutes_to_settle": seconds * times / 60}


def stored_scores(config: ScoreConfig, store: Store) -> Scores:
    """The scores of one run, with their replicates."""
    meta = load_meta("scores", config, store)
    return {metric: np.append(meta[metric], meta[f"{metric}_replicates"]) for metric in METRICS}


def no_verdict(
    sides: Sequence[Sequence[Trial]], ok: RowsById, floors: Sequence[Row], own_training: bool = False
) -> str:
    """Why settings, each with its runs over networks, get no verdict: no images, or too few networks; "" if they do.

    Args:
        floors: rows of floors.csv; without that of as many real images, samples are not held to be no images.
        own_training: whether the settings need their own training.
    """
    first = ok[sides[0][0].run_id]
    same = ("data", "features", "n_samples", "n_reference")
    floor = {row["metric"]: row["mean"] for row in floors if all(row[name] == first[name] for name in same)}
    qualities = [{name: np.mean([ok[trial.run_id][name] for trial in side]) for name in MEASURES} for side in sides]
    why = no_images(qualities, {name: floor.get(name, 0.0) for name in MEASURES})
    return why or (FEW_NETWORKS if own_training and len(sides[0]) < ENOUGH_NETWORKS else "")


def _numbers(metric: str, estimate: Estimate) -> Row:
    """The columns of an interval."""
    return {"metric": metric, "level": LEVEL} | vars(estimate)


def _shared(contrast: Contrast, pairs: Sequence[tuple[Trial, Trial]], ok: RowsById) -> Row:
    """The columns that all rows of a contrast share."""
    rows, labels = [ok[trial.run_id] for trial in pairs[0]], described(pairs[0][0])
    out: Row = {
        "budget": labels["budget"],
        "n_planned": len(contrast.pairs),
        "kind": contrast.kind,
        "mode": contrast.mode,
        "a": contrast.a,
        "b": contrast.b,
    }
    for side, row in zip("ab", rows, strict=True):
        out |= {f"{name}_{side}": row.get(name) for name in ("alpha", "beta", "eta", "nfe")}
    for name in ("experiment", "data", "network", "trained_by", "features", "n_samples", "n_reference"):
        out[name] = rows[0][name]
    for name in ("n_steps", "final_denoise", "train_noise", "images_seen"):
        out[name] = rows[0].get(name) if rows[0].get(name) == rows[1].get(name) else None
    return out
