"""Paired differences with intervals, and floors, from stored scores -> contrasts.csv and floors.csv."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from experiments.config.comparison import BestOf, Contrast
from experiments.config.config import ScoreConfig
from experiments.config.identity import identity
from experiments.config.trial import Row, Trial, described
from experiments.metrics.distances import METRICS, Array, jackknife_se
from experiments.metrics.intervals import LEVEL, Estimate, pooled, verdict
from experiments.stages.common import load_meta
from experiments.stages.score import load_features, load_pool, load_reference
from experiments.store.store import Store

FLOOR_REPEATS = 20
COLUMNS = tuple(
    """experiment kind mode budget denoiser denoiser_error metric a b
    train_seed n_networks n_steps alpha_a beta_a eta_a nfe_a run_id_a alpha_b beta_b
    eta_b nfe_b run_id_b n_planned final_denoise data network trained_by train_noise images_seen features n_samples
    n_reference value_a value_b difference se low high level interval networks_agree clear verdict""".split()
)
FLOOR_COLUMNS = ("data", "features", "metric", "n_samples", "n_reference", "mean", "sd", "low", "high", "repeats")
RowsById = Mapping[str, Row]  # by run_id


@dataclass(frozen=True)
class Score:
    """The scores of one network's images: values by metric, and their delete-group replicates."""

    values: Mapping[str, float]
    replicates: Mapping[str, Array]


def contrast_rows(contrasts: Sequence[Contrast | BestOf], rows: Sequence[Row], store: Store) -> list[Row]:
    """Rows of contrasts.csv. A pair with a failed run is left out; a contrast without any pair has no rows."""
    ok = {row["run_id"]: row for row in rows if row["status"] == "ok"}
    out: list[Row] = []
    for contrast in contrasts:
        if isinstance(contrast, Contrast):
            pairs = [(a, b) for a, b in contrast.pairs if run_id(a) in ok and run_id(b) in ok]
            if pairs:
                scored = [
                    (_stored_score(ok[run_id(a)], a, store), _stored_score(ok[run_id(b)], b, store)) for a, b in pairs
                ]
                out += _rows(contrast, pairs, scored, ok)
        else:
            out += _choice_rows(contrast, ok, store)
    return out


def _rows(
    contrast: Contrast, pairs: Sequence[tuple[Trial, Trial]], scored: Sequence[tuple[Score, Score]], ok: RowsById
) -> Iterator[Row]:
    """One row per metric and network, then one pooled row per metric."""
    estimates = {metric: [_difference(metric, a, b) for a, b in scored] for metric in METRICS}
    for metric in METRICS:
        for pair, (a, b), estimate in zip(pairs, scored, estimates[metric], strict=True):
            one = {"train_seed": pair[0].model.seed, "run_id_a": run_id(pair[0]), "run_id_b": run_id(pair[1])}
            values = {"value_a": a.values[metric], "value_b": b.values[metric], "n_networks": 1}
            yield _shared(contrast, pairs, ok) | _numbers(metric, estimate) | one | values
    whole = {
        metric: pooled(
            [e.difference for e in estimates[metric]], [e.se for e in estimates[metric]], not contrast.chosen
        )
        for metric in METRICS
    }
    word = verdict(whole["kd"], whole["fd"])
    for metric in METRICS:
        yield (
            _shared(contrast, pairs, ok)
            | _numbers(metric, whole[metric])
            | {
                "value_a": float(np.mean([a.values[metric] for a, _ in scored])),
                "value_b": float(np.mean([b.values[metric] for _, b in scored])),
                "n_networks": len(pairs),
                "verdict": word,
            }
        )


