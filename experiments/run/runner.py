"""The loop that makes what runs need: in this process or in N processes; as Ray tasks in ray_runner.py.

A loop that meets a file which another process makes takes the next run and comes back.
"""

import logging
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from logging.handlers import BufferingHandler
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from experiments.console import Terminal, duration, plural, status_line
from experiments.entrypoint import INTERRUPT
from experiments.run import stages
from experiments.run.cache import PAUSE, Cache, CacheError, LockedError
from experiments.run.machine import visible_cards
from experiments.run.networks import Advance, Network
from experiments.run.runs import Run
from experiments.run.spot_check import check_score, choose_runs, spot_check
from experiments.user.imports import OWN, format_error, import_own
from experiments.user.memory import out_of_memory

OUT_OF_MEMORY = "; out of memory, reduce --batch-size"
KILLED = " (out of memory? reduce --workers)"
TOGETHER_ON_CUDA = 5  # networks that one card trains at a time: one alone leaves it idle between small kernels
LOST = "no worker has made it: they were killed, or its code was edited since this command began"
Failed = dict[str, str]  # score_id -> why it failed
Files = Mapping[str, Mapping[Path, float]]  # by stage, with the network evaluations that making them takes
OnNetwork = Callable[[Sequence[Run], Failed], None]
Stage = Callable[[Run, Cache, Advance], object]
Task = Callable[[Cache, Advance], tuple[Failed, list[str]]]  # of a worker, see work_on_share
Cluster = Callable[[Sequence[Run], Sequence[Run], Cache, float, Path | None], Failed]  # runs, checks, until, logs
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutionResult:
    """How the work on runs ended. All runs but `failed` have scores, unless it was interrupted or out of time."""

    failed: Failed
    interrupted: bool = False
    evaluations: float = 0.0  # of the network, for the files that were made; a training image counts `TRAIN_COST`


@dataclass
class Runner:
    """Runs the loop where the options say, and shows how far it is."""

    cache: Cache
    console: Terminal
    workers: int = 1
    cluster: Cluster | None = None  # makes the scores elsewhere, see ray_runner.py
    logs: Path | None = None  # a folder for the tracebacks of runs that fail
    spot_checked: set[Any] = field(default_factory=set)  # networks and samplers whose samples were checked

    def run(self, runs: Sequence[Run], until: float = math.inf, on_network: OnNetwork | None = None) -> ExecutionResult:
        """Makes the scores of all runs; none is begun after the time `until`. Stored samples are spot-checked first.

        `on_network` is called after each network with the runs that are done, if it is in this process. StaleError if
        what is stored is not what the code gives now; CacheError; ValueError if a Ray cluster does not answer.
        """
        cache = self.cache
        missing = missing_files(runs, cache)
        first = not self.spot_checked
        spot_checks = choose_runs(runs, cache, self.spot_checked)
        idle = not any(missing.values())
        workers = 1 if idle else self.workers  # to check a few samples takes less than to start processes
        cluster = None if idle else self.cluster
        cards = max(len(visible_cards()), 1) if runs[0].machine.device == "cuda" else 1
        cache.shared_device = workers > cards
        together = 1 if workers > 1 or cluster else _trained_together(runs, cache)
        counts = multiprocessing.RawArray("d", max(workers, together))
        failed = Failed()
        interrupted = False
        try:
            with show_progress(missing, cache, self.console, counts, until) as show:
                if first and spot_checks:
                    check_score(min(spot_checks, key=lambda run: run.n), cache)
                if cluster:
                    failed = cluster(runs, spot_checks, cache, until, self.logs)
                else:
                    _make_real_images(runs, cache, show)
                if workers > 1:
                    show(f"in {workers} processes")
                    shares = split_tasks(runs, spot_checks, workers, stages.score, until, self.logs)
                    failed = run_in_processes(shares, cache, counts)
                    failed = lost_runs(runs, cache, until) | failed
                elif not cluster:
                    if together > 1:  # errors are ignored here: the same network fails again, in `_run_here`
                        show(f"training {plural(len(missing['networks']), 'network')}, {together} at a time")
                        trainings = split_tasks(_one_per_network(runs), [], together, _make_network, until, None)
                        run_in_processes(trainings, cache, counts)
                    failed = self._run_here(runs, spot_checks, until, on_network, count_in(counts, 0), show)
        except KeyboardInterrupt:
            failed = {}
            interrupted = True
        evaluations = sum(cost for files in missing.values() for path, cost in files.items() if cache.is_fresh(path))
        return ExecutionResult(failed, interrupted, evaluations)

    def _run_here(
        self, runs: Sequence[Run], spot_checks: Sequence[Run], until: float, on_network: OnNetwork | None,
        advance: Advance, show: Callable[[str], None],
    ) -> Failed:  # fmt: skip
        """The loop in this process; network by network if `on_network` is to be called after each."""
        for run in spot_checks:
            spot_check(run, self.cache, advance)
        if not on_network:
            return run_stage(runs, self.cache, advance, show, until=until, logs=self.logs)
        failed = Failed()
        done = list[Run]()
        for seed in dict.fromkeys(run.network.seed for run in runs):
            of_network = [run for run in runs if run.network.seed == seed]
            failed |= run_stage(of_network, self.cache, advance, show, until=until, logs=self.logs)
            done += of_network
            on_network(done, failed)
        return failed


