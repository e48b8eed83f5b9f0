"""From planned trials to a finished result folder: plan, run, tabulate, contrast, report."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.config.comparison import BestSet, Comparison, Contrast, Race
from experiments.config.trial import Infeasible, Trial, described
from experiments.engine import conclusion, dry_run, executor, race
from experiments.engine.calibrated import chosen_for
from experiments.engine.doubts import doubts
from experiments.engine.executor import SweepResult
from experiments.engine.options import Options
from experiments.engine.plan import Plan
from experiments.engine.pool import at_a_time, pool
from experiments.engine.provenance import command, notes, provenance
from experiments.engine.rehearsal import rehearse
from experiments.engine.result_folder import check_outside, earlier_results, held
from experiments.engine.selection import only
from experiments.engine.tasks import Outcome, RunContext
from experiments.own.features import check_suits
from experiments.results import best_sets, contrasts, floors, table
from experiments.results.images import write_evidence
from experiments.run.hardware import use_threads, visible_cards
from experiments.stages.common import images_of, load_model
from experiments.stages.probe import Probe
from experiments.store.store import Store, write_json
from reports.render import write_report
from reports.results import digests, sealed
from reports.terminal import Terminal, said

Extras = Callable[[Path, Store, Sequence[Trial], Terminal], None]


@dataclass(frozen=True)
class Experiment:
    """The trials and comparisons of an experiment.

    Args:
        name: as on the command line; it selects the page of the report.
        question: the title of the report.
        trials: the planned runs.
        contrasts: the planned comparisons.
        race: if given, `trials` are those of its first field.
        fixed_beforehand: whether the primary contrast has the settings that the design fixed beforehand.
        write_extras: writes further files that the experiment's report reads, given the trials that succeeded.
        probes: further measurements on the denoisers, besides the trials.
        folder: name of the result folder; by default the experiment's name.
        notes: what the terminal and the report say besides.
    """

    name: str
    question: str
    trials: Sequence[Trial | Infeasible]
    contrasts: Sequence[Comparison]
    race: Race | None = None
    fixed_beforehand: bool = False
    write_extras: Extras | None = None
    probes: Sequence[Probe] = ()
    folder: str | None = None
    notes: Sequence[str] = ()


def run_experiment(experiment: Experiment, options: Options) -> pd.DataFrame:
    """Runs the trials, writes the result folder with its report, prints the verdict, and returns the table.

    The last line on stdout is JSON for machines, except on a terminal without --json.

    Raises:
        KeyboardInterrupt: the run was interrupted. table.csv has the rows that are finished.
    """
    start, console = time.monotonic(), Terminal()
    directory, store = options.directory(experiment.folder or experiment.name), Store(options.store)
    check_outside(directory, store)
    part = _part(experiment.trials, options)
    plan = Plan.of(part, experiment.probes)
    with said(console, lambda: "loading data, features and networks"):
        _check((*plan.trials, *(experiment.race.confirmation if experiment.race else ())), store, options.data_root)
        rehearse(plan.trials, options.data_root)
    context = RunContext(store, options.data_root)
    if text := infeasible_in_words(part):
        console.print(f"note: {text}", style="yellow", soft_wrap=True)
    if options.dry_run:
        remaining = plan.remaining(store)
        _say(
            {"experiment": experiment.name, "dry_run": True}
            | dry_run.show(remaining, context, options, console, experiment.race)
        )
        return pd.DataFrame([described(trial) | {"status": "planned"} for trial in plan.trials])
    if plan.remaining(store).tasks:
        store.check_writable()  # before any work
    earlier_results(directory, experiment.name)  # raises ValueError if others wrote there
    with held(directory):
        earlier = earlier_results(directory, experiment.name)
        remarks = notes(plan.trials, options, sum(isinstance(trial, Trial) for trial in experiment.trials))
        remarks += experiment.notes
        if chosen := chosen_for(experiment.trials, options):
            remarks.append(chosen.why)
        with said(console, lambda: "checking the network and the settings"):
            warnings = doubts(plan.trials, options.data_root)
        for kind, text in (*(("note", remark) for remark in remarks), *(("warning", warning) for warning in warnings)):
            console.print(f"{kind}: {text}", style="yellow", soft_wrap=True)
        remarks += warnings
        with _executor(plan, context, options) as (context, how):
            logs = directory / "logs"
            for path in earlier:  # so that a report never mixes two runs
                path.unlink()

            failed: dict[str, Outcome] = {}  # so that no failure is tried twice in one command

            def run(plan: Plan) -> SweepResult:
                return executor.execute(plan, context, console, logs=logs, failed=failed, **how)

            if experiment.race:
                raced = race.raced(plan, experiment.race, run, store, console)
            else:
                raced = race.Raced(plan, run(plan), experiment.contrasts, [])
        plan, result = raced.plan, raced.result
        store.sweep_temporaries()  # left by workers that were stopped just now
        rows = [*result.rows, *(trial.row() for trial in part if isinstance(trial, Infeasible))]
        table.write_rows(directory / "table.csv", rows)
        report = None
        if not result.interrupted:
            console.print("every run is scored; intervals, figures and the report follow", soft_wrap=True)
            with said(console, lambda: "intervals, figures and the report"):
                report = _report(directory, experiment, raced, store, options, remarks, console)
        result = replace(result, seconds=time.monotonic() - start)  # all of it, not only the runs
        _conclude(experiment.name, plan, result, rows, directory, report, options, console)
        if result.interrupted:
            raise KeyboardInterrupt
        frame = pd.read_csv(directory / "table.csv")
    frame.attrs["failed_probes"] = len(result.failed_probes)
    return frame


def _part(planned: Sequence[Trial | Infeasible], options: Options) -> Sequence[Trial | Infeasible]:
    """The trials that --only asks for, or all."""
    if not any(isinstance(trial, Trial) for trial in planned):
        raise ValueError("nothing to run: no setting that was asked for is feasible")
    return planned if options.only is None else only(planned, options.only)


def infeasible_in_words(planned: Sequence[Trial | Infeasible]) -> str:
    """How many settings are not run, as sampler and ladder do not suit each other, with an example; empty if none."""
    why = {(trial.mode, trial.setting, trial.budget): trial for trial in planned if isinstance(trial, Infeasible)}
    if not why:
        return ""
    first = next(iter(why.values()))
    many = "1 setting is" if len(why) == 1 else f"{len(why)} settings are"
    return f"{many} infeasible and not run: {first.setting}{', ...' * (len(why) > 1)} ({first.why})"


def _check(trials: Sequence[Trial], store: Store, data_root: Path | None) -> None:
    """Raises ValueError if data are missing or too few, or if --model or the features do not suit them."""
    for trial in trials:
        data = trial.score.reference.data  # which is not always what the network was trained on
        most = len(images_of(data, data_root).pixels) // 3
        if trial.samples.n_samples > most:
            raise ValueError(
                f"n_samples={trial.samples.n_samples}: data={data!r} allows at most {most}, a third of its "
                "images: as many are set aside for the floor, and intervals hold only for a reference larger than that"
            )
        if trial.model.trained_by == "others":
            load_model(trial.model, store, data_root, trial.samples.machine.device)
    for reference in dict.fromkeys(trial.score.reference for trial in trials):
        check_suits(reference.features, images_of(reference.data, data_root).pixels, reference.weights)


@contextmanager
def _executor(plan: Plan, context: RunContext, options: Options) -> Iterator[tuple[RunContext, dict[str, Any]]]:
    """Yields the context and further arguments of `execute`: on a cluster if one was given, else on this machine."""
    machine, workers = plan.trials[0].samples.machine, options.workers or 1
    on_cards = machine.device == "cuda"
    if options.ray_address is None:
        cards = visible_cards() if on_cards and workers > 1 else []
        with pool(workers, cards) as execute:
            context = replace(context, shared=workers > max(len(cards), 1))
            yield context, {"executor": execute, "slots": at_a_time(plan.tasks, workers)}
        return
    from experiments.engine import ray_executor

    share = options.gpus_per_run or 1.0
    with ray_executor.connected(options.ray_address, share, machine.threads) as (execute, slots):
        context = replace(context, shared=share < 1 or not on_cards)  # then a run's seconds say nothing about speed
        yield context, {"executor": execute, "slots": slots}


def _report(
    directory: Path,
    experiment: Experiment,
    raced: race.Raced,
    store: Store,
    options: Options,
    remarks: Sequence[str],
    console: Terminal,
) -> Path:
    """Writes the tables, the images, the experiment's own files and the report. Returns the report's path."""
    plan, result = raced.plan, raced.result
    use_threads(plan.trials[0].samples.machine.threads)  # so that intervals and floors round as scores do
    _tabulate(directory, raced, store)
    ok = {row["run_id"] for row in result.rows if row["status"] == "ok"}
    done = [trial for trial in plan.trials if trial.run_id in ok]
    write_evidence(directory, done, store, options.data_root)
    if experiment.write_extras:
        experiment.write_extras(directory, store, done, console)
    info = provenance(experiment.name, experiment.question, options.preset, [*remarks, *result.failed_probes])
    info |= {"fixed_beforehand": experiment.fixed_beforehand}
    info |= {"files": digests(directory)}
    write_json(directory / "run.json", sealed(info))
    return write_report(directory)


def _tabulate(directory: Path, raced: race.Raced, store: Store) -> None:
    """Writes floors.csv, contrasts.csv, best_sets.csv and race.csv.

    Comparisons with a missing run are left out.
    """
    rows, comparisons = raced.result.rows, raced.comparisons
    floor = floors.floor_rows(raced.plan.trials, rows, store)
    table.write_rows(directory / "floors.csv", floor)
    pairs = [comparison for comparison in comparisons if isinstance(comparison, Contrast)]
    table.write_rows(directory / "contrasts.csv", contrasts.contrast_rows(pairs, rows, store, floor))
    if sets := [comparison for comparison in comparisons if isinstance(comparison, BestSet)]:
        table.write_rows(directory / "best_sets.csv", best_sets.best_set_rows(sets, rows, store, floor))
    if raced.rows:
        table.write_rows(directory / "race.csv", raced.rows)


def _conclude(
    name: str,
    plan: Plan,
    result: SweepResult,
    rows: Sequence[table.Row],
    directory: Path,
    report: Path | None,
    options: Options,
    console: Terminal,
) -> None:
    """Prints the verdict, the path of the result, how to continue, and what failed; for machines, a line of JSON."""
    failed = sum(row["status"] == "failed" for row in rows) + len(result.failed_probes)
    place = options.shown(directory / "table.csv")
    if result.warnings:
        console.print(f"logs: {options.shown(directory / 'logs')}", soft_wrap=True)
    console.print(f"{len(rows)} rows, {failed} failed: {place}", soft_wrap=True)
    if report is not None:
        conclusion.show(report, options.shown(report), not failed and options.preset == "smoke", console)
    else:
        undone = len(plan.trials) - len(result.rows)
        console.print(f"interrupted, {undone} of {len(plan.trials)} trials left. To go on: {command()}", soft_wrap=True)
    conclusion.show_failures(rows, result.failed_probes, directory / "logs", console)
    if options.json or not console.is_terminal:
        _say({
            "experiment": name,
            "rows": len(rows),
            "failed": failed,
            "interrupted": result.interrupted,
            "table": place,
            "report": report and options.shown(report),
            "seconds": round(result.seconds, 3),
            "evaluations": round(result.evaluations),
        })  # fmt: skip


def _say(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)
