"""From a question to its report: plans the runs, makes what is missing, writes the folder, prints the verdict."""

import json
import math
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from experiments.console import QUIET, Terminal, status_line
from experiments.run import choice, choices_file, dry_run, printing, result_folder
from experiments.run.cache import Cache
from experiments.run.comparisons import (
    CONFIRM,
    EXPLORE,
    Choices,
    Comparison,
    Contrast,
    SidesBySection,
)
from experiments.run.machine import code_version
from experiments.run.networks import Trained
from experiments.run.options import Options
from experiments.run.plan import Planner, check_comparisons, check_folder, collect_settings
from experiments.run.ray_runner import run_on_ray
from experiments.run.result_folder import Page, StudyResult
from experiments.run.runner import ExecutionResult, Failed, Runner, needed_files
from experiments.run.runs import Run, filter_runs
from experiments.run.setting import Setting
from experiments.run.setup_warnings import check_setup, impossible_note, plan_warnings, setup_notes
from experiments.run.study import ExploringStudy, Study
from experiments.run.tables import RunResults, make_sides, tabulate
from experiments.user.imports import errors_in

FIRST = 0.6  # of the time limit: after it nothing is explored, so that the confirmation has the rest
NOTHING_CHOSEN = Choices()


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
    out = options.directory(name or study.page)
    check_folder(study, out, typed=options.out is not None or options.dry_run)
    if options.data_root is not None:
        os.environ["SIGMABENCH_DATA"] = str(options.data_root)  # for workers too
    return _Command(study, options, out, began or time.time()).run()


@dataclass(frozen=True)
class Plan:
    """The runs that are known beforehand, and what is chosen: by an earlier run, or since it has no competitor."""

    planner: Planner
    runs: Sequence[Run]
    candidates: Sequence[Setting] = ()  # the possible settings of `explore()`
    choices: Choices = NOTHING_CHOSEN

    def confirm(self, choices: Choices, earlier: Sequence[Run]) -> list[Run]:
        """The runs of confirmers."""
        study = self.planner.study
        if not choices.chosen or not isinstance(study, ExploringStudy):
            return []
        return self.planner.plan(choice.confirmed(study, choices.chosen), earlier)

    def guess_confirmation(self) -> list[Run]:
        """Runs that cost what the confirmation will, if it is still to be chosen: as if the first settings were."""
        study = self.planner.study
        if not isinstance(study, ExploringStudy) or self.choices.chosen:
            return []
        return self.confirm(choice.choose(study, self.candidates, {}), self.runs)


