"""Runs the tasks of a sweep on this machine: one after another in this process, or several at a time in workers.

Small networks train faster two at a time with one thread each than one after another with two threads, because threads
wait for each other (bench/LOG.md). Each task keeps its number of threads, so the results do not depend on the workers.
A task whose process ends is handed to another one, once.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import accumulate
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from experiments.config.identity import identity
from experiments.engine.contents import unchanged
from experiments.engine.executor import Executor, Failed, Outcomes, in_process
from experiments.engine.progress import Progress
from experiments.engine.tasks import Outcome, RunContext, Task, run_task
from experiments.own.source import OWN, import_own

TICK = 0.5  # seconds between updates of the progress
AGAIN = "-9 can mean too little memory; run the same command again"
SERVE = "import sys; from experiments.engine.pool import serve; serve(*sys.argv[1:])"


def at_a_time(tasks: Sequence[Task], workers: int = 1) -> int:
    """The largest number of tasks that run at a time, see `pool`."""
    threads = sorted(task.machine.threads for task in tasks)
    return sum(together <= workers * threads[-1] for together in accumulate(threads)) or 1


@contextmanager
def pool(workers: int = 1, cards: Sequence[str] = ()) -> Iterator[Executor]:
    """Yields an executor for this machine. Its worker processes end with the block.

    Args:
        workers: number of tasks at a time, if all use the same number of threads. The threads of `workers` of the
            largest tasks are shared by all: trainings with one thread run two at a time if sampling uses two.
        cards: names of the CUDA devices, if workers are to share them evenly.
    """
    idle: list[Worker] = []

    def execute(tasks: Sequence[Task], context: RunContext, failed: Failed, progress: Progress) -> Outcomes:
        short = workers == 1 and all(task.kind == "checks" for task in tasks)  # shorter than a process takes to start
        if short or at_a_time(tasks, workers) < 2:
            return in_process(tasks, context, failed, progress)
        threads = workers * max(task.machine.threads for task in tasks)
        return _in_workers(tasks, context, failed, progress, threads, idle, cards)

    try:
        yield execute
    finally:
        for worker in idle:
            worker.end()


def _in_workers(
    tasks: Sequence[Task],
    context: RunContext,
    failed: Failed,
    progress: Progress,
    threads: int,
    idle: "list[Worker]",
    cards: Sequence[str],
) -> Outcomes:
    """Starts each task as soon as what it needs is there and no more than `threads` threads are busy."""
    failed, waiting, unfinished = dict(failed), {task.name: task for task in tasks}, {task.name for task in tasks}
    busy: dict[Any, Worker] = {}  # by pipe
    lost = set[str]()  # tasks whose process ended, once so far
    packed = pickle.dumps(context)

    def noted(outcome: Outcome) -> Outcome:
        unfinished.discard(outcome.name)
        if outcome.error is not None:
            failed[outcome.name] = outcome
        return outcome

    try:
        while unfinished:
            while task := startable(waiting, unfinished, [worker.task for worker in busy.values()], threads):
                del waiting[task.name]
                progress.begin(task)
                if needed := [failed[name] for name in task.needs if name in failed]:
                    yield noted(run_task(task, context, needed, progress.advance))
                else:
                    worker = idle.pop() if idle else Worker(cards[len(busy) % len(cards)] if cards else None)
                    busy[worker.pipe] = worker
                    worker.begin(task, packed)
            for pipe in wait(list(busy), TICK):
                worker = busy[pipe]
                task, answer = worker.task, worker.answer()
                if isinstance(answer, float):
                    worker.made += answer
                    progress.advance(answer)
                    continue
                del busy[pipe]
                if isinstance(answer, Lost):
                    progress.advance(-worker.made)
                    if task.name in lost:
                        yield noted(Outcome(task.name, f"{answer}, as that of its first attempt; {AGAIN}"))
                    else:
                        lost.add(task.name)
                        waiting = {task.name: task} | waiting
                    continue
                idle.append(worker)
                yield noted(answer or run_task(task, context, [], progress.advance))
            progress.tick()
    finally:
        for worker in busy.values():
            worker.end()


def startable(waiting: Mapping[str, Task], unfinished: Set[str], running: Sequence[Task], threads: int) -> Task | None:
    """The first task that has what it needs and finds enough free threads; None if there is none."""
    free = threads - sum(task.machine.threads for task in running)
    ready = (task for task in waiting.values() if task.machine.threads <= free)
    return next((task for task in ready if unfinished.isdisjoint(task.needs)), None)


class Lost(str):
    """How the process of a task ended before the task did."""


class Worker:
    """A process that runs one task at a time. If it ends, its task is lost."""

    task: Task
    made = 0.0  # evaluations of the task

    def __init__(self, card: str | None = None) -> None:
        self.pipe, theirs = Pipe()
        own = getattr(sys.modules.get(OWN), "__file__", None) or ""
        where = {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}  # the same packages
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", SERVE, str(theirs.fileno()), own],  # -u: what it prints is not lost with it
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # prints of a user's code, beside the JSON that the driver prints
            env=os.environ | where | ({} if card is None else {"CUDA_VISIBLE_DEVICES": card}),
            start_new_session=True,  # Ctrl-C reaches the driver alone, which ends its workers
        )
        theirs.close()

    def begin(self, task: Task, context: bytes) -> None:
        """Hands over a task and the pickled context."""
        self.task, self.made = task, 0.0
        with suppress(OSError):  # the process is gone: `answer` says so
            self.pipe.send((task, context))

    def answer(self) -> float | Outcome | Lost | None:
        """Evaluations that were made, or how the task or its process ended.

        None: the process cannot import the task's classes, or what it imports is not what was planned.
        """
        try:
            answer: float | Outcome | None = self.pipe.recv()
            return answer
        except (EOFError, OSError):
            return Lost(f"its process ended with exit status {self.end()}")

    def end(self) -> int:
        """Kills the process, if it has not ended, and returns its exit status."""
        self.process.kill()
        self.pipe.close()
        return self.process.wait()


def serve(handle: str, own: str) -> None:
    """Runs tasks in a worker until the driver ends. Then it ends too, even in the middle of a task.

    Args:
        handle: file descriptor of the pipe to the driver.
        own: the user's sweep file, if there is one.
    """
    driver, inbox = Connection(int(handle)), SimpleQueue[bytes]()
    threading.Thread(target=_receive, args=(driver, inbox), daemon=True).start()
    while True:
        message = inbox.get()
        try:
            if own and OWN not in sys.modules:
                import_own(Path(own))
            task, packed = pickle.loads(message)
            context = unpacked(packed)
            # else its source was edited since the driver imported it, and the driver runs the task
            known = identity(task.config) == task.name and unchanged(task.config, context.data_root)
        except BaseException:  # a user's file may raise anything
            known = False
        driver.send(run_task(task, context, [], lambda made: driver.send(float(made))) if known else None)


def _receive(driver: Connection, inbox: "SimpleQueue[bytes]") -> None:
    with suppress(EOFError, OSError):
        while True:
            inbox.put(driver.recv_bytes())
    os._exit(0)


@lru_cache(maxsize=1)
def unpacked(context: bytes) -> RunContext:
    """The context, unpickled once per process: the caches of the stages need the same store object each time."""
    unpickled: RunContext = pickle.loads(context)
    return unpickled
