"""From a question to its report: plans the runs, makes what is missing, writes the result folder, says the verdict."""

import json
import math
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.own.user_code import of_user
from experiments.run import conclusion, dry_run, execute, folder
from experiments.run.asked import check_baselines, check_given, settings_of, taken
from experiments.run.cache import Cache
from experiments.run.calibration import Machines, chosen
from experiments.run.compare import Row
from experiments.run.doubts import doubts, impossible, remarks
from experiments.run.early import Seen, looking
from experiments.run.hardware import busy
from experiments.run.options import Options
from experiments.run.plan import Names, Run, check_plan, check_settings, planned
from experiments.run.selection import only
from experiments.run.setting import Setting
from experiments.run.study import Say, Study
from experiments.run.tables import Made, tabulated
from experiments.run.time_limit import LAST, Fit, fit
from experiments.run.work import network
from experiments.terminal import Terminal, said

if TYPE_CHECKING:
    from experiments.run.folder import Page

FIRST = 0.65  # of the time that `Study.limit` leaves for samples: for the first settings


@dataclass(frozen=True)
class Answer:
    """What came out, and the page on it. `interrupted`: the table has the finished rows only, and there is no page."""

    folder: Path
    rows: Sequence[Row] = ()
    page: "Page | None" = None
    failed: Mapping[str, str] | None = None
    interrupted: bool = False

    @property
    def report(self) -> Path | None:
        """The path of the page."""
        return self.folder / "report.html" if self.page else None

    @property
    def status(self) -> int:
        """The exit status of a command: 0 if every run succeeded, else 1."""
        return int(bool(self.failed))


@dataclass(frozen=True)
class _Planner:
    """Plans settings of a study on its machines."""

    study: Study
    machines: Machines
    names: Names
    fit: Fit = field(default_factory=Fit)

    def runs(self, settings: Iterable[Setting]) -> list[Run]:
        of, how = (self.study, settings), self.machines
        return self.fit.cut(planned(*of, how.training, how.sampling, how.batch, self.names))

    def shortest(self, study: Study) -> list[Run]:
        """The runs of the shortest form of a study."""
        return replace(self, study=study).runs(study.shortest())


def answer(
    study: Study,
    options: Options = Options(),  # noqa: B008  # it is frozen
    name: str = "",
    began: float | None = None,
) -> Answer:
    """Makes what is missing and writes the result folder with its report; prints the verdict and where it lies.

    The last line on stdout is JSON for machines, except on a terminal without --json.

    Args:
        name: of the result folder; by default that of the report's page.
        began: the time at which the command began; by default now.

    Raises:
        ValueError: options that do not suit each other, settings that cannot be planned, code of the user's that fails.
        CacheError: the cache cannot be read or written.
    """
    start, console, cache = began or time.time(), Terminal(), Cache(options.store)
    study.check()
    out = options.directory(name or study.page)
    check_given(study, options, out, cache)
    if options.data_root is not None:
        os.environ["SIGMABENCH_DATA"] = str(options.data_root)  # for workers too
    planner, runs, part = _planned(study, options, cache, start, console)
    if text := impossible(part):
        console.print(f"note: {text}", style="yellow")
    if options.dry_run:
        plan = dry_run.show(part, cache, options.workers or 1, study.uncounted, console.print)
        _say({"experiment": study.page, "dry_run": True} | plan)
        return Answer(out)
    folder.earlier(out)
    with folder.held(out):
        notes = _noted(planner, runs, part, options, cache, console)
        cache.logs = folder.logs(out)
        place = options.shown(out / "report.html")
        seen = looking(study, part, cache, out, place, console.print)

        def say(text: str) -> None:
            notes.append(text)
            console.print(text)

        planned, made, worked = _worked(planner, part, options, cache, start, seen, say, console)
        page = None if worked.interrupted else _written(study, made, worked, out, options, notes, start, console)
        if worked.interrupted:
            folder.clear(out)  # of an earlier run, whose report would not fit the table
            folder.write_rows(out / "table.csv", made.rows.values())
        done = Answer(out, [*made.rows.values()], page, made.failed, worked.interrupted)
        _conclude(study, done, options, planned, time.time() - start, worked.evaluations, console)
    if worked.interrupted:
        raise KeyboardInterrupt
    return done


