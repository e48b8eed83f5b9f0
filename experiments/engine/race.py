"""Runs a race: after each block of images the settings that are worse than the best leave (metrics/race.py)."""

from collections.abc import Callable, Mapping

import numpy as np
from rich.console import Console

from experiments.config.comparison import Groups, Race
from experiments.config.trial import Row, Trial
from experiments.engine.executor import SweepResult
from experiments.engine.looks import Looked, added
from experiments.engine.plan import Plan
from experiments.metrics.race import levels
from experiments.results.best_sets import compared
from experiments.store.store import Store

COLUMNS = tuple("look n_samples mode budget setting metric value difference low level left".split())


def raced(plan: Plan, race: Race, run: Callable[[Plan], SweepResult], store: Store, console: Console) -> Looked:
    """Runs the race, then the trials that it leads to. `plan` has the trials of the first look.

    A setting with a failed run leaves. If only a part of the first look was asked for, nothing but that is run.
    """
    if not set(race.trials(0)) <= set(plan.trials):
        return Looked(plan, run(plan), (), [])
    left = {mode: tuple(groups) for mode, groups in race.fields[0].items()}
    ran, rows, result = list[Trial](), list[Row](), None
    for look, (field, level) in enumerate(zip(race.fields, levels(race.sizes), strict=True), start=1):
        open_ = {mode: {name: field[mode][name] for name in names} for mode, names in left.items() if len(names) > 1}
        if not open_:
            break
        trials = [trial for groups in open_.values() for runs in groups.values() for trial in runs]
        plan = plan if look == 1 else Plan.of(trials)
        ran += plan.trials
        now = run(plan)
        result = now if result is None else added(result, now)
        if now.interrupted:
            return Looked(plan, result, (), [])
        for mode, groups in open_.items():
            standing = _standing(look, level, mode, groups, now, store)
            left[mode] = tuple(row["setting"] for row in sorted(standing, key=_score) if row["left"])
            rows += standing
        counts = "; ".join(f"{mode}: {len(left[mode])} of {len(groups)} left" for mode, groups in open_.items())
        console.print(f"block {look} of {len(race.sizes)}, {race.sizes[look - 1]:,} images: {counts}", soft_wrap=True)
    then, comparisons = race.then({mode: names for mode, names in left.items() if names})
    plan = Plan.of([*ran, *then])
    now = run(plan)
    return Looked(plan, now if result is None else added(result, now), tuple(comparisons), rows)


def _score(row: Row) -> float:
    return float(row["value"])


def _standing(look: int, level: float, mode: str, groups: Groups, result: SweepResult, store: Store) -> list[Row]:
    """Rows of race.csv: each setting whose runs succeeded, against the best of the others."""
    ok: Mapping[str, Row] = {row["run_id"]: row for row in result.rows if row["status"] == "ok"}
    settings = {name: runs for name, runs in groups.items() if all(trial.run_id in ok for trial in runs)}
    if not settings:
        return []
    shared: Row = {"look": look, "mode": mode, "metric": "kd", "level": level}
    if len(settings) == 1:
        ((name, runs),) = settings.items()
        value = float(np.mean([ok[trial.run_id]["kd"] for trial in runs]))
        alone = {"setting": name, "value": value, "budget": runs[0].budget, "n_samples": runs[0].samples.n_samples}
        return [shared | alone | {"left": True}]
    values, standings = compared(list(settings.values()), ok, store, level)
    return [
        shared
        | {"setting": name, "value": float(value), "difference": one.difference, "low": one.low, "left": not one.worse}
        | {"budget": runs[0].budget, "n_samples": runs[0].samples.n_samples}
        for (name, runs), value, one in zip(settings.items(), values.mean(axis=0), standings, strict=True)
    ]