def run_stage(
    runs: Sequence[Run], cache: Cache, advance: Advance, show: Callable[[str], None] = lambda text: None, *,
    stage: Stage = stages.score, until: float = math.inf, logs: Path | None = None,
) -> Failed:  # fmt: skip
    """Makes the scores of all runs, or another stage. KeyboardInterrupt and CacheError, as of a full disk, end it."""
    todo = deque({run.score_id: run for run in runs if not run.impossible}.values())
    failed = Failed()
    waited = 0  # runs in a row whose file another process makes
    while todo and time.time() < until:
        run = todo.popleft()
        at = f" at {run.setting.budget} evaluations" if run.setting.budget else ""
        show(f"network {run.network.seed}, {run.setting.section}, {run.setting.label}{at}")
        try:
            cache.waits = False
            stage(run, cache, advance)
            waited = 0
        except LockedError:
            todo.append(run)
            waited += 1
            if waited >= len(todo):
                time.sleep(PAUSE)
                waited = 0
        except (KeyboardInterrupt, CacheError):
            raise
        except BaseException as error:  # a user's code may raise anything
            failed[run.score_id] = error_line(error)
            if out_of_memory(error):
                failed[run.score_id] += OUT_OF_MEMORY
            with suppress(OSError):  # a log is no result
                if logs:
                    (logs / f"{run.score_id}.log").write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            cache.waits = True
        if INTERRUPT.is_set():  # a library may have swallowed its KeyboardInterrupt
            raise KeyboardInterrupt
    return failed


def _make_network(run: Run, cache: Cache, advance: Advance) -> None:
    run.network.artifact(cache, advance)


def _make_real_images(runs: Sequence[Run], cache: Cache, show: Callable[[str], None]) -> None:
    """Makes the file of real images if it is missing: every score needs it. If that fails, the runs report it."""
    config = runs[0].reference
    done = list[float]()

    def after_batch(n: float) -> None:
        done.append(n)
        show(f"{sum(done):,.0f} of {config.n:,} real images")

    if not cache.contains("references", config):
        with suppress(Exception):
            stages.reference(config, cache, after_batch)


def error_line(error: BaseException) -> str:
    return str(error) if isinstance(error, ValueError) else format_error(error)


def count_in(counts: MutableSequence[float], worker: int) -> Advance:
    """Counts evaluations at a worker's place in `counts`: no other writes there, so no lock is needed."""

    def advance(evaluations: float) -> None:
        counts[worker] += evaluations

    return advance


# --- processes ---


def work_on_share(
    runs: Sequence[Run], spot_checks: Sequence[Run], stage: Stage, until: float, logs: Path | None, cache: Cache,
    advance: Advance,
) -> tuple[Failed, list[str]]:  # fmt: skip
    """Makes some checks, and all runs, in a worker. Returns why runs failed, and warnings, which the command shows."""
    handler = BufferingHandler(sys.maxsize)
    logger = logging.getLogger("experiments")
    logger.addHandler(handler)
    logger.propagate = False
    for run in spot_checks:
        spot_check(run, cache, advance)
    failed = run_stage(runs, cache, advance, stage=stage, until=until, logs=logs)
    return failed, [record.getMessage() for record in handler.buffer if record.levelno >= logging.WARNING]


def split_tasks(
    runs: Sequence[Run], spot_checks: Sequence[Run], n: int, stage: Stage, until: float, logs: Path | None
) -> list[Task]:
    """The tasks of n workers: all runs, from different starts so that they rarely meet; different checks."""
    tasks = list[Task]()
    for worker in range(n):
        start = worker * len(runs) // n
        share = [*runs[start:], *runs[:start]]
        tasks.append(partial(work_on_share, share, spot_checks[worker::n], stage, until, logs))
    return tasks


