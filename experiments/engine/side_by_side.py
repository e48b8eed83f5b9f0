"""Trains several networks at a time, each in a process with a share of the threads; then everything else, in process.

On small networks several threads wait for each other, so two processes with one thread each train two networks in less
time than one process with two threads (bench/LOG.md). The result is that of a run with so many threads, bit for bit.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from experiments.config.denoisers import TrainConfig
from experiments.config.source import is_ours
from experiments.engine.executor import Failed, Outcomes, in_process
from experiments.engine.progress import Progress
from experiments.engine.tasks import Outcome, RunContext, Task

TICK = 0.5  # seconds between updates of the progress
PATIENCE = 5.0  # seconds that a process has to end


@dataclass
class Worker:
    """A process that trains one network at a time, and its task."""

    answers: "SimpleQueue[tuple[Worker, Any]]"
    task: Task | None = None
    process: subprocess.Popen[bytes] = field(init=False)
    listener: Thread = field(init=False)

    def __post_init__(self) -> None:
        found = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)  # the same packages as here
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": found},
            start_new_session=True,  # Ctrl-C reaches the driver alone, which ends its workers
        )
        self.listener = Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        """Passes on the answers, and None when the process ended."""
        assert self.process.stdout is not None
        with self.process.stdout as source, suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self.answers.put((self, pickle.load(source)))
        self.answers.put((self, None))

    def begin(self, task: Task, context: RunContext) -> None:
        assert self.process.stdin is not None
        self.task = task
        with suppress(OSError):  # the process is gone: `_listen` says so
            pickle.dump((task, context), self.process.stdin)
            self.process.stdin.flush()

    def end(self) -> int:
        """The exit status of the process, which is ended if it has not ended. What it had not published is lost."""
        self.process.kill()
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.listener.join(PATIENCE)
        return self.process.wait(PATIENCE)


def at_a_time(tasks: Sequence[Task]) -> int:
    """The number of trainings that the threads of the other tasks allow at a time; 1 if they are not to share."""
    training, others = _trainings(tasks), [task.machine.threads for task in tasks if task.kind != "models"]
    if len(training) < 2 or not others:
        return 1
    return min(len(training), max(others) // max(task.machine.threads for task in training))


def side_by_side(tasks: Sequence[Task], context: RunContext, failed: Failed, progress: Progress) -> Outcomes:
    """Trains as many networks at a time as `at_a_time` says; then runs all other tasks one after another."""
    n = at_a_time(tasks)
    if n < 2:
        yield from in_process(tasks, context, failed, progress)
        return
    training, failed = _trainings(tasks), dict(failed)
    for outcome in _trained(training, n, context, progress):
        if outcome.error is not None:
            failed[outcome.name] = outcome
        yield outcome
    done = {task.name for task in training}
    yield from in_process([task for task in tasks if task.name not in done], context, failed, progress)


def _trainings(tasks: Sequence[Task]) -> list[Task]:
    """The trainings that another process can do. It cannot import the classes of a user's sweep."""
    return [task for task in tasks if isinstance(task.config, TrainConfig) and is_ours(type(task.config.noise))]


def _trained(training: Sequence[Task], n: int, context: RunContext, progress: Progress) -> Outcomes:
    """Hands each task to a worker that is free, and yields the outcomes as they come."""
    answers: SimpleQueue[tuple[Worker, Any]] = SimpleQueue()
    waiting, workers = list(reversed(training)), list[Worker]()

    def next_task(worker: Worker) -> None:
        worker.task = None
        if waiting:
            task = waiting.pop()
            worker.begin(task, context)
            progress.begin(task)

    try:
        for _ in range(n):
            workers.append(Worker(answers))
            next_task(workers[-1])
        while any(worker.task for worker in workers):
            try:
                worker, answer = answers.get(timeout=TICK)
            except Empty:
                progress.tick()
                continue
            if isinstance(answer, float):
                progress.advance(answer)
                continue
            if answer is not None:
                yield answer
                next_task(worker)
                continue
            workers.remove(worker)
            if worker.task is not None:
                yield _lost(worker.task, worker)
                if waiting:
                    workers.append(Worker(answers))
                    next_task(workers[-1])
    finally:
        for worker in workers:
            worker.end()


def _lost(task: Task, worker: Worker) -> Outcome:
    """The outcome of a task whose process ended, for example because memory ran out. Trying again may help."""
    return Outcome(task.name, f"its process ended with exit status {worker.end()}; run the same command again")
