"""From planned cells to a finished result folder: plan, run, tabulate, contrast, report."""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from experiments.config.config import ForeignConfig
from experiments.config.trial import Cell, Infeasible
from experiments.engine import dry_run, executor, selection
from experiments.engine.executor import Swept
from experiments.engine.options import Options
from experiments.engine.plan import Plan
from experiments.engine.provenance import command, notes, provenance
from experiments.engine.tasks import Place
from experiments.results import contrasts as contrasting
from experiments.results import table
from experiments.results.images import write_evidence
from experiments.stages.common import images_of, load_model
from experiments.stages.hardware import use_threads
from experiments.stages.probe_setup import ProbeConfig
from experiments.store.store import Store, write_json
from reports.render import write_report

Explain = Callable[[Path, Store, Sequence[Cell], Console], None]


def run_experiment(
    name: str,
    question: str,
    options: Options,
    planned: Sequence[Cell | Infeasible],
    contrasts: Sequence[contrasting.Contrast | contrasting.Choice],
    *,
    fixed_beforehand: bool = False,
    explain: Explain | None = None,
    probes: Sequence[ProbeConfig] = (),
    folder: str | None = None,
) -> pd.DataFrame:
    """Runs the cells, writes the result folder with its report, prints where it lies, and returns the table.

    The last line on stdout is JSON, for machines.

    Args:
        fixed_beforehand: whether the primary contrast is the one that the design fixed, or merely of its form.
        probes: what is measured of the networks beside the runs.
        explain: writes further files that the experiment's report reads, given the cells that succeeded.
        folder: what the result folder is called, if not by the experiment's name.

    Raises:
        KeyboardInterrupt: it was interrupted; the table holds what is finished.
    """
    console = Console()
    directory, store = options.directory(folder or name), Store(options.store)
    part = _part(planned, options)
    plan = Plan.of(part, probes)
    _check(plan.cells, store, options.data_root)
    data_root = options.data_root.absolute() if options.data_root else None
    place = Place(store, data_root, together=options.together)
    if options.dry_run:
        left = plan.left(store)
        _say({"experiment": name, "dry_run": True} | dry_run.show(left, place, options, console))
        return dry_run.table(left).replace({"status": {"failed": "planned"}})
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    remove_strays(directory)
    said = notes(plan.cells, options, sum(isinstance(cell, Cell) for cell in planned))
    for note in said:
        console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    with _executor(plan, place, options) as (place, how):
        logs = directory / "logs"
        swept = executor.execute(plan, place, console, logs=logs, retry_failed=options.retry_failed, **how)
    store.sweep_temporaries()  # of workers that were stopped just now
    rows = [*swept.rows, *(cell.row() for cell in part if isinstance(cell, Infeasible))]
    table.write_rows(directory / "table.csv", rows, table.COLUMNS)
    whole = not swept.interrupted and not options.shard
    report = None
    if whole:
        use_threads(plan.cells[0].samples.machine.threads)  # intervals and floors round as scores do
        _tabulate(directory, plan, swept, contrasts, store)
        info = provenance(name, question, options, [*said, *swept.beside])
        write_json(directory / "run.json", info | {"fixed_beforehand": fixed_beforehand})
        ok = {row["run_id"] for row in swept.rows if row["status"] == "ok"}
        done = [cell for cell in plan.cells if contrasting.run_id(cell) in ok]
        write_evidence(directory, done, store, options.data_root)
        if explain:
            explain(directory, store, done, console)
        report = write_report(directory)
    _conclude(name, plan, swept, rows, directory, report, options, console)
    if swept.interrupted:
        raise KeyboardInterrupt
    result = pd.read_csv(directory / "table.csv")
    result.attrs["failed_beside"] = len(swept.beside)
    return result


def remove_strays(directory: Path) -> None:
    """Removes half-written files of a run that was killed: .NAME.PID of what a result folder holds, and no others."""
    half_written = re.compile(r"\.[\w-]+\.(csv|json|md|html|svg|png)\.\d+")
    for folder in (directory, directory / "images", directory / "figures"):
        for path in folder.glob(".*"):
            if path.is_file() and half_written.fullmatch(path.name):
                path.unlink()


