"""A task makes one artifact of a sweep with one stage, on any machine. Its failure is returned, not raised."""

import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from experiments.config.denoisers import Machine
from experiments.own.memory import keep_freed
from experiments.own.user_code import told
from experiments.stages import sample
from experiments.stages.common import Advance
from experiments.stages.probe import probe_stage
from experiments.stages.score import reference_stage, score_stage
from experiments.stages.spot_check import Differs, spot_check
from experiments.stages.train import train_stage
from experiments.store.store import Store
from reports.edge import INTERRUPT

TRAIN_COST = 3.5  # of one training image, in network evaluations: forward, backward, update
STAGES = {  # kind of artifact -> the stage's name in messages
    "references": "reference", "models": "training", "samples": "sampling", "scores": "scoring", "probes": "probing",
    "checks": "spot check",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One artifact to make from a config, after the artifacts that it needs. Its kind selects the stage."""

    kind: str  # folder of the store, or checks
    name: str  # identity of the config
    config: Any
    machine: Machine
    needs: tuple[str, ...] = ()  # names of the tasks that must end first
    log: str = ""  # name of its log file; a run's sampling and scoring share one
    cost: float = 0.0  # network evaluations, training included


@dataclass(frozen=True)
class Outcome:
    """The result of a task. `error`: None if it succeeded. `log`: its log text.

    `differs`: it is a spot check, and what is stored is not what comes out now. `found`: the artifact was there, since
    another command had made it.
    """

    name: str
    error: str | None = None
    differs: bool = False
    log: str = ""
    warnings: int = 0
    found: bool = False


Work = Callable[[Task, "RunContext", Advance], None]


def run_stage(task: Task, context: "RunContext", advance: Advance) -> None:
    """Runs the stage of a task. Passes the number of network evaluations made, training included, to `advance`."""
    store, data_root = context.store, context.data_root
    match task.kind:
        case "references":
            reference_stage(task.config, store, data_root)
        case "models":
            train_stage(task.config, store, data_root, lambda images: advance(images * TRAIN_COST))
        case "samples":
            sample.sample_stage(task.config, store, data_root, advance, shared=context.shared)
        case "scores":
            score_stage(task.config, store, data_root)
        case "probes":
            probe_stage(task.config, store, data_root)
            advance(task.cost)
        case "checks":
            spot_check(task.config, store, data_root)


@dataclass(frozen=True)
class RunContext:
    """What all tasks share: the store, the folder of data sets, and how runs use the device."""

    store: Store
    data_root: Path | None = None
    shared: bool = False  # whether other runs use the device at the same time
    work: Work = run_stage


def run_task(task: Task, context: RunContext, needed: Sequence[Outcome], advance: Advance) -> Outcome:
    """Runs a task, unless a task that it needs failed. An exception becomes the outcome's error."""
    for before in needed:
        if before.error is not None:
            return blocked(task, before)
    keep_freed()
    error, differs, start = None, False, time.perf_counter()
    with _recorded() as lines:
        log = logging.getLogger(__name__)
        what = f"{STAGES[task.kind]} {task.name}"
        log.info("%s: started with threads=%d on %s", what, task.machine.threads, task.machine.device)
        try:
            context.work(task, context, advance)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # a user's model or sampler may raise anything
            if INTERRUPT.is_set():
                raise KeyboardInterrupt from raised
            differs = isinstance(raised, Differs)
            error = str(raised) if differs else told(raised)
            if differs:
                log.warning("%s: %s", what, raised)
            else:
                log.error("%s: failed\n%s", what, traceback.format_exc().rstrip())
        log.info("%s: %s after %.3f s", what, "failed" if error else "done", time.perf_counter() - start)
    warned = sum(record.levelno == logging.WARNING for record in lines)
    text = "".join(_FORMAT.format(record) + "\n" for record in lines)
    found = error is None and task.kind != "checks" and not context.store.made(task.kind, task.name)
    return Outcome(task.name, error, differs, text, warned, found)


def blocked(task: Task, before: Outcome) -> Outcome:
    """The outcome of a task that cannot run, because it needs the failed task `before`. A scoring repeats its error."""
    return Outcome(task.name, before.error if task.kind == "scores" else f"its network was not trained: {before.error}")


_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


@contextmanager
def _recorded() -> Iterator[list[logging.LogRecord]]:
    """Log records of the block: of this package's loggers, and of all Python warnings."""
    logger, handler = logging.getLogger("experiments"), MemoryHandler(sys.maxsize, flushLevel=sys.maxsize)
    records, level = handler.buffer, logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        for warning in caught:
            text = f"{warning.category.__name__}: {warning.message} ({warning.filename}:{warning.lineno})"
            record = logging.LogRecord("warnings", logging.WARNING, "", 0, text, None, None)
            records.insert(max(len(records) - 1, 0), record)
