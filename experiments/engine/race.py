"""Runs a race: many settings are sampled on few images, and the best are confirmed on others.

The race only chooses whom to confirm, so it tests nothing.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console

from experiments.config.comparison import Comparison, Field, Groups, Left, Race
from experiments.config.trial import Row, Trial
from experiments.engine.executor import SweepResult
from experiments.engine.plan import Plan
from experiments.results.contrasts import no_verdict
from experiments.results.floors import floor_rows
from experiments.store.store import Store
from reports.schema import JUDGE

FEW, FIRST = 3, 0.5  # settings that show the speed, and the share of what is left of the time for the race
FLOOR_REPEATS = 3  # of real images, for a warning


@dataclass(frozen=True)
class Raced:
    """What was run in the end, what came out, what is to be compared, and the rows of race.csv."""

    plan: Plan
    result: SweepResult
    comparisons: Sequence[Comparison]
    rows: list[Row]


def raced(plan: Plan, race: Race, run: Callable[[Plan], SweepResult], store: Store, console: Console) -> Raced:
    """Runs the race, then the confirmation that it leads to. `plan`: the trials of the race.

    A setting with a failed run leaves. If only a part of the race was asked for, nothing but that is run.
    """
    if not set(race.trials) <= set(plan.trials):
        return Raced(plan, run(plan), (), [])
    progress = _Progress(race, run, store, console)
    progress.heat(race.field)
    if progress.interrupted:
        assert progress.result is not None
        return Raced(Plan.of([*progress.ran]), replace(progress.result, rows=[*progress.found.values()]), (), [])
    then, comparisons = progress.in_time({mode: names for mode, names in progress.left.items() if names})
    plan = Plan.of([*progress.ran, *then])
    return Raced(plan, progress.added(run(plan)), comparisons, progress.rows)


@dataclass
class _Progress:
    """What a race has run so far."""

    race: Race
    run: Callable[[Plan], SweepResult]
    store: Store
    console: Console
    ran: dict[Trial, None] = field(default_factory=dict)  # as an ordered set
    rows: list[Row] = field(default_factory=list)  # of race.csv
    left: dict[str, tuple[str, ...]] = field(default_factory=dict)  # mode -> the settings kept, the best score first
    result: SweepResult | None = None
    found: dict[tuple[Any, ...], Row] = field(default_factory=dict)  # the rows so far
    pace: float = 0.0  # seconds per network evaluation in the last run, scores included

    @property
    def time_left(self) -> float:
        return self.race.deadline - time.monotonic()

    def _lasts(self, trials: Sequence[Trial]) -> float:
        """The seconds that trials take, at the speed of the last run."""
        return self.pace * sum(trial.samples.evaluations for trial in trials)

    def in_time(self, left: Left) -> tuple[Sequence[Trial], Sequence[Comparison]]:
        """What follows the race, with as many of the best settings as the time allows, at least one per mode.

        If that takes too long, there are fewer images of each.
        """
        field = self.race.field
        then = self.race.then(left, field, 1.0)
        most = n = max(map(len, left.values()), default=0)
        while n > 1 and self._lasts(then[0]) > self.time_left:
            n -= 1
            then = self.race.then({mode: names[:n] for mode, names in left.items()}, field, 1.0)
        if n < most:
            self.console.print(f"the time is nearly up: {n} of {most} finalists are confirmed", soft_wrap=True)
        if (seconds := self._lasts(then[0])) > (time_left := max(self.time_left, 0.0)):
            best = {mode: names[:n] for mode, names in left.items()}
            then = self.race.then(best, field, time_left / seconds)
            images = max((trial.samples.n_samples for trial in then[0]), default=0)
            self.console.print(f"the time is nearly up: {images:,} images per network and setting", soft_wrap=True)
        return then

    @property
    def interrupted(self) -> bool:
        return self.result is not None and self.result.interrupted

    def added(self, now: SweepResult) -> SweepResult:
        """The newest result, with the cost and the warnings of all. Its speed is noted."""
        if now.evaluations:
            self.pace = now.seconds / now.evaluations
        self.found |= {(row["mode"], row["setting"], row["run_id"]): row for row in now.rows}
        before = self.result
        return now if before is None else replace(
            now,
            evaluations=before.evaluations + now.evaluations,
            seconds=before.seconds + now.seconds,
            warnings=before.warnings + now.warnings,
        )  # fmt: skip

    def affordable(self, field: Field) -> Field:
        """The settings of the race: the first FEW, which are run at once, and as many more as FIRST of the time allows.

        They are spread evenly over the list, and what is left out is said.
        """
        chosen = {mode: dict(list(groups.items())[:FEW]) for mode, groups in field.items()}
        self.ran_now(chosen)
        numbers = sorted(range(FEW, max(map(len, field.values()))), key=lambda number: f"{number:016b}"[::-1])
        rest = [  # any first part of it is spread evenly
            (mode, name, groups[name])
            for number in numbers
            for mode, groups in field.items()
            for name in list(groups)[number : number + 1]
        ]
        while rest and not self.pace and not self.interrupted and self.time_left > 0:  # all so far were in the store
            mode, name, runs = rest.pop(0)
            self.ran_now({mode: {name: runs}})
            chosen[mode][name] = runs
        more, limit = 0.0, FIRST * self.time_left
        for mode, name, runs in rest:
            more += self._lasts(runs)
            if more <= limit:
                chosen[mode][name] = runs
        for mode, groups in field.items():
            if out := [f"“{name}”" for name in groups if name not in chosen[mode]]:
                text = f"the time is short, {mode}: {len(chosen[mode])} of {len(groups)} settings run; left out: "
                self.console.print(text + ", ".join(out), soft_wrap=True)
        return {mode: {name: groups[name] for name in groups if name in chosen[mode]} for mode, groups in field.items()}

    def ran_now(self, field: Field) -> SweepResult:
        """Runs settings. The result of these."""
        plan = Plan.of([trial for groups in field.values() for runs in groups.values() for trial in runs])
        self.ran |= dict.fromkeys(plan.trials)
        result = self.run(plan)
        self.result = self.added(result)
        return result

    def heat(self, field: Field) -> None:
        """Runs the settings of the race and keeps the best."""
        if self.time_left < math.inf:
            field = self.affordable(field)
        result = self.ran_now(field)
        if result.interrupted:
            return
        for mode, groups in field.items():
            scores = _means(groups, result)
            if failed := [f"“{name}”" for name in groups if name not in scores]:
                self.console.print(f"{mode}: left out, since a run failed: {', '.join(failed)}", soft_wrap=True)
            self.left[mode] = tuple(sorted(scores, key=scores.__getitem__))[: self.race.keep]
            self.rows += [
                {"mode": mode, "setting": name, "metric": JUDGE, "value": value}
                | {"left": name in self.left[mode], "budget": groups[name][0].budget}
                | {"n_samples": groups[name][0].samples.n_samples}
                for name, value in scores.items()
            ]
            if why := _not_images(groups, result, self.store):
                self.console.print(f"warning: {mode}: {why}", style="yellow", soft_wrap=True)
        counts = "; ".join(f"{len(groups)} in {mode}" for mode, groups in field.items())
        self.console.print(f"settings: {counts}; the best {self.race.keep} are kept", soft_wrap=True)


def _not_images(groups: Groups, result: SweepResult, store: Store) -> str:
    """A warning if no setting has samples that are images (metrics/trust.py), else an empty text."""
    ok: Mapping[str, Row] = {row["run_id"]: row for row in result.rows if row["status"] == "ok"}
    scores = _means(groups, result)
    if not scores:
        return ""
    trials = [trial for name in scores for trial in groups[name]]
    floor = floor_rows(trials, [ok[trials[0].run_id]], store, FLOOR_REPEATS)
    if not no_verdict([groups[name] for name in scores], ok, floor):
        return ""
    return (
        "no setting gives images; train longer, try more evaluations, or see `check` if the network is from elsewhere"
    )


def _means(groups: Groups, result: SweepResult) -> dict[str, float]:
    """The score of each setting whose runs succeeded, a mean over networks."""
    scores = {row["run_id"]: float(row[JUDGE]) for row in result.rows if row["status"] == "ok"}
    succeeded = {name: runs for name, runs in groups.items() if all(trial.run_id in scores for trial in runs)}
    return {name: float(np.mean([scores[trial.run_id] for trial in runs])) for name, runs in succeeded.items()}
