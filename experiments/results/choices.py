"""The best of several settings, chosen on one half of the images and measured on the other -> rows of contrasts.csv."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from experiments.config.comparison import BestOf, Contrast
from experiments.config.config import ScoreConfig
from experiments.config.trial import Row
from experiments.metrics.distances import METRICS
from experiments.results.contrasts import RowsById, Score, measured_rows, of_scores
from experiments.stages.score import load_features, load_reference
from experiments.store.store import Store


def choice_rows(choices: Sequence[BestOf], rows: Sequence[Row], store: Store, floors: Sequence[Row] = ()) -> list[Row]:
    """Rows of contrasts.csv for each choice. Settings with a failed run are left out."""
    ok = {row["run_id"]: row for row in rows if row["status"] == "ok"}
    return [line for choice in choices for line in _rows(choice, ok, store, floors)]


def _rows(choice: BestOf, ok: RowsById, store: Store, floors: Sequence[Row]) -> Iterator[Row]:
    """Chooses on the first half of each network's images, then compares the choice with others on the second half."""
    candidates, rivals = (
        {label: trials for label, trials in groups.items() if all(trial.run_id in ok for trial in trials)}
        for groups in (choice.candidates, choice.rivals)
    )
    baseline = next(iter(choice.candidates))
    if not candidates or (not rivals and (len(candidates) < 2 or baseline not in candidates)):
        return
    chosen = min(
        candidates,
        key=lambda label: np.mean([_half(trial.score, 0, store).values["kd"] for trial in candidates[label]]),
    )
    for other in list(rivals) or [baseline]:
        pairs = tuple(zip(candidates[chosen], (candidates | rivals)[other], strict=True))
        contrast = Contrast(choice.kind, choice.mode, chosen, other, pairs, chosen=True)
        scored = [(_half(a.score, 1, store), _half(b.score, 1, store)) for a, b in pairs]
        n = {"n_samples": pairs[0][0].samples.n_samples - pairs[0][0].samples.n_samples // 2}
        for line in measured_rows(of_scores(contrast, pairs, scored), ok, floors):
            if chosen != other:
                yield line | n
            elif "verdict" in line:  # no difference to measure: the baseline was chosen
                nothing = "difference se low high interval networks_agree clear p_value detectable n_to_settle".split()
                yield line | n | dict.fromkeys(nothing) | {"verdict": "baseline chosen"}


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