def _part(planned: Sequence[Cell | Infeasible], options: Options) -> Sequence[Cell | Infeasible]:
    """The cells that were asked for: --only, then --shard."""
    if not any(isinstance(cell, Cell) for cell in planned):
        raise ValueError("nothing to run: no setting that was asked for is feasible")
    if options.only is not None:
        planned = selection.only(planned, options.only)
    return planned if options.shard is None else selection.shard(planned, options.shard)


def _check(cells: Sequence[Cell], store: Store, data_root: Path | None) -> None:
    """Stops the run before it starts, with one message, if it has no data, too few, or no such --model."""
    for cell in cells:
        most = len(images_of(cell.model.data, data_root).pixels) // 3
        if cell.samples.n_samples > most:
            raise ValueError(
                f"n_samples={cell.samples.n_samples}: data={cell.model.data!r} allows at most {most}, a third of its "
                "images: as many are set aside for the floor, and intervals hold only for a reference larger than that"
            )
        if isinstance(cell.model, ForeignConfig):
            load_model(cell.model, store, data_root, cell.samples.machine.device)


@contextmanager
def _executor(plan: Plan, place: Place, options: Options) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Who does the tasks: this process, or Ray if it was asked for."""
    if options.workers is None and options.ray_address is None:
        yield place, {}
        return
    from experiments.engine import ray_executor

    machine, gpus = plan.cells[0].samples.machine, options.gpus_per_run or 1.0
    with ray_executor.connected(options.workers, options.ray_address, gpus, machine.threads) as ray:
        shared = ray_executor.shared(machine.device, options.workers, gpus)
        yield Place(place.store, place.data_root, shared), {"executor": ray.executor, "slots": ray.slots}


def _tabulate(
    directory: Path,
    plan: Plan,
    swept: Swept,
    contrasts: Sequence[contrasting.Contrast | contrasting.Choice],
    store: Store,
) -> None:
    """Writes floors.csv and contrasts.csv. What compares with a run that is not there is left out."""
    floors = contrasting.floor_rows(plan.cells, swept.rows, store)
    table.write_rows(directory / "floors.csv", floors, contrasting.FLOOR_COLUMNS)
    found = contrasting.contrast_rows(contrasts, swept.rows, store)
    table.write_rows(directory / "contrasts.csv", found, contrasting.COLUMNS)


def _conclude(
    name: str,
    plan: Plan,
    swept: Swept,
    rows: Sequence[table.Row],
    directory: Path,
    report: Path | None,
    options: Options,
    console: Console,
) -> None:
    """Says what failed, where the result lies and how to go on; last, in one line of JSON, the same for machines."""
    failed = [row["error"] for row in rows if row["status"] == "failed"] + swept.beside
    for error in dict.fromkeys(failed):
        console.print(f"failed ({failed.count(error)}): {error}", style="red", markup=False, soft_wrap=True)
    if failed or swept.warnings:
        console.print(f"logs: {directory / 'logs'}", soft_wrap=True)
    console.print(
        f"{len(rows)} rows, {len(failed) - len(swept.beside)} failed: {directory / 'table.csv'}", soft_wrap=True
    )
    if report is not None:
        console.print(f"report: {report}", style="bold", soft_wrap=True)
    elif swept.interrupted:
        undone = len(plan.cells) - len(swept.rows)
        console.print(f"interrupted, {undone} of {len(plan.cells)} cells left. To go on: {command()}", soft_wrap=True)
    else:
        whole = [word for word in sys.argv[1:] if word not in ("--shard", options.shard, f"--shard={options.shard}")]
        again = shlex.join(["python", "-m", "experiments", *whole])
        console.print(f"when all shards are done, the report comes from: {again}", soft_wrap=True)
    _say({
        "experiment": name,
        "rows": len(rows),
        "failed": len(failed),
        "interrupted": swept.interrupted,
        "table": str(directory / "table.csv"),
        "report": None if report is None else str(report),
        "seconds": round(swept.seconds, 3),
        "evaluations": round(swept.evaluations),
    })  # fmt: skip


def _say(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)
