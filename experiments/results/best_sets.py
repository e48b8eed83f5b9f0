"""The settings that cannot be told from the best, by the deciding distance on all images -> best_sets.csv."""

from collections.abc import Sequence

import numpy as np

from experiments.config.comparison import BestSet
from experiments.config.trial import Row, Trial
from experiments.metrics.best_set import MANY, best_set
from experiments.metrics.distances import Array, influence
from experiments.metrics.intervals import ENOUGH_NETWORKS, LEVEL
from experiments.results.contrasts import RowsById, no_verdict
from experiments.stages.score import load_features, load_reference
from experiments.store.store import Store
from reports.schema import JUDGE


def best_set_rows(sets: Sequence[BestSet], rows: Sequence[Row], store: Store, floors: Sequence[Row] = ()) -> list[Row]:
    """Rows of best_sets.csv, one per mode and setting. Settings with a failed run are left out.

    The simplest member of a set takes the fewest evaluations; among equals it is the one that was named first. Among
    settings that need their own training, none is simpler than another: it is the first, their baseline, or the best.

    Settings that need their own training are compared over five networks or more, or `no_verdict` says that they are
    too few. Settings whose samples are no images have no verdict either; if there are no others, there is no set.
    """
    ok = {row["run_id"]: row for row in rows if row["status"] == "ok"}
    out: list[Row] = []
    for one in sets:
        settings = {
            name: trials for name, trials in one.settings.items() if all(trial.run_id in ok for trial in trials)
        }
        if len(settings) > 1:
            out += _rows(one.mode, settings, ok, store, floors)
    return out


def _rows(
    mode: str, settings: dict[str, tuple[Trial, ...]], ok: RowsById, store: Store, floors: Sequence[Row]
) -> list[Row]:
    names, trials = list(settings), list(settings.values())
    values = np.array([[ok[trial.run_id][JUDGE] for trial in runs] for runs in trials]).T
    influences = [
        np.stack([_influence(runs[number], store) for runs in trials], axis=1) for number in range(len(values))
    ]
    standings = best_set(values, influences)
    over_networks = len(values) >= ENOUGH_NETWORKS
    own_training = len({runs[0].model for runs in trials}) > 1
    best = int(np.argmin(values.mean(axis=0)))
    out: list[Row] = []
    for number, (name, runs, standing) in enumerate(zip(names, trials, standings, strict=True)):
        first = ok[runs[0].run_id]
        why = no_verdict([runs], ok, floors, own_training)
        shared = ("n_samples", "n_reference", "nfe", "data", "network", "features")
        out.append(
            {column: first.get(column) for column in (*shared, "trained_by", "images_seen")}
            | {
                "mode": mode,
                "budget": runs[0].budget,
                "setting": name,
                "metric": JUDGE,
                "value": float(values[:, number].mean()),
                "fd": float(np.mean([ok[trial.run_id]["fd"] for trial in runs])),
                "n_networks": len(runs),
                "n_settings": len(names),
                "level": LEVEL,
                "best": number == best,
                "interval": _method(len(values), len(names)),
                "holds_for": None if over_networks else len(values),
                "difference": standing.difference,
                "low": standing.low,
                "high": standing.high,
                "in_set": None if why else not standing.worse,
                "no_verdict": why or None,
            }
        )
    members = [row for row in out if row["in_set"]]
    by_value = own_training and out[0] not in members
    simplest = min(members, key=lambda row: float(row["value" if by_value else "nfe"]), default=None)
    return [row | {"simplest": row is simplest} for row in out]


def _method(n_networks: int, n_settings: int) -> str:
    how = "max-t over images" if n_settings <= MANY else "over images with Bonferroni's correction"
    if n_networks >= ENOUGH_NETWORKS:
        how = f"the wider of t over {n_networks} networks with Bonferroni's correction and {how}"
    return f"one-sided limits, {how}"


def _influence(trial: Trial, store: Store) -> Array:
    """What each image of a run adds to its score, (n,)."""
    features = load_features(trial.score, store).double().numpy()
    return influence(JUDGE, features, load_reference(trial.score.reference, store, len(features)))