def _planned(
    study: Study, options: Options, cache: Cache, start: float, console: Terminal
) -> tuple[_Planner, list[Run], list[Run]]:
    """The planner with the fastest machines and the real images that fit, all runs, and the runs of --only."""
    with said(console, lambda: "loading data, features and networks"):
        planner = first = _Planner(study, Machines.alike(options.machine()), Names.of(study))
        settings = settings_of(study)
        runs = part = planner.runs(settings)
        check_plan(runs)
        check_baselines(study, runs)
        if options.only is not None:  # before anything is timed
            part = only(runs, options.only)
    if all(run.impossible for run in part):
        raise ValueError(part[0].impossible if part else "settings: there are none")
    if options.given_precision == "auto":
        with said(console, lambda: "timing the network"):
            machines = chosen(runs, options.machine(), cache, options.alone, console.print)
        planner = replace(planner, machines=machines)
    with of_user("limit"):
        limited = float(study.limit) < math.inf
    if limited:
        possible = [run for run in planner.runs(settings) if not run.impossible]
        with said(console, lambda: "timing the network and features of real images"):
            found = fit(study, possible, planner.shortest, cache, start, options.workers or 1)
        planner = replace(planner, fit=found)
    if planner is not first:
        runs = planner.runs(settings)
        part = runs if options.only is None else only(runs, options.only)
    return planner, runs, part


def _noted(
    planner: _Planner, runs: Sequence[Run], part: Sequence[Run], options: Options, cache: Cache, console: Terminal
) -> list[str]:
    """What readers of the numbers should know; it is also said on the terminal."""
    possible = [run for run in part if not run.impossible]
    with said(console, lambda: "checking the network and the settings"):
        with of_user("notes"):
            notes = [*planner.study.notes]
        warnings, notes = doubts(possible, cache), [*notes, *remarks(possible)]
    if options.only:
        asked = f"--only {shlex.quote(options.only)}"
        notes.append(f"a part of the experiment was run, {len(part)} of {len(runs)} runs: {asked}")
    notes += [text for text in (planner.machines.why, planner.fit.note) if text]
    now = busy(part[0].machine.threads)  # only on the terminal: it may end soon
    said_too = filter(None, (*notes, now))
    _tell(said_too, warnings, console)
    return [*notes, *warnings]


def _tell(notes: Iterable[str], warnings: Iterable[str], console: Terminal) -> None:
    for kind, text in (*(("note", note) for note in notes), *(("warning", warning) for warning in warnings)):
        console.print(f"{kind}: {text}", style="yellow")


