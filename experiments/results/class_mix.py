"""Class mix and within-class distance of both sides of each contrast, from stored scores -> class_mix.csv."""

from collections.abc import Sequence

import numpy as np

from experiments.config.comparison import Contrast
from experiments.config.trial import Row
from experiments.metrics.intervals import LEVEL, pooled_scores
from experiments.stages.common import load_meta
from experiments.store.store import Store

AT_MIX = "kd_at_data_mix"
VALUES = ("class_distance", AT_MIX)


def class_mix_rows(contrasts: Sequence[Contrast], rows: Sequence[Row], store: Store) -> list[Row]:
    """Rows of class_mix.csv, one per contrast all of whose runs succeeded and have samples of every class.

    Distances between class mixes are means over networks. The difference is that of KD at the data's mix.
    """
    ok = {row["run_id"] for row in rows if row["status"] == "ok"}
    out = list[Row]()
    for one in contrasts:
        if not all(trial.run_id in ok for pair in one.pairs for trial in pair):
            continue
        scored = [tuple(load_meta("scores", trial.score, store) for trial in pair) for pair in one.pairs]
        if not all(AT_MIX in meta for pair in scored for meta in pair):
            continue
        each = [[np.append(meta[AT_MIX], meta[f"{AT_MIX}_replicates"]) for meta in pair] for pair in scored]
        whole = pooled_scores([a - b for a, b in each])
        first = one.pairs[0][0]
        values = {
            f"{name}_{side}": float(np.mean([pair["ab".index(side)][name] for pair in scored]))
            for name in VALUES
            for side in "ab"
        }
        out.append(
            {"kind": one.kind, "mode": one.mode, "budget": first.budget, "a": one.a, "b": one.b}
            | {"n_networks": len(scored), "n_samples": first.samples.n_samples}
            | {"class_distance_expected": scored[0][0]["class_distance_expected"]}
            | values
            | {name: vars(whole)[name] for name in ("difference", "low", "high", "interval", "holds_for")}
            | {"level": LEVEL}
        )
    return out
