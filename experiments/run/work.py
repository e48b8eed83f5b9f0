"""The loop that makes what runs need: here, or in N processes; as Ray tasks in cluster.py. All share one cache.

There is no graph and no queue. A step makes the files that it needs; a loop that meets a file which another process
makes takes the next run and comes back. A killed worker takes nothing with it but its work of that moment.
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
from collections import deque
from collections.abc import Callable, MutableSequence, Sequence
from logging.handlers import BufferingHandler
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from experiments.distances.real import METRICS
from experiments.edge import INTERRUPT
from experiments.own.memory import out_of_memory
from experiments.own.source import OWN, import_own
from experiments.run import believe, steps
from experiments.run.artifact import Busy, CacheError
from experiments.run.cache import PAUSE, Cache, reason
from experiments.run.hardware import visible_cards
from experiments.run.networks import Advance
from experiments.run.plan import Run

SMALLER = "; memory ran out: take a smaller --batch-size"
KILLED = "; perhaps memory ran out: take fewer --workers"
Failed = dict[str, str]  # score_id -> why it failed
Told = tuple[Failed, list[str]]  # of a worker, with its warnings
Begin = Callable[[Run], None]
Make = Callable[[Run, Cache, Advance], object]
log = logging.getLogger(__name__)


def work(
    runs: Sequence[Run],
    cache: Cache,
    advance: Advance,
    begin: Begin = lambda run: None,
    *,
    make: Make = steps.score,
    until: float = math.inf,
) -> Failed:
    """Makes the scores of all runs, or what else `make` does. A failure is the failure of a run; the others go on.

    No run is begun after the time `until`. KeyboardInterrupt and CacheError, such as a full disk, end it; what is
    finished is kept.
    """
    todo, failed, waited = deque({run.score_id: run for run in runs if not run.impossible}.values()), Failed(), 0
    condemned = len(cache.condemned)
    while todo and time.time() < until:
        run = todo.popleft()
        begin(run)
        try:
            cache.waits = False
            make(run, cache, advance)
            waited = 0
        except Busy:
            todo.append(run)
            waited += 1
            if waited >= len(todo):
                time.sleep(PAUSE)
                waited = 0
        except (KeyboardInterrupt, CacheError):
            raise
        except BaseException as error:  # a user's code may raise anything
            failed[run.score_id] = reason(error) + SMALLER * out_of_memory(error)
            cache.log(run.score_id)
        finally:
            cache.waits = True
        if INTERRUPT.is_set():  # a library may have swallowed its KeyboardInterrupt
            raise KeyboardInterrupt
    if len(cache.condemned) > condemned:  # something has changed beneath the cache: check all of it
        cache.check_all()
        failed = work(runs, cache, advance, begin, make=make, until=until)
        if agreed := agreement(cache):
            log.warning("%s", agreed)
    return failed


def advance_in(made: MutableSequence[float], number: int) -> Advance:
    """Counts evaluations in the place of a worker: only it writes there, so no lock is needed."""

    def advance(evaluations: float) -> None:
        made[number] += evaluations

    return advance


def network(run: Run, cache: Cache, advance: Advance) -> None:
    """Makes the network of a run."""
    run.network.made(cache, advance)


def in_processes(
    runs: Sequence[Run], cache: Cache, n: int, made: Any, *, make: Make = steps.score, until: float = math.inf
) -> Failed:
    """The same loop in n processes; each begins elsewhere, so that they rarely meet. They end with this one.

    `made`: of each process, the evaluations. `make` and `until` as in `work`.
    """
    context, cards, failed = multiprocessing.get_context("spawn"), visible_cards(), Failed()
    own = getattr(sys.modules.get(OWN), "__file__", None)
    parts, warnings, lost = list[tuple[Any, Any]](), set[str](), ""
    try:
        for number in range(n):
            start = number * len(runs) // n
            packed = pickle.dumps([*runs[start:], *runs[:start]])
            receiver, sender = context.Pipe(duplex=False)
            card = cards[number % len(cards)] if cards else ""
            arguments = (packed, cache.shared, own, card, made, number, sender, make, until)
            process = context.Process(target=_worker, args=arguments, daemon=True)
            process.start()
            sender.close()
            parts.append((process, receiver))
        for process, receiver in parts:
            try:
                answer = receiver.recv()
                if isinstance(answer, Exception):
                    raise answer
                failed |= noted(answer, warnings)
            except EOFError:  # it was killed: the other workers do its work
                process.join()
                lost = f"a worker ended with status {process.exitcode}"
                log.warning("%s", lost)
                lost += KILLED if process.exitcode == -signal.SIGKILL else ""
            process.join()
    finally:
        for process, _ in parts:
            process.kill()
            process.join()
    return failed if make is network else finished(runs, cache, failed, lost, until)


def answered(packed: bytes, cache: Cache, advance: Advance, make: Make = steps.score, until: float = math.inf) -> Told:
    """What a worker answers: why runs failed, and its warnings, which the command shows."""
    handler, logger = BufferingHandler(sys.maxsize), logging.getLogger("experiments")
    logger.addHandler(handler)
    logger.propagate = False
    failed = work(pickle.loads(packed), cache, advance, make=make, until=until)
    return failed, [record.getMessage() for record in handler.buffer if record.levelno >= logging.WARNING]


def noted(answer: Told, before: set[str]) -> Failed:
    """Why runs failed in a worker. Its warnings are shown, unless they were shown before."""
    for text in answer[1]:
        if text not in before:
            log.warning("%s", text)
    before |= set(answer[1])
    return answer[0]


def finished(runs: Sequence[Run], cache: Cache, failed: Failed, lost: str, until: float = math.inf) -> Failed:
    """Why runs failed, when workers have ended: `lost` if nobody has made it.

    What they made is read here, and what one of them made from files that another one has discarded is made again.
    """
    todo = [run for run in runs if not run.impossible and run.score_id not in failed]
    there = [run for run in todo if cache.path("scores", run.scored).exists()]
    cache.spot = frozenset()
    failed = failed | work(there, cache, lambda evaluations: None)
    if time.time() >= until:
        return failed
    lost = lost or "no worker has made it; was its code edited since this command began?"
    return {run.score_id: lost for run in todo if run not in there} | failed


def _worker(
    packed: bytes,
    cached: tuple[Any, ...],
    own: str | None,
    card: str,
    made: Any,
    number: int,
    sender: Any,
    make: Make,
    until: float,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if card:
        os.environ["CUDA_VISIBLE_DEVICES"] = card
    try:
        if own:
            import_own(Path(own))  # the classes of its settings
        answer: Any = answered(packed, Cache(*cached), advance_in(made, number), make, until)
    except BaseException as error:
        answer = error if isinstance(error, CacheError) else ValueError(reason(error))
    sender.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def agreement(cache: Cache) -> str:
    """How much scores that were discarded and made again differ from the stored ones; "" if there are none."""
    changes = list[float]()
    for path, before in cache.discarded.items():
        known = cache.known.get(path)
        if path.parent.name == "scores" and known and not isinstance(known, Exception):
            pairs = [(before.get(name, math.nan), known.facts[name]) for name in METRICS]
            changes += [abs(new - old) / abs(new) for old, new in pairs]
    if not changes:
        return ""
    most, agree = max(changes), believe.AGREE["fp32"]
    how = f"agree with the stored ones to {agree:g}, as by rounding" if most <= agree else f"differ by up to {most:.2g}"
    return f"{len(changes) // len(METRICS)} scores were made again; relative to their size they {how}"
