"""Runs a race: after each block of images the settings that are worse than the best leave (metrics/race.py)."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console

from experiments.config.comparison import Comparison, Field, Groups, Left, Race
from experiments.config.trial import Row, Trial
from experiments.engine.executor import SweepResult
from experiments.engine.looks import Looked, added
from experiments.engine.plan import Plan
from experiments.metrics.race import levels
from experiments.metrics.trust import doubt
from experiments.results.best_sets import compared
from experiments.results.contrasts import quality, real_quality
from experiments.results.floors import floor_rows
from experiments.store.store import Store
from reports.schema import JUDGE

FEW, FIRST = 3, 0.5  # settings that show the speed, and the share of what is left of the time for the first block
FLOOR_REPEATS = 3  # of real images, for a warning


def raced(plan: Plan, race: Race, run: Callable[[Plan], SweepResult], store: Store, console: Console) -> Looked:
    """Runs the race, then the rounds of new settings, then what they lead to. `plan`: the trials of the first look.

    A setting with a failed run leaves. If only a part of the first look was asked for, nothing but that is run.
    """
    if not set(race.trials(0)) <= set(plan.trials):
        return Looked(plan, run(plan), (), [])
    progress = _Progress(race, run, store, console)
    first = left = progress.heat(0, race.fields, {mode: tuple(groups) for mode, groups in race.fields[0].items()})
    refinement, known = race.refinement, [dict(one) for one in race.fields]
    for number in range(1, refinement.rounds + 1 if refinement else 1):
        assert refinement is not None
        if progress.interrupted or progress.late:
            break
        proposed = refinement.propose(number, left, known[0], progress.scores)
        known = [_joined(old, new) for old, new in zip(known, proposed, strict=True)]
        meet = {mode: (*left[mode][: refinement.best], *names) for mode, names in proposed[0].items() if left.get(mode)}
        left = left | progress.heat(number, known, meet)
    if progress.interrupted:
        assert progress.result is not None
        return Looked(progress.plan, progress.result, (), [])
    kept, now = ({mode: names for mode, names in one.items() if names} for one in (first, left))
    then, comparisons = progress.in_time(kept, now, known[0])
    plan = Plan.of([*progress.ran, *then])
    return Looked(plan, progress.added(run(plan)), tuple(comparisons), progress.rows)


@dataclass
class _Progress:
    """What a race has run so far."""

    race: Race
    run: Callable[[Plan], SweepResult]
    store: Store
    console: Console
    ran: dict[Trial, None] = field(default_factory=dict)  # as an ordered set
    rows: list[Row] = field(default_factory=list)  # of race.csv
    scores: dict[str, dict[str, float]] = field(default_factory=dict)  # at the first look
    result: SweepResult | None = None
    plan: Plan = field(default_factory=lambda: Plan((), ()))
    pace: float = 0.0  # seconds per network evaluation in the last run, scores included

    @property
    def late(self) -> bool:
        """Whether what follows the race needs all the time that is left."""
        if self.time_left == math.inf:
            return False
        everyone = {mode: tuple(groups) for mode, groups in self.race.fields[0].items()}
        return self._lasts(self.race.then(everyone, everyone, self.race.fields[0])[0]) > self.time_left

    @property
    def time_left(self) -> float:
        refinement = self.race.refinement
        return (refinement.deadline if refinement else math.inf) - time.monotonic()

    def _lasts(self, trials: Sequence[Trial]) -> float:
        """The seconds that trials take, at the speed of the last run."""
        return self.pace * sum(map(_cost, trials))

    def in_time(self, first: Left, left: Left, known: Field) -> tuple[Sequence[Trial], Sequence[Comparison]]:
        """What follows the race, with as many of the best settings as the time allows, at least one per mode."""
        then = self.race.then(first, left, known)
        most = n = min(
            max(map(len, left.values()), default=0), self.race.refinement.best if self.race.refinement else 0
        )
        while n > 1 and self._lasts(then[0]) > self.time_left:
            n -= 1
            then = self.race.then(first, {mode: names[:n] for mode, names in left.items()}, known)
        if n < most:
            self.console.print(f"the time is nearly up: {n} of {most} finalists are confirmed", soft_wrap=True)
        return then

    @property
    def interrupted(self) -> bool:
        return self.result is not None and self.result.interrupted

    def added(self, now: SweepResult) -> SweepResult:
        """The newest result, with the cost of all. Its speed is noted."""
        if now.evaluations:
            self.pace = now.seconds / now.evaluations
        return now if self.result is None else added(self.result, now)

    def affordable(self, open_: Field) -> dict[str, dict[str, tuple[Trial, ...]]]:
        """The settings of the first block: the first FEW, which are run, and those that FIRST of the time allows too.

        They are spread evenly over the list, and what is left out is said.
        """
        few = {mode: dict(list(groups.items())[:FEW]) for mode, groups in open_.items()}
        plan = Plan.of([trial for groups in few.values() for runs in groups.values() for trial in runs])
        self.ran |= dict.fromkeys(plan.trials)
        self.plan, self.result = plan, self.added(self.run(plan))
        chosen, more, limit = few, 0.0, FIRST * self.time_left
        rest = range(FEW, max(map(len, open_.values())))
        for number in sorted(
            rest, key=lambda number: f"{number:016b}"[::-1]
        ):  # so that any first part is spread evenly
            for mode, groups in open_.items():
                for name, runs in list(groups.items())[number : number + 1]:
                    more += self._lasts(runs)
                    if more <= limit:
                        chosen[mode][name] = runs
        for mode, groups in open_.items():
            if out := [f"“{name}”" for name in groups if name not in chosen[mode]]:
                text = f"the time is short, {mode}: {len(chosen[mode])} of {len(groups)} settings run; left out: "
                self.console.print(text + ", ".join(out), soft_wrap=True)
        return {mode: {name: groups[name] for name in groups if name in chosen[mode]} for mode, groups in open_.items()}

    def heat(self, number: int, fields: Sequence[Field], racing: Left) -> dict[str, tuple[str, ...]]:
        """Races these settings block by block. Returns the settings left, the best score first."""
        sizes, left = self.race.sizes, dict(racing)
        for look, (here, level) in enumerate(zip(fields, levels(sizes), strict=True), start=1):
            open_ = {mode: {name: here[mode][name] for name in names} for mode, names in left.items() if len(names) > 1}
            if not open_:
                break
            if number == 0 and look == 1 and self.time_left < math.inf:
                open_ = self.affordable(open_)
            if look > 1 and self.late:
                self.console.print(f"the time is up: no more blocks after {sizes[look - 2]:,} images", soft_wrap=True)
                break
            self.plan = Plan.of([trial for groups in open_.values() for runs in groups.values() for trial in runs])
            self.ran |= dict.fromkeys(self.plan.trials)
            self.result = self.added(now := self.run(self.plan))
            if now.interrupted:
                break
            for mode, groups in open_.items():
                standing = _standing(number, look, level, mode, groups, now, self.store)
                left[mode] = tuple(row["setting"] for row in sorted(standing, key=_score) if row["left"])
                self.rows += standing
                if look == 1:
                    self.scores.setdefault(mode, {}).update({row["setting"]: row["value"] for row in standing})
            counts = "; ".join(f"{mode}: {len(left[mode])} of {len(groups)} left" for mode, groups in open_.items())
            if number == 0 and look == 1:
                for mode, groups in open_.items():
                    if why := _not_images(groups, now, self.store):
                        self.console.print(f"warning: {mode}: {why}", style="yellow", soft_wrap=True)
            what = f"round {number}, " if number else ""
            block = f"{what}block {look} of {len(sizes)}, {sizes[look - 1]:,} images"
            self.console.print(f"{block}: {counts}", soft_wrap=True)
        return left


def _joined(old: Field, new: Field) -> dict[str, Groups]:
    return {mode: {**groups, **new.get(mode, {})} for mode, groups in old.items()}


def _not_images(groups: Groups, result: SweepResult, store: Store) -> str:
    """A warning if no setting has samples that are images yet (metrics/trust.py), else an empty text."""
    ok: Mapping[str, Row] = {row["run_id"]: row for row in result.rows if row["status"] == "ok"}
    settings = {name: runs for name, runs in groups.items() if all(trial.run_id in ok for trial in runs)}
    if not settings:
        return ""
    trials = [trial for runs in settings.values() for trial in runs]
    floor = floor_rows(trials, [ok[trials[0].run_id]], store, FLOOR_REPEATS)
    real = real_quality(floor, ok[trials[0].run_id])
    found = {name: doubt([quality(runs, ok)], real) for name, runs in settings.items()}
    if not all(found.values()):
        return ""
    best = min(settings, key=lambda name: float(np.mean([ok[trial.run_id][JUDGE] for trial in settings[name]])))
    return (
        f"no setting gives images yet (“{best}”: {found[best]}); train longer, try more evaluations, or see `check` if "
        "the network is from elsewhere"
    )


def _cost(trial: Trial) -> float:
    """The network evaluations of a trial, without those of the earlier look that it goes on from."""
    samples = trial.samples
    return float((samples.n_samples - max(samples.earlier, default=0)) * samples.planned_nfe)


def _score(row: Row) -> float:
    return float(row["value"])


def _standing(
    number: int, look: int, level: float, mode: str, groups: Groups, result: SweepResult, store: Store
) -> list[Row]:
    """Rows of race.csv: each setting whose runs succeeded, against the best of the others."""
    ok: Mapping[str, Row] = {row["run_id"]: row for row in result.rows if row["status"] == "ok"}
    settings = {name: runs for name, runs in groups.items() if all(trial.run_id in ok for trial in runs)}
    if not settings:
        return []
    shared: Row = {"round": number, "look": look, "mode": mode, "metric": JUDGE, "level": level}
    if len(settings) == 1:
        ((name, runs),) = settings.items()
        value = float(np.mean([ok[trial.run_id][JUDGE] for trial in runs]))
        alone = {"setting": name, "value": value, "budget": runs[0].budget, "n_samples": runs[0].samples.n_samples}
        return [shared | alone | {"left": True}]
    values, standings = compared(list(settings.values()), ok, store, level)
    return [
        shared
        | {"setting": name, "value": float(value), "difference": one.difference, "low": one.low, "left": not one.worse}
        | {"budget": runs[0].budget, "n_samples": runs[0].samples.n_samples}
        for (name, runs), value, one in zip(settings.items(), values.mean(axis=0), standings, strict=True)
    ]
