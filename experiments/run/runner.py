"""The loop that makes what runs need: in this process or in N processes; as Ray tasks in ray_runner.py.

There is no graph and no queue, only the cache. A stage makes the files that it needs; a loop that meets a file which
another process makes takes the next run and comes back. A killed worker takes nothing with it but its work of that
moment.
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
from logging.handlers import BufferingHandler
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from experiments.edge import INTERRUPT
from experiments.own.imports import told
from experiments.own.memory import out_of_memory
from experiments.own.source import OWN, TEXTS, import_own
from experiments.run import stages
from experiments.run.cache import PAUSE, Cache, CacheError, LockedError
from experiments.run.machine import visible_cards
from experiments.run.networks import Advance
from experiments.run.runs import Run
from experiments.run.spot_check import check_score, choose_runs, spot_check
from experiments.terminal import Terminal, duration, said

OUT_OF_MEMORY = "; out of memory, reduce --batch-size"
KILLED = " (out of memory? reduce --workers)"
Failed = dict[str, str]  # score_id -> why it failed
Files = Mapping[str, Mapping[Path, float]]  # by kind, with the network evaluations that making them takes
Share = tuple[Sequence[Run], Sequence[Run]]  # checks and runs of a worker
OnNetwork = Callable[[Sequence[Run], Failed], None]
Stage = Callable[[Run, Cache, Advance], object]
Cluster = Callable[[Sequence[Run], Sequence[Run], Cache, float, Path | None], Failed]  # runs, checks, until, logs
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutionResult:
    """How the work on runs ended. The scores of all others are in the cache, unless it was interrupted, or out of time.

    `evaluations`: network evaluations of the files that were made, a training image counted as `TRAIN_COST`.
    """

    failed: Failed
    interrupted: bool = False
    evaluations: float = 0.0


@dataclass
class Runner:
    """Runs the loop where the options say, and shows how far it is.

    Args:
        cluster: makes the scores elsewhere, see ray_runner.py.
        logs: a folder for the tracebacks of runs that fail.
        checked: networks and samplers whose samples were checked.
    """

    cache: Cache
    console: Terminal
    workers: int = 1
    cluster: Cluster | None = None
    logs: Path | None = None
    checked: set[Any] = field(default_factory=set)

    def run(self, runs: Sequence[Run], until: float = math.inf, on_network: OnNetwork | None = None) -> ExecutionResult:
        """Makes the scores of all runs; none is begun after the time `until`. Stored samples are spot-checked first.

        Args:
            on_network: called after each network with the runs that are done, if it is in this process.

        Raises:
            StaleError: what is stored is not what the code gives now.
            ValueError: a Ray cluster that does not answer.
            CacheError: the cache cannot be read or written.
        """
        cache, left, first = self.cache, missing(runs, self.cache), not self.checked
        checks = choose_runs(runs, cache, self.checked)
        workers = self.workers if any(left.values()) else 1  # to check a few samples takes less than to start processes
        cluster = self.cluster if any(left.values()) else None
        cards = max(len(visible_cards()), 1) if runs[0].machine.device == "cuda" else 1
        cache.shared_device = workers > cards
        together = 1 if workers > 1 or cluster else side_by_side(runs, cache)
        made, failed = multiprocessing.RawArray("d", max(workers, together)), Failed()
        try:
            with show_progress(left, cache, self.console, lambda: sum(made), until) as show:
                if first and checks:
                    check_score(min(checks, key=lambda run: run.n), cache)
                if cluster:
                    failed = cluster(runs, checks, cache, until, self.logs)
                else:
                    self._real_images(runs, show)
                if workers > 1:
                    failed = in_processes(share(runs, checks, workers), cache, made, until=until, logs=self.logs)
                    failed |= lost_runs(runs, cache, failed, until)
                elif not cluster:
                    advance, done = count_in(made, 0), list[Run]()
                    for run in checks:
                        spot_check(run, cache, advance)
                    if together > 1:  # a failure is met again below
                        in_processes(
                            share(first_of_networks(runs), [], together), cache, made, stage=network, until=until
                        )
                    for part in by_network(runs) if on_network else [list(runs)]:
                        failed |= work(part, cache, advance, show, until=until, logs=self.logs)
                        done += part
                        if on_network:
                            on_network(done, failed)
        except KeyboardInterrupt:
            return ExecutionResult({}, True, _evaluations(left, cache))
        return ExecutionResult(failed, False, _evaluations(left, cache))

    def _real_images(self, runs: Sequence[Run], show: Callable[[str], None]) -> None:
        """Makes the missing files of real images, which every score needs. A failure is met again by the runs."""
        done = 0.0

        def make(run: Run, cache: Cache, advance: Advance) -> None:
            def after_batch(n: float) -> None:
                nonlocal done
                done += n
                show(f"{done:,.0f} of {run.reference.n:,} real images")

            stages.reference(run.reference, cache, after_batch)

        for run in {run.reference: run for run in runs if not run.impossible}.values():
            if not self.cache.has("references", run.reference):
                work([run], self.cache, lambda n: None, stage=make)


def work(
    runs: Sequence[Run],
    cache: Cache,
    advance: Advance,
    show: Callable[[str], None] = lambda text: None,
    *,
    stage: Stage = stages.score,
    until: float = math.inf,
    logs: Path | None = None,
) -> Failed:
    """Makes the scores of all runs, or another stage. A failure is the failure of a run; the others go on.

    KeyboardInterrupt and CacheError, such as a full disk, end it; what is finished is kept.
    """
    todo, failed, waited = deque({run.score_id: run for run in runs if not run.impossible}.values()), Failed(), 0
    while todo and time.time() < until:
        run = todo.popleft()
        show(f"seed {run.network.seed}, {run.setting.section}: {run.setting.label}")
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
            failed[run.score_id] = error_line(error) + OUT_OF_MEMORY * out_of_memory(error)
            with suppress(OSError):  # a log is no result
                if logs:
                    (logs / f"{run.score_id}.log").write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            cache.waits = True
        if INTERRUPT.is_set():  # a library may have swallowed its KeyboardInterrupt
            raise KeyboardInterrupt
    return failed


def network(run: Run, cache: Cache, advance: Advance) -> None:
    """The stage that makes the network of a run."""
    run.network.made(cache, advance)


def error_line(error: BaseException) -> str:
    """Why something failed, in one line."""
    return str(error) if isinstance(error, ValueError) else told(error)


def count_in(made: MutableSequence[float], number: int) -> Advance:
    """Counts evaluations in the place of a worker: only it writes there, so no lock is needed."""

    def advance(evaluations: float) -> None:
        made[number] += evaluations

    return advance


# --- processes ---


@dataclass(frozen=True)
class WorkerTask:
    """What a worker needs: some checks and all runs, beginning elsewhere than the others, so that they rarely meet."""

    runs: bytes
    shared: tuple[Any, ...]
    stage: Stage = stages.score
    until: float = math.inf
    logs: Path | None = None
    texts: Mapping[str, str] = field(default_factory=dict)  # hashes of a user's code, where its files are not

    def work(self, advance: Advance) -> tuple[Failed, list[str]]:
        """Why runs failed, and warnings, which the command shows."""
        handler, logger = BufferingHandler(sys.maxsize), logging.getLogger("experiments")
        logger.addHandler(handler)
        logger.propagate = False
        TEXTS.update(self.texts)
        cache = Cache(*self.shared)
        checks, runs = pickle.loads(self.runs)
        for run in checks:
            spot_check(run, cache, advance)
        failed = work(runs, cache, advance, stage=self.stage, until=self.until, logs=self.logs)
        return failed, [record.getMessage() for record in handler.buffer if record.levelno >= logging.WARNING]


def share(runs: Sequence[Run], checks: Sequence[Run], n: int) -> list[Share]:
    """The checks and the runs of each of n workers: different checks, and all runs in a different order."""
    starts = [number * len(runs) // n for number in range(n)]
    return [(checks[number::n], [*runs[start:], *runs[:start]]) for number, start in enumerate(starts)]


def in_processes(
    shares: Sequence[Share], cache: Cache, made: Any, *, stage: Stage = stages.score, until: float = math.inf,
    logs: Path | None = None,
) -> Failed:  # fmt: skip
    """The same loop in a process for each share, which ends with this one. `made`: of each process, the evaluations."""
    context, cards, failed = multiprocessing.get_context("spawn"), visible_cards(), Failed()
    own = getattr(sys.modules.get(OWN), "__file__", None)
    processes, warnings = dict[Any, Any](), set[str]()
    try:
        for number, part in enumerate(shares):
            task = WorkerTask(pickle.dumps(part), cache.shared, stage, until, logs)
            receiver, sender = context.Pipe(duplex=False)
            card = cards[number % len(cards)] if cards else ""
            process = context.Process(target=_worker, args=(task, own, card, made, number, sender), daemon=True)
            process.start()
            sender.close()
            processes[receiver] = process
        waiting = dict(processes)
        while waiting:
            for ended in wait(waiting):
                process = waiting.pop(ended)
                try:
                    answer: Any = ended.recv()  # type: ignore[union-attr, call-arg]
                except EOFError:  # it was killed: the other workers do its work
                    process.join()
                    killed = KILLED if process.exitcode == -signal.SIGKILL else ""
                    log.warning(f"a worker ended with status {process.exitcode}{killed}")
                    continue
                if isinstance(answer, Exception):
                    raise answer
                failed |= show_warnings(answer, warnings)
    finally:
        for process in processes.values():
            process.kill()
            process.join()
    return failed


def show_warnings(answer: tuple[Failed, list[str]], before: set[str]) -> Failed:
    """Why runs failed in a worker. Its warnings are shown, unless they were shown before."""
    for text in dict.fromkeys(answer[1]):
        if text not in before:
            log.warning("%s", text)
    before |= set(answer[1])
    return answer[0]


def lost_runs(runs: Sequence[Run], cache: Cache, failed: Failed, until: float) -> Failed:
    """The runs that no worker has made although there was time, and why."""
    if time.time() >= until:
        return {}
    todo = (run for run in runs if not run.impossible and run.score_id not in failed)
    why = "no worker has made it: they were killed, or its code was edited since this command began"
    return {run.score_id: why for run in todo if not cache.has("scores", run.scored)}


def _worker(task: WorkerTask, own: str | None, card: str, made: Any, number: int, sender: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if card:
        os.environ["CUDA_VISIBLE_DEVICES"] = card
    try:
        if own:
            import_own(Path(own))  # the classes of its settings
        answer: Any = task.work(count_in(made, number))
    except BaseException as error:
        answer = error if isinstance(error, CacheError) else ValueError(error_line(error))
    sender.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


# --- what is left, and how far it is ---


def side_by_side(runs: Sequence[Run], cache: Cache) -> int:
    """How many of the missing networks are trained at a time."""
    absent = [run for run in first_of_networks(runs) if not cache.has("networks", run.network)]
    if not absent:
        return 1
    return min(absent[0].machine.threads // absent[0].network.machine.threads, len(absent))


def first_of_networks(runs: Sequence[Run]) -> list[Run]:
    """A run of each network that is trained here."""
    return [*{run.network: run for run in reversed(runs) if not run.impossible and run.network.cost}.values()][::-1]


def by_network(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of the first network, then those of the next."""
    return [[run for run in runs if run.number == number] for number in dict.fromkeys(run.number for run in runs)]


