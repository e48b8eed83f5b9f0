"""A process that trains networks for side_by_side.py: `python -m experiments.engine.worker`, driven through pipes.

It reads pickles of (task, context) from stdin and writes pickles to stdout: floats for network evaluations made, then
an `Outcome`. When stdin ends, because the driver ended or was killed, it ends at once.
"""

import os
import pickle
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any, BinaryIO

from experiments.engine.tasks import run_task

REPORT_EVERY = 0.2  # seconds


def main() -> None:
    """Runs tasks until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of a user's code must not mix with the answers
    tasks: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, tasks), daemon=True).start()
    while True:
        task, context = tasks.get()
        made, told = 0.0, time.monotonic()

        def advance(evaluations: float) -> None:
            nonlocal made, told
            made += evaluations
            if time.monotonic() - told >= REPORT_EVERY:
                _send(answers, made)
                made, told = 0.0, time.monotonic()

        outcome = run_task(task, context, [], advance)
        _send(answers, made)
        _send(answers, outcome)


def _read(source: BinaryIO, tasks: SimpleQueue[Any]) -> None:
    """Passes on what is read. Ends the process when nothing more can come, even in the middle of a task."""
    while True:
        try:
            tasks.put(pickle.load(source))
        except EOFError:
            os._exit(0)


def _send(answers: BinaryIO, value: Any) -> None:
    try:
        pickle.dump(value, answers)
        answers.flush()
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