def _worked(
    planner: _Planner, part: list[Run], options: Options, cache: Cache, start: float, seen: Seen, say: Say,
    console: Terminal,
) -> tuple[int, Made, execute.Worked]:  # fmt: skip
    """How many runs there are in the end, what they gave, and how the work ended."""
    how: dict[str, Any] = {"workers": options.workers or 1, "ray_address": options.ray_address}
    how |= {"gpus_per_run": options.gpus_per_run or 1.0}
    study, pace, until, end, training = planner.study, planner.fit.pace, math.inf, math.inf, 0.0
    order = _spread(part) if pace else part
    if pace:  # what is left when the real images and the networks are there is shared out
        if not options.ray_address:
            alone = {} if execute.missing(part, cache)["networks"] else {"workers": 1}
            ready = execute.execute(order, cache, console, make=network, **how | alone)
            if ready.interrupted:
                return len(part), Made.of(study.page, part, cache, {}), ready
            training = ready.evaluations
        first, end = time.time(), start + LAST * float(study.limit) - pace.floor(part[0].reference.n)
        until = first + FIRST * (end - first)
    worked = execute.execute(order, cache, console, until=until, seen=None if pace else seen, **how)
    room = math.inf  # if all was in the cache, the pace is not known
    if pace and worked.evaluations:
        room = (end - time.time()) * worked.evaluations / (time.time() - first)
    worked = replace(worked, evaluations=worked.evaluations + training)
    made = Made.of(study.page, part, cache, worked.failed)
    if options.only is not None or worked.interrupted:
        return len(part), made, worked
    settings = taken("then()", study, lambda: study.then(made, room, say))
    check_settings([*dict.fromkeys(run.setting for run in part), *settings])
    further = planner.runs(settings)
    if not further:
        return len(part), made, worked
    begun = [run for run in part if run in made.files or run.score_id in made.failed]  # what was left out stays out
    then = execute.execute([*begun, *further], cache, console, until=end, **how)
    part = [*part, *further]
    failed = {**worked.failed, **then.failed}
    both = replace(then, failed=failed, evaluations=worked.evaluations + then.evaluations)
    return len(part), Made.of(study.page, part, cache, failed), both


def _written(
    study: Study, made: Made, worked: execute.Worked, out: Path, options: Options, notes: Sequence[str], start: float,
    console: Terminal,
) -> "Page":  # fmt: skip
    """Writes the result folder of a command that began at `start`. Returns its page."""
    with said(console, lambda: "intervals, figures and the report"):
        result = tabulated(study, made)
        folder.clear(out)
        folder.write_tables(out, result.tables, result.pictures)
    _tell(made.autoencoder, made.doubts, console)
    with of_user("finish()"):
        study.finish(out, made, result, console.print)
    info: dict[str, Any] = {"experiment": study.page, "question": study.question, "preset": options.preset}
    info |= {**study.provenance, "notes": [*notes, *made.autoencoder, *made.doubts]}
    every = sum(sum(paths.values()) for paths in execute.needed(list(made.files), made.cache).values())
    info["computed"] = round(min(worked.evaluations / every, 1), 3) if every else 1  # the rest was stored before
    return folder.write(out, info | {"wall_seconds": round(time.time() - start, 1)})


def _spread(runs: Sequence[Run]) -> list[Run]:
    """The runs setting by setting: the first of each group, with which others are compared, then spread evenly."""
    settings = [*dict.fromkeys(run.setting for run in runs)]
    first = {(one.group, one.budget): one for one in settings[::-1]}
    places = {one: (one not in first.values(), f"{number:016b}"[::-1]) for number, one in enumerate(settings)}
    return sorted(runs, key=lambda run: places[run.setting])


def _conclude(
    study: Study, done: Answer, options: Options, planned: int, seconds: float, evaluations: float, console: Terminal
) -> None:
    """Prints the verdict, the path of the result, how to continue, and what failed; for machines, a line of JSON."""
    rows, table = done.rows, options.shown(done.folder / "table.csv")
    failed = sum(row["status"] == "failed" for row in rows)
    console.print(f"{len(rows)} rows, {failed} failed: {table}")
    if done.page and done.report:
        works = not failed and options.preset == "smoke"
        conclusion.show(done.page, done.report, options.shown(done.report), works, console)
    else:
        left = f"interrupted, {planned - len(rows)} of {planned} runs left. To go on: {folder.command()}"
        console.print(left)
    conclusion.show_failures(rows, done.folder / "logs", console)
    if options.json or not console.is_terminal:
        _say({
            "experiment": study.page,
            "rows": len(rows),
            "failed": failed,
            "interrupted": done.interrupted,
            "table": table,
            "verdict": done.page and done.page.answer,
            "report": done.report and options.shown(done.report),
            "seconds": round(seconds, 3),
            "evaluations": round(evaluations),
        })  # fmt: skip


def _say(values: Mapping[str, Any]) -> None:
    print(json.dumps(values), flush=True)