def _choice_rows(choice: BestOf, ok: RowsById, store: Store) -> Iterator[Row]:
    """Chooses on the first half of each network's images, then compares the choice with others on the second half."""
    candidates, rivals = (
        {label: trials for label, trials in groups.items() if all(run_id(trial) in ok for trial in trials)}
        for groups in (choice.candidates, choice.rivals)
    )
    baseline = next(iter(choice.candidates))
    if not candidates or (not rivals and len(candidates) < 2):
        return
    if baseline not in candidates and not choice.against_all and not choice.rivals:
        return
    chosen = min(
        candidates,
        key=lambda label: np.mean([_half(trial.score, 0, store).values["kd"] for trial in candidates[label]]),
    )
    others = list(rivals) or ([label for label in candidates if label != chosen] if choice.against_all else [baseline])
    for other in others:
        pairs = tuple(zip(candidates[chosen], (candidates | rivals)[other], strict=True))
        contrast = Contrast(choice.kind, choice.mode, chosen, other, pairs, chosen=True)
        scored = [(_half(a.score, 1, store), _half(b.score, 1, store)) for a, b in pairs]
        n = {"n_samples": pairs[0][0].samples.n_samples - pairs[0][0].samples.n_samples // 2}
        for line in _rows(contrast, pairs, scored, ok):
            if chosen != other:
                yield line | n
            elif "verdict" in line:  # no difference to measure: the baseline was chosen
                nothing = dict.fromkeys(("difference", "se", "low", "high", "interval", "networks_agree", "clear"))
                yield line | n | nothing | {"verdict": "baseline chosen"}


def _stored_score(row: Row, trial: Trial, store: Store) -> Score:
    meta = load_meta("scores", trial.score, store)
    return Score(
        {metric: row[metric] for metric in METRICS},
        {metric: np.asarray(meta[f"{metric}_replicates"]) for metric in METRICS},
    )


@lru_cache(maxsize=256)
def _half(score: ScoreConfig, half: int, store: Store) -> Score:
    """The first (0) or second (1) half of a run's images, scored on its own against the run's reference."""
    features = load_features(score, store).double().numpy()
    middle = len(features) // 2
    part = features[:middle] if half == 0 else features[middle:]
    reference = load_reference(score.reference, store, len(features))
    values = {"kd": METRICS["kd"].value(part, reference)}
    if half == 0:
        return Score(values, {})
    values |= {name: metric.value(part, reference) for name, metric in METRICS.items() if name != "kd"}
    return Score(values, {name: metric.replicates(part, reference) for name, metric in METRICS.items()})


def _difference(metric: str, a: Score, b: Score) -> Estimate:
    """a - b for one network. Its jackknife leaves out images with the same indices from a and b."""
    se = jackknife_se(a.replicates[metric] - b.replicates[metric])
    return pooled([a.values[metric] - b.values[metric]], [se])


def _numbers(metric: str, estimate: Estimate) -> Row:
    return {"metric": metric, "level": LEVEL} | vars(estimate)


def _shared(contrast: Contrast, pairs: Sequence[tuple[Trial, Trial]], ok: RowsById) -> Row:
    """The columns that all rows of a contrast share."""
    rows, labels = [ok[run_id(trial)] for trial in pairs[0]], described(pairs[0][0])
    out: Row = {name: labels[name] for name in ("budget", "denoiser", "denoiser_error")} | {
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


def floor_rows(trials: Sequence[Trial], rows: Sequence[Row], store: Store) -> list[Row]:
    """Rows of floors.csv: the score of n real images against the rest (floor), for each n in the table."""
    scored = {run_id(trial): trial for trial in trials}
    sizes = {(scored[row["run_id"]].score.reference, row["n_samples"]): row for row in rows if row["status"] == "ok"}
    out: list[Row] = []
    for (reference, n), row in sizes.items():
        floor = load_pool(reference, store)[0].floor(n, FLOOR_REPEATS)
        shared = {name: row[name] for name in ("data", "features", "n_samples", "n_reference")}
        for metric, values in floor.items():
            numbers = {"mean": values.mean(), "sd": values.std(ddof=1), "low": values.min(), "high": values.max()}
            out.append(shared | {"metric": metric, "repeats": len(values)} | {k: float(v) for k, v in numbers.items()})
    return out


def run_id(trial: Trial) -> str:
    """The identity of a trial's run."""
    return identity(trial.score)