@dataclass
class _Command:
    study: Study
    options: Options
    out: Path
    began: float
    console: Terminal = field(default_factory=Terminal)
    notes: list[str] = field(default_factory=list)  # for the report, in the order in which they arise

    def __post_init__(self) -> None:
        options = self.options
        self.console.only = QUIET if options.quiet else ()
        code_version()  # the code may change while the command runs
        self.cache = Cache(options.store)
        self.runner = Runner(self.cache, self.console, options.workers or 1)
        if options.ray_address is not None:
            self.runner.cluster = partial(run_on_ray, options.ray_address, options.gpus_per_run or 1.0)

    def run(self) -> StudyResult:
        plan = self.plan()
        only = self.options.only
        runs = filter_runs(plan.runs, only) if only else plan.runs
        if all(run.impossible for run in runs):
            raise ValueError(
                runs[0].impossible if runs else "settings: there are none, or none to compare with the first"
            )
        if text := impossible_note(runs):
            self.console.print(f"note: {text}", style="yellow")
        if self.options.dry_run:
            return self.print_plan(plan, runs)
        if self.options.fresh:
            self.cache.start_fresh()
        with result_folder.lock_folder(self.out):
            self.notes += plan.choices.notes
            self.check_setup(plan.planner, runs, len(plan.runs))
            self.runner.logs = logs = self.out / "logs"
            logs.mkdir(exist_ok=True)
            for log in logs.glob("*.log"):  # of an earlier run
                log.unlink()
            results, execution, choices = self.execute(plan, runs)
            page = None
            if execution.interrupted:
                result_folder.write_tables(self.out, {"table.csv": results.rows.values()})
            else:
                page = self.write(results, execution, choices, plan.runs if only else ())
            result = StudyResult(self.out, [*results.rows.values()], page, results.failed, execution.interrupted)
            done = {"seconds": round(time.time() - self.began, 3), "evaluations": round(execution.evaluations)}
            printing.print_result(result, self.study.page, self.options, len(results.runs), done, self.console)
        if execution.interrupted:
            raise KeyboardInterrupt
        return result

    def plan(self) -> Plan:
        """Plans what is known beforehand, whatever part is asked for: not what is still to be chosen."""
        with status_line(self.console, lambda: "loading data, features and networks"):
            fixed = collect_settings(self.study)
            planner = Planner.of(self.study, self.options, self.cache, self.console.print)
            plan = self.plan_runs(planner, fixed)
            guessed = [] if self.options.only else plan.guess_confirmation()
            compiled = planner.compiled_if_long([*plan.runs, *guessed])
            if compiled is not planner:
                plan = self.plan_runs(compiled, fixed)
            check_comparisons(self.study, plan.runs)
        return plan

    def plan_runs(self, planner: Planner, fixed: Sequence[Setting]) -> Plan:
        """The runs of fixed settings; of what is explored, without what needs no exploring; of what was chosen before.

        With --only, what an earlier run of this command chose counts too.
        """
        study = self.study
        if not isinstance(study, ExploringStudy):
            return Plan(planner, planner.plan(fixed))
        only = self.options.only
        path = study.choices_path
        plan = Plan(planner, ())
        if path is None:
            with errors_in(type(study), "explore()"):
                to_explore = choice.explored(study)
            explored = planner.plan(to_explore)
            candidates = [*dict.fromkeys(run.setting for run in explored if not run.impossible)]
            needed = choice.settings_to_explore(study, candidates)
            fixed = [*fixed, *dict.fromkeys(run.setting for run in explored if run.impossible or run.setting in needed)]
            plan = Plan(planner, (), candidates, NOTHING_CHOSEN if needed else choice.choose(study, candidates, {}))
            if needed and only and (self.out / choices_file.FILE).is_file():
                path = self.out / choices_file.FILE
        if path is not None:
            names = planner.network.row()["network"], planner.reference.features
            plan = replace(plan, choices=choices_file.read_choices(path, study, *names))
        elif not plan.choices.chosen and f"section={CONFIRM}" in only:
            rule = "nothing was chosen yet; run it without --only, or give --choices FILE"
            raise ValueError(f"only='section={CONFIRM}': {rule}")
        runs = planner.plan(fixed)
        return replace(plan, runs=[*runs, *plan.confirm(plan.choices, runs)])

    def print_plan(self, plan: Plan, runs: Sequence[Run]) -> StudyResult:
        """Prints the notes and the plan of --dry-run, the plan also as one line of JSON."""
        possible = [run for run in runs if not run.impossible]
        choices = plan.choices
        printing.print_notes(
            self.console, [*self.study.notes, *choices.notes, *choices.caveats], plan_warnings(possible)
        )
        guessed = [] if self.options.only else plan.guess_confirmation()
        numbers = dry_run.print_plan([*runs, *guessed], self.cache, self.options.workers or 1, self.console.print)
        if guessed:
            self.console.print(
                "the settings to confirm are chosen first: they are counted as if they were the first ones"
            )
        print(json.dumps({"experiment": self.study.page, "dry_run": True} | numbers), flush=True)
        return StudyResult(self.out)

    def notify(self, text: str) -> None:
        self.notes.append(text)
        self.console.print(text)

    def check_setup(self, planner: Planner, runs: Sequence[Run], n_planned: int) -> None:
        """Checks the network and the settings, and prints what readers of the numbers should know."""
        possible = [run for run in runs if not run.impossible]
        with status_line(self.console, lambda: "checking the network and the settings"):
            warnings = check_setup(possible, self.cache)
            notes = [*self.study.notes, *setup_notes(possible)]
        if self.options.only:
            typed = shlex.join(["--only", *self.options.only])
            notes.append(f"a part of the experiment was run, {len(runs)} of {n_planned} runs: {typed}")
        if planner.note:
            notes.append(planner.note)
        printing.print_notes(self.console, notes, warnings)
        self.notes += [*notes, *warnings]

    def execute(self, plan: Plan, runs: Sequence[Run]) -> tuple[RunResults, ExecutionResult, Choices]:
        """The results of the runs, and what was chosen with its results. With a time limit some may lack."""
        limit = self.study.time_limit
        done = ExecutionResult({})
        choices = plan.choices
        exploring = [run for run in runs if run.setting.section == EXPLORE]
        testing = [run for run in runs if run.setting.section != EXPLORE]
        if exploring:
            done = self.runner.run(
                _baselines_first(exploring) if limit < math.inf else exploring, self.began + FIRST * limit
            )
            results = self.read_results(exploring, done)
            if done.interrupted:
                return results, done, choices
            if not self.options.only:
                choices = self.choose(plan.candidates, results)
                testing += plan.confirm(choices, testing)
        if testing:
            on_network = printing.NetworkLines(self.console, testing, partial(self.first_contrast, choices))
            done = _add(done, self.runner.run(testing, self.began + limit, on_network if limit == math.inf else None))
        results = self.read_results([*exploring, *testing], done)
        late = [run for run in testing if run not in results.rows]
        if late and not done.interrupted and not self.options.only:
            self.notify(f"the time was up: {len(late)} of {len(testing)} runs of the last settings were not begun")
        return results, done, choices

    def read_results(self, runs: Sequence[Run], done: ExecutionResult) -> RunResults:
        return RunResults.of(self.study.page, runs, self.cache, done.failed)

    def choose(self, candidates: Sequence[Setting], results: RunResults) -> Choices:
        """Chooses by what the explorers measured, and writes it before a confirmer begins."""
        study = self.study
        assert isinstance(study, ExploringStudy)
        by_section = results.sides.items()
        explored = [side for (section, _), sides in by_section if section == EXPLORE for side in sides.values()]
        for budget in dict.fromkeys(side.budget for side in explored):
            absent = [f"“{side.label}”" for side in explored if side.budget == budget and not side.whole]
            if absent:
                where = f", {budget} evaluations" if budget else ""
                self.notify(f"not chosen from, since it failed or the time was up{where}: {', '.join(absent)}")
        sides = {(side.label, side.budget): side for side in explored if side.whole}
        choices = choice.choose(study, candidates, sides)
        result_folder.write_table(self.out, "choices.csv", choices.rows)
        if note := choices_file.write_choices(self.out, study, results, choices):
            self.notify(note)
        printing.print_choices(choices.rows, self.console)
        return choices

    def first_contrast(self, choices: Choices, done: Sequence[Run], failed: Failed) -> Contrast | None:
        """That of the networks that are done; None if compare() of a user's study needs all, or none ran both sides."""
        with suppress(Exception):
            comparisons = self.compare(choices, RunResults.of(self.study.page, done, self.cache, failed).sides)
            return next(contrast for contrast in comparisons if isinstance(contrast, Contrast) and contrast.seeds)
        return None

    def compare(self, choices: Choices, sides: SidesBySection) -> list[Comparison]:
        return list(choice.compare_all(self.study, choices.chosen, sides))

    def plan_comparisons(self, choices: Choices, planned: Sequence[Run]) -> list[Comparison]:
        """Lists the comparisons as if all runs had been made. If that needs their scores: nothing, and a note."""
        rows = {run: run.row() for run in planned}
        unmeasured: dict[Run, dict[str, Any]] = {run: {} for run in planned}
        try:
            return self.compare(choices, make_sides(planned, rows, unmeasured))
        except Exception:  # of a user's study, which may look at scores
            self.notify("verdicts are corrected for the comparisons of this part alone: compare() needs scores")
            return []

    def write(
        self, results: RunResults, execution: ExecutionResult, choices: Choices, planned: Sequence[Run] = ()
    ) -> Page:
        """The tables, run.json and the report. `planned`: all runs of the study, if these are a part."""
        study = self.study
        family = self.plan_comparisons(choices, planned) if planned else []
        with status_line(self.console, lambda: "intervals, figures and the report"):
            with errors_in(type(self.study), "compare()"):
                comparisons = self.compare(choices, results.sides)
            extra = {**study.extra_tables(results), **({"choices.csv": choices.rows} if choices.rows else {})}
            tables = tabulate(results, comparisons, extra, family)
            result_folder.write_tables(self.out, tables, results.pictures)
        notes = results.autoencoder_notes
        warnings = results.warnings
        printing.print_notes(self.console, notes, warnings)
        files = needed_files(list(results.files), self.cache)
        whole_cost = sum(sum(paths.values()) for paths in files.values())
        info: dict[str, Any] = {"experiment": study.page, "question": study.question, "preset": self.options.preset}
        info |= {**study.provenance, "notes": [*self.notes, *notes, *warnings], "options": self.options.resolve(study)}
        trained = {run.network.network: run.network for run in results.runs if isinstance(run.network, Trained)}
        info["parameters"] = {name: network.n_parameters for name, network in trained.items()}
        info["caveats"] = choices.caveats
        share = execution.evaluations / whole_cost if whole_cost else 1
        info["computed"] = round(min(share, 1), 3)  # the rest was stored before
        info["runs_not_begun"] = len(results.runs) - len(results.rows)
        seconds = time.time() - self.began
        info |= {"wall_seconds": round(seconds, 1), "total_seconds": round(seconds + self.stored_seconds(results), 1)}
        return result_folder.write(self.out, info)

    def stored_seconds(self, results: RunResults) -> float:
        """Seconds of the networks and samples that were stored before this command began, summed over files."""
        began = datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds")
        files = [file for run in results.files.values() for file in (run.network, run.samples) if file]
        facts = {file.path: file.facts for file in files if file.facts["finished_at"] < began}
        return sum(fact.get("train_seconds", fact.get("seconds", 0.0)) for fact in facts.values())


def _add(first: ExecutionResult, second: ExecutionResult) -> ExecutionResult:
    failed = {**first.failed, **second.failed}
    return ExecutionResult(failed, second.interrupted, first.evaluations + second.evaluations)


def _baselines_first(runs: Sequence[Run]) -> list[Run]:
    """The runs setting by setting: first those with which others are compared, then the others in a spread order."""
    settings = [*dict.fromkeys(run.setting for run in runs)]
    first = {(setting.section, setting.budget): setting for setting in settings[::-1]}
    bits_reversed = (f"{index:016b}"[::-1] for index in range(len(settings)))  # sorted by these, numbers spread
    order = {
        setting: (setting not in first.values(), bits) for setting, bits in zip(settings, bits_reversed, strict=True)
    }
    return sorted(runs, key=lambda run: order[run.setting])
