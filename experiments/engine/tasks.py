"""One artifact of a sweep, made by one stage, on whatever machine it runs: what fails comes back as an outcome."""

import logging
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_core.errors import NotFiniteError
from experiments.config.config import MIN_SAMPLES, Machine, SampleConfig
from experiments.stages import sample
from experiments.stages.common import Advance
from experiments.stages.memory import keep_freed
from experiments.stages.probes import probe_stage
from experiments.stages.score import reference_stage, score_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store

TRAIN_COST = 3.5  # one training image in network evaluations: forward, backward, update
STAGES = {  # kind -> noun
    "references": "reference", "models": "training", "samples": "sampling", "scores": "scoring", "probes": "probing"
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One artifact to make: the stage of its kind on its config, once the artifacts that it needs are there."""

    kind: str  # folder of the store
    name: str  # identity of the config
    config: Any
    machine: Machine
    needs: tuple[str, ...] = ()  # names of tasks
    log: str = ""  # name of the log that it writes to: the run's, or the network's
    cost: float = 0.0  # network evaluations, training included
    batched_with: tuple[SampleConfig, ...] = ()  # samplings in the same batch; their tasks find them done


@dataclass(frozen=True)
class Outcome:
    """What became of a task. `permanent`: it would fail again the same way; `log`: what was said meanwhile."""

    name: str
    error: str | None = None
    permanent: bool = False
    seconds: float = 0.0
    log: str = ""
    warnings: int = 0


Work = Callable[[Task, "RunContext", Advance], None]


def run_stage(task: Task, context: "RunContext", advance: Advance) -> None:
    """The task's stage. `advance` is told how many network evaluations were made, training included."""
    store, data_root = context.store, context.data_root
    match task.kind:
        case "references":
            reference_stage(task.config, store, data_root)
        case "models":
            train_stage(task.config, store, data_root, lambda images: advance(images * TRAIN_COST))
        case "samples":
            if task.batched_with:
                sample.sample_together((task.config, *task.batched_with), store, data_root, advance)
            sample.sample_stage(task.config, store, data_root, advance, shared=context.shared)
        case "scores":
            score_stage(task.config, store, data_root)
        case "probes":
            probe_stage(task.config, store, data_root)
            advance(task.cost)


@dataclass(frozen=True)
class RunContext:
    """Where tasks find and leave what they make, and whether others compute on the same device meanwhile."""

    store: Store
    data_root: Path | None = None
    shared: bool = False
    together: bool = False  # whether runs of one network are sampled in one batch
    work: Work = run_stage


def batch_mates(task: Task, later: Iterable[Task]) -> list[Task]:
    """The samplings among `later` that fill up the batch of this one: of the same network, on the same machine."""
    room, found = task.config.capacity - task.config.n_samples, list[Task]()
    if task.machine.compiled or room < MIN_SAMPLES:  # compiled for another size of batch; or full
        return found
    for other in later:
        alike = other.kind == task.kind and (other.config.model, other.machine) == (task.config.model, task.machine)
        if alike and other.config.n_samples <= room:
            found.append(other)
            room -= other.config.n_samples
    return found


def run_task(task: Task, context: RunContext, needed: Sequence[Outcome], advance: Advance) -> Outcome:
    """Does the task unless something that it needs failed; an exception becomes the outcome's error."""
    for before in needed:
        if before.error is not None:
            return blocked(task, before)
    keep_freed()
    error, permanent, start = None, False, time.perf_counter()
    with _recorded() as lines:
        log = logging.getLogger(__name__)
        what = f"{STAGES[task.kind]} {task.name}"
        log.info("%s: started with threads=%d on %s", what, task.machine.threads, task.machine.device)
        try:
            context.work(task, context, advance)
        except (Exception, SystemExit) as raised:  # a user's model or sampler may do anything
            error, permanent = f"{type(raised).__name__}: {raised}", isinstance(raised, NotFiniteError)
            log.error("%s: failed\n%s", what, traceback.format_exc().rstrip())
        seconds = time.perf_counter() - start
        log.info("%s: %s after %.3f s", what, "failed" if error else "done", seconds)
    warned = sum(record.levelno == logging.WARNING for record in lines)
    text = "".join(_FORMAT.format(record) + "\n" for record in lines)
    return Outcome(task.name, error, permanent, seconds, text, warned)


def blocked(task: Task, before: Outcome) -> Outcome:
    """The outcome of a task that cannot be done, since one that it needs failed; scorings fail as sampling did."""
    return Outcome(task.name, before.error if task.kind == "scores" else f"its network was not trained: {before.error}")


_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


class _Recorder(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _recorded() -> Iterator[list[logging.LogRecord]]:
    """What this package logs inside the block, and what anybody warns of, as log records."""
    logger, records = logging.getLogger("experiments"), list[logging.LogRecord]()
    handler, level = _Recorder(records), logger.level
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