def run_in_processes(todo: Sequence[Task], cache: Cache, counts: Any) -> Failed:
    """Runs the loop in a process for each task, which ends with this one. `counts`: the evaluations of each."""
    context = multiprocessing.get_context("spawn")
    cards = visible_cards()
    user_file = getattr(sys.modules.get(OWN), "__file__", None)
    failed = Failed()
    processes = dict[Any, Any]()
    warnings = set[str]()
    try:
        for worker, task in enumerate(todo):
            receiver, sender = context.Pipe(duplex=False)
            card = cards[worker % len(cards)] if cards else ""
            arguments = (pickle.dumps(task), cache.shared, user_file, card, counts, worker, sender)
            process = context.Process(target=_worker, args=arguments, daemon=True)
            process.start()
            sender.close()
            processes[receiver] = process
        waiting = dict(processes)
        while waiting:
            for ended in wait(waiting):
                process = waiting.pop(ended)
                try:
                    report: Any = ended.recv()  # type: ignore[union-attr, call-arg]
                except EOFError:  # it was killed: the other workers do its work
                    process.join()
                    killed = KILLED if process.exitcode == -signal.SIGKILL else ""
                    log.warning(f"a worker ended with status {process.exitcode}{killed}")
                    continue
                if isinstance(report, Exception):
                    raise report
                failed |= show_warnings(report, warnings)
    finally:
        for process in processes.values():
            process.kill()
            process.join()
    return failed


def show_warnings(report: tuple[Failed, list[str]], before: set[str]) -> Failed:
    """Why runs failed in a worker. Its warnings are shown, unless they were shown before."""
    failed, texts = report
    for text in dict.fromkeys(texts):
        if text not in before:
            log.warning("%s", text)
    before.update(texts)
    return failed


def lost_runs(runs: Sequence[Run], cache: Cache, until: float) -> Failed:
    """The runs that no worker has made although there was time, and why; those that failed are among them."""
    if time.time() >= until:
        return {}
    return {run.score_id: LOST for run in runs if not run.impossible and not cache.contains("scores", run.scored)}


def _worker(task: bytes, shared: Any, user_file: str | None, card: str, counts: Any, worker: int, sender: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if card:
        os.environ["CUDA_VISIBLE_DEVICES"] = card
    try:
        if user_file:
            import_own(Path(user_file))  # the classes of its settings
        report: Any = pickle.loads(task)(Cache(*shared), count_in(counts, worker))
    except BaseException as error:
        report = error if isinstance(error, CacheError) else ValueError(error_line(error))
    sender.send(report)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


# --- what is left, and how far it is ---


def _one_per_network(runs: Sequence[Run]) -> list[Run]:
    """The first run of each network that is trained here."""
    first: dict[Network, Run] = {}
    for run in runs:
        if not run.impossible and run.network.cost:
            first.setdefault(run.network, run)
    return [*first.values()]


def _trained_together(runs: Sequence[Run], cache: Cache) -> int:
    """How many of the missing networks are trained at a time."""
    missing = [run for run in _one_per_network(runs) if not cache.contains("networks", run.network)]
    if not missing:
        return 1
    machine = missing[0].machine
    most = TOGETHER_ON_CUDA if machine.device == "cuda" else machine.threads // missing[0].network.machine.threads
    return min(most, len(missing))


def needed_files(runs: Sequence[Run], cache: Cache) -> Files:
    out: dict[str, dict[Path, float]] = {stage: {} for stage in ("networks", "references", "samples", "scores")}
    for run in runs:
        if run.impossible:
            continue
        out["references"][cache.path("references", run.reference)] = 0.0
        out["samples"][cache.path("samples", run)] = float(run.n * run.nfe)
        out["scores"][cache.path("scores", run.scored)] = 0.0
        if run.network.cost:
            out["networks"][cache.path("networks", run.network)] = run.network.cost
    return out


def missing_files(runs: Sequence[Run], cache: Cache) -> Files:
    needed = needed_files(runs, cache)
    return {
        stage: {path: n for path, n in paths.items() if not cache.is_fresh(path)} for stage, paths in needed.items()
    }


@contextmanager
def show_progress(
    missing: Files, cache: Cache, console: Terminal, counts: Sequence[float], until: float
) -> Iterator[Callable[[str], None]]:
    """Shows, while the block runs, how many files are made and how long the rest takes.

    Yields a function that takes what is done at present, in words.
    """
    start = time.monotonic()
    cost = sum(sum(files.values()) for files in missing.values())
    paths = [path for files in missing.values() for path in files]
    present = deque([""], maxlen=1)

    def state() -> tuple[int, str]:
        return sum(map(cache.is_fresh, paths)), present[-1]

    def text() -> str:
        done, doing = state()
        evaluations = sum(counts)
        rate = evaluations / max(time.monotonic() - start, 1e-9)
        eta = ""
        if rate >= 1 and evaluations >= cost / 100:  # the start of processes is no pace
            seconds = max(min((cost - evaluations) / rate, until - time.time()), 0.0)
            eta = f", {duration(seconds)} left, {rate:,.0f} evaluations/s"
        return f"{done} of {len(paths)} results{eta}: {doing}".removesuffix(": ")

    with status_line(console, text, state, lambda: sum(counts) / max(cost, 1)) if paths else nullcontext():
        yield present.append
