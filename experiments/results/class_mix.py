"""Class mix and within-class distance of both sides of each contrast, from stored scores -> class_mix.csv."""

from collections.abc import Sequence

import numpy as np

from experiments.config.comparison import Contrast
from experiments.config.trial import Row
from experiments.metrics.distances import jackknife_se
from experiments.metrics.intervals import LEVEL, pooled
from experiments.stages.common import load_meta
from experiments.store.store import Store

VALUES = ("class_distance", "kd_at_data_mix")


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
        if not all("kd_at_data_mix" in meta for pair in scored for meta in pair):
            continue
        replicates = [[np.asarray(meta["kd_at_data_mix_replicates"]) for meta in pair] for pair in scored]
        whole = pooled(
            [a["kd_at_data_mix"] - b["kd_at_data_mix"] for a, b in scored], [jackknife_se(a - b) for a, b in replicates]
        )
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
