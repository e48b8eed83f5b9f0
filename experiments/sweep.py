"""The main line of every question: sweep, choose, sweep on other networks, judge, write the page."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from experiments import choose as choosing
from experiments.choose import Exploration
from experiments.judge import answer, judge
from experiments.run.options import Options
from experiments.run.pairs import Pair
from experiments.run.plan import Planner, collect_settings, list_pairs
from experiments.run.result_folder import StudyResult
from experiments.run.runs import Run
from experiments.run.study import ExploringStudy, Study
from experiments.run.work import Work
from experiments.settings import Setting
from experiments.user.imports import errors_in
from reports.schema import CONFIRM, EXPLORE

NOTHING_CHOSEN = Exploration()


def run_study(
    study: Study,
    options: Options = Options(),  # noqa: B008  # it is frozen
    name: str = "",
    began: float | None = None,
) -> StudyResult:
    """Makes what is missing and writes the result folder with its report; prints the verdict and where it lies.

    Args:
        name: of the result folder; by default that of the report's page.
        began: the time at which the command began; by default now.

    Raises:
        ValueError: options or settings that do not suit each other, code of the user's that fails, stored samples that
            the code does not give now.
        CacheError: the cache cannot be read or written.
    """
    study.check()
    work = Work(study, options, options.directory(name or study.page), began or time.time())
    plan = work.prepare(lambda planner: plan_study(study, options, planner, work.out))
    if options.dry_run:
        return work.print_plan(plan.runs, plan.most_to_confirm, [*plan.made.notes, *plan.made.caveats])
    with work.open(plan.runs, plan.made.notes):
        made, pairs = plan.made, [*plan.pairs]
        if exploring := work.select(plan.exploring):
            results = work.sweep(exploring, exploring=True)
            if not options.only:
                made = choose(study, plan.candidates, work)
        confirming = plan_confirmation(study, made, work.planner, plan.runs)
        results = work.sweep(work.select([*plan.testing, *confirming]), pairs)
        pairs += study.confirm_pairs(made.chosen) if isinstance(study, ExploringStudy) else ()
        judged = judge(results.table, pairs, pd.DataFrame(results.floors), results.added)
        tables = {"contrasts.csv": judged, "answers.csv": answer(judged, results.table), "choices.csv": made.rows}
        return work.write(tables, made.caveats)


@dataclass(frozen=True)
class Plan:
    """What is known before anything runs.

    Args:
        exploring, testing: the runs of explorers, and all others.
        pairs: what is compared, without what is still to be chosen.
        candidates: the settings of which explorers choose.
        made: what was chosen: by an earlier run, or since it has no competitor.
        most_to_confirm: runs that cost the most that the confirmation can, if it is still to be chosen.
    """

    exploring: Sequence[Run]
    testing: Sequence[Run]
    pairs: Sequence[Pair]
    candidates: Sequence[Setting] = ()
    made: Exploration = NOTHING_CHOSEN
    most_to_confirm: Sequence[Run] = ()

    @property
    def runs(self) -> list[Run]:
        return [*self.exploring, *self.testing]


def plan_study(study: Study, options: Options, planner: Planner, folder: Path) -> Plan:
    """Plans all runs that are known, whatever part of them is asked for; ValueError for what cannot be compared."""
    fixed = collect_settings(study)
    tried, candidates, made = list[Setting](), list[Setting](), NOTHING_CHOSEN
    path = None
    if isinstance(study, ExploringStudy):
        path = study.choices_path
        if path is None:
            tried, candidates, made = plan_exploration(study, planner)
            if tried and options.only and (folder / choosing.FILE).is_file():
                path = folder / choosing.FILE
        if path is not None:
            names = planner.network.row()["network"], planner.reference.features
            made = choosing.read_choices(path, study, *names)
        elif made.chosen.empty and f"section={CONFIRM}" in options.only:
            rule = "nothing was chosen yet; run it without --only, or give --choices FILE"
            raise ValueError(f"only='section={CONFIRM}': {rule}")
    runs = planner.plan([*fixed, *tried])
    pairs = list_pairs(study, [run for run in runs if run.setting.section != EXPLORE])
    exploring = [run for run in runs if run.setting.section == study.explored_in]
    testing = [run for run in runs if run.setting.section != study.explored_in]
    testing += plan_confirmation(study, made, planner, runs)
    plan = Plan(exploring, testing, pairs, candidates, made)
    if not candidates or not made.chosen.empty or options.only or not isinstance(study, ExploringStudy):
        return plan
    dearest = choosing.choose_dearest(study, candidates)
    return replace(plan, most_to_confirm=plan_confirmation(study, Exploration(dearest), planner, runs))


def plan_exploration(study: ExploringStudy, planner: Planner) -> tuple[list[Setting], list[Setting], Exploration]:
    """The settings that explorers try, those of which they choose, and what is chosen if none needs to be tried."""
    with errors_in(type(study), "explore()"):
        settings = choosing.explored(study)
    runs = planner.plan(settings)
    candidates = [*dict.fromkeys(run.setting for run in runs if not run.impossible)]
    needed = choosing.settings_to_explore(study, candidates)
    tried = [*dict.fromkeys(run.setting for run in runs if run.impossible or run.setting in needed)]
    if needed or not candidates:
        return tried, candidates, NOTHING_CHOSEN
    chosen = choosing.choose(choosing.list_candidates(study, candidates), within=study.within)
    return tried, candidates, Exploration(chosen)


def plan_confirmation(study: Study, made: Exploration, planner: Planner, earlier: Sequence[Run]) -> list[Run]:
    """The runs of confirmers, unless they are planned already."""
    if made.chosen.empty or not isinstance(study, ExploringStudy):
        return []
    if any(run.setting.section == CONFIRM for run in earlier):
        return []
    return planner.plan(choosing.confirmed(study, made.chosen), earlier)


def choose(study: Study, settings: Sequence[Setting], work: Work) -> Exploration:
    """Chooses by what the explorers measured, and writes it before a confirmer begins."""
    assert isinstance(study, ExploringStudy)
    table = work.results.table
    candidates = choosing.list_candidates(study, settings, table)
    work.note_unmeasured(table)
    chosen = choosing.choose(candidates, within=study.within)
    made = Exploration(chosen, choosing.choice_rows(candidates, chosen))
    work.write_choices(made.rows, choosing.write_choices(work.out, study, table, made))
    return made