def needed(runs: Sequence[Run], cache: Cache) -> Files:
    """The files that runs need."""
    out: dict[str, dict[Path, float]] = {kind: {} for kind in ("networks", "references", "samples", "scores")}
    for run in runs:
        if run.impossible:
            continue
        out["references"][cache.path("references", run.reference)] = 0.0
        out["samples"][cache.path("samples", run)] = float(run.n * run.nfe)
        out["scores"][cache.path("scores", run.scored)] = 0.0
        if run.network.cost:
            out["networks"][cache.path("networks", run.network)] = run.network.cost
    return out


def missing(runs: Sequence[Run], cache: Cache) -> Files:
    """The files that runs need and that are not there."""
    every = needed(runs, cache)
    return {kind: {path: n for path, n in paths.items() if not cache.exists(path)} for kind, paths in every.items()}


def _evaluations(left: Files, cache: Cache) -> float:
    """Network evaluations of the files that were missing and are there now."""
    return sum(cost for paths in left.values() for path, cost in paths.items() if cache.exists(path))


@contextmanager
def show_progress(
    left: Files, cache: Cache, console: Terminal, made: Callable[[], float], until: float
) -> Iterator[Callable[[str], None]]:
    """Shows while the block runs how many files are made and how long the rest takes. Yields what says the present."""
    start, cost = time.monotonic(), sum(sum(paths.values()) for paths in left.values())
    paths, present = [path for kind in left.values() for path in kind], [""]

    def state() -> tuple[int, str]:
        return sum(map(cache.exists, paths)), present[0]

    def text() -> str:
        (done, what), rate = state(), made() / max(time.monotonic() - start, 1e-9)
        known = rate >= 1 and made() >= cost / 100  # the start of processes is no pace
        rest = min(max(cost - made(), 0) / rate if known else 0.0, max(until - time.time(), 0))
        eta = f"; {duration(rest)} to go; {rate:,.0f} evaluations/s" if known else ""
        return f"{done} of {len(paths)} files made{eta}; {what}".removesuffix("; ")

    def show(text: str) -> None:
        present[0] = text

    with said(console, text, state) if paths else nullcontext():
        yield show
