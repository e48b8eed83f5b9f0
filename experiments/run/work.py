"""What a question's main line does in the world: plans, runs the loop, keeps notes, writes the folder, prints."""

import json
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from experiments.console import QUIET, Terminal, status_line
from experiments.run import dry_run, printing, result_folder
from experiments.run.cache import Cache
from experiments.run.machine import code_version
from experiments.run.networks import Trained
from experiments.run.options import Options
from experiments.run.pairs import Pair
from experiments.run.plan import Planner, check_folder
from experiments.run.ray_runner import run_on_ray
from experiments.run.result_folder import StudyResult
from experiments.run.runner import Runner, needed_files
from experiments.run.runs import Run, filter_runs
from experiments.run.setup_warnings import check_setup, impossible_note, plan_warnings, setup_notes
from experiments.run.study import Study
from experiments.run.tables import RunResults
from reports.schema import Row

FIRST = 0.6  # of the time limit: after it nothing is explored, so that the confirmation has the rest
AnyPlan = TypeVar("AnyPlan", bound=Any)


@dataclass
class Work:
    """The state of one command: its options, its folder, its cache, and the results so far."""

    study: Study
    options: Options
    out: Path
    began: float
    console: Terminal = field(default_factory=Terminal)
    notes: list[str] = field(default_factory=list)  # for the report, in the order in which they arise
    wanted: set[Run] | None = None  # those that --only asks for; None without it
    evaluations: float = 0.0  # of the network, for what this command made

    def __post_init__(self) -> None:
        options = self.options
        check_folder(self.study, self.out, typed=options.out is not None or options.dry_run)
        if options.data_root is not None:
            os.environ["SIGMABENCH_DATA"] = str(options.data_root)  # for workers too
        self.console.only = QUIET if options.quiet else ()
        code_version()  # the code may change while the command runs
        self.cache = Cache(options.store)
        self.runner = Runner(self.cache, self.console, options.workers or 1)
        if options.ray_address is not None:
            self.runner.cluster = partial(run_on_ray, options.ray_address, options.gpus_per_run or 1.0)
        self.results = RunResults.of(self.study.page, [], self.cache, {})

    def prepare(self, make: Callable[[Planner], AnyPlan]) -> AnyPlan:
        """Loads data and networks and makes the plan; again, with compiled sampling, if that pays.

        ValueError if nothing in it can be run.
        """
        with status_line(self.console, lambda: "loading data, features and networks"):
            self.planner = Planner.of(self.study, self.options, self.cache, self.console.print)
            plan = make(self.planner)
            compiled = self.planner.compiled_if_long([*plan.runs, *plan.most_to_confirm])
            if compiled is not self.planner:
                self.planner = compiled
                plan = make(compiled)
        runs = [*plan.runs]
        if self.options.only:
            runs = filter_runs(runs, self.options.only)
            self.wanted = {*runs}
        if all(run.impossible for run in runs):
            raise ValueError(
                runs[0].impossible if runs else "settings: there are none, or none to compare with the first"
            )
        if text := impossible_note(runs):
            self.console.print(f"note: {text}", style="yellow")
        return plan

    def select(self, runs: Sequence[Run]) -> list[Run]:
        """The runs that --only asks for."""
        return [run for run in runs if self.wanted is None or run in self.wanted]

    def print_plan(self, runs: Sequence[Run], most: Sequence[Run], notes: Sequence[str]) -> StudyResult:
        """Prints the notes and the plan of --dry-run, the plan also as one line of JSON."""
        runs = self.select(runs)
        possible = [run for run in runs if not run.impossible]
        printing.print_notes(self.console, [*self.study.notes, *notes], plan_warnings(possible))
        numbers = dry_run.print_plan([*runs, *most], self.cache, self.options.workers or 1, self.console.print)
        if most:
            self.console.print("the settings to confirm are chosen first: they are counted as the most they can cost")
        print(json.dumps({"experiment": self.study.page, "dry_run": True} | numbers), flush=True)
        return StudyResult(self.out)

    @contextmanager
    def open(self, planned: Sequence[Run], notes: Sequence[str]) -> Iterator[None]:
        """The folder, which nobody else writes until the block ends. Checks the network and the settings first."""
        if self.options.fresh:
            self.cache.start_fresh()
        with result_folder.lock_folder(self.out):
            self.notes += notes
            self.check_setup(planned)
            self.runner.logs = logs = self.out / "logs"
            logs.mkdir(exist_ok=True)
            for log in logs.glob("*.log"):  # of an earlier run
                log.unlink()
            yield

    def check_setup(self, planned: Sequence[Run]) -> None:
        """Checks the network and the settings, and prints what readers of the numbers should know."""
        runs = self.select(planned)
        possible = [run for run in runs if not run.impossible]
        with status_line(self.console, lambda: "checking the network and the settings"):
            warnings = check_setup(possible, self.cache)
            notes = [*self.study.notes, *setup_notes(possible)]
        if self.options.only:
            typed = shlex.join(["--only", *self.options.only])
            notes.append(f"a part of the experiment was run, {len(runs)} of {len(planned)} runs: {typed}")
        if self.planner.note:
            notes.append(self.planner.note)
        printing.print_notes(self.console, notes, warnings)
        self.notes += [*notes, *warnings]

    def notify(self, text: str) -> None:
        self.notes.append(text)
        self.console.print(text)

    def sweep(self, runs: Sequence[Run], pairs: Sequence[Pair] = (), *, exploring: bool = False) -> RunResults:
        """Makes what these runs lack. Returns all results so far; with a time limit some may lack.

        If it is interrupted, it writes what is done, and raises KeyboardInterrupt.
        """
        if not runs:
            return self.results
        limit = self.study.time_limit
        if exploring and limit < math.inf:
            runs = baselines_first(runs)
        lines = None
        if not exploring and limit == math.inf:
            lines = printing.NetworkLines(self.console, runs, pairs, self.load_scores)
        done = self.runner.run(runs, self.began + limit * (FIRST if exploring else 1), lines)
        self.evaluations += done.evaluations
        self.results = self.results.plus(RunResults.of(self.study.page, runs, self.cache, done.failed))
        if done.interrupted:
            result_folder.write_tables(self.out, {"table.csv": self.results.rows.values()})
            self.finish(StudyResult(self.out, [*self.results.rows.values()], None, self.results.failed, True))
            raise KeyboardInterrupt
        late = [run for run in runs if run not in self.results.rows]
        if late and not exploring and not self.options.only:
            self.notify(f"the time was up: {len(late)} of {len(runs)} runs of the last settings were not begun")
        return self.results

    def load_scores(self, run: Run) -> Row | None:
        scores = self.cache.load("scores", run.scored)
        return dict(scores.facts) if scores else None

    def note_unmeasured(self, table: pd.DataFrame) -> None:
        """Notes which explored settings cannot be chosen."""
        missing = table[~table["status"].isin(["ok", "infeasible"])].drop_duplicates(["budget", "setting"])
        for budget, rows in missing.groupby(missing["budget"].fillna(0), sort=False):
            names = ", ".join(f"“{label}”" for label in rows["setting"])
            where = f", {budget:.0f} evaluations" if budget else ""
            self.notify(f"not chosen from, since it failed or the time was up{where}: {names}")

    def write_choices(self, rows: Sequence[Row], note: str) -> None:
        """Writes choices.csv and prints what was chosen; `note` on choices.json."""
        result_folder.write_table(self.out, "choices.csv", rows)
        if note:
            self.notify(note)
        printing.print_choices(rows, self.console)

    def write(self, judged: Mapping[str, Any], caveats: Sequence[str]) -> StudyResult:
        """Writes the tables, run.json and the report, and prints the verdict. `judged`: the tables on comparisons."""
        study, results = self.study, self.results
        with status_line(self.console, lambda: "intervals, figures and the report"):
            tables = {name: table for name, table in judged.items() if len(table) or name == "contrasts.csv"}
            extra = study.extra_tables(results)
            tables = dict(**results.tables, **tables, **extra)  # a TypeError if two have one name
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
        info["caveats"] = [*caveats]
        share = self.evaluations / whole_cost if whole_cost else 1
        info["computed"] = round(min(share, 1), 3)  # the rest was stored before
        info["runs_not_begun"] = len(results.runs) - len(results.rows)
        seconds = time.time() - self.began
        info |= {"wall_seconds": round(seconds, 1), "total_seconds": round(seconds + self.stored_seconds(), 1)}
        page = result_folder.write(self.out, info)
        result = StudyResult(self.out, [*results.rows.values()], page, results.failed)
        self.finish(result)
        return result

    def finish(self, result: StudyResult) -> None:
        done = {"seconds": round(time.time() - self.began, 3), "evaluations": round(self.evaluations)}
        n_runs = len(self.results.runs)
        printing.print_result(result, self.study.page, self.options, n_runs, done, self.console)

    def stored_seconds(self) -> float:
        """Seconds of the networks and samples that were stored before this command began, summed over files."""
        began = datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds")
        files = [file for run in self.results.files.values() for file in (run.network, run.samples) if file]
        facts = {file.path: file.facts for file in files if file.facts["finished_at"] < began}
        return sum(fact.get("train_seconds", fact.get("seconds", 0.0)) for fact in facts.values())


def baselines_first(runs: Sequence[Run]) -> list[Run]:
    """The runs setting by setting: first those with which others are compared, then the others in a spread order."""
    settings = [*dict.fromkeys(run.setting for run in runs)]
    first = {(setting.section, setting.budget): setting for setting in settings[::-1]}
    bits_reversed = (f"{index:016b}"[::-1] for index in range(len(settings)))  # sorted by these, numbers spread
    order = {
        setting: (setting not in first.values(), bits) for setting, bits in zip(settings, bits_reversed, strict=True)
    }
    return sorted(runs, key=lambda run: order[run.setting])
