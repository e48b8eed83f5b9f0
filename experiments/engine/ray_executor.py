"""A sweep on Ray: the same tasks, on the cores and cards of one machine or of a cluster. Extra `cluster`.

Each task is one Ray task and is handed the outcomes of the tasks that it needs, so Ray holds it back until they are
there. What a stage raises comes back as an outcome and becomes a row; only lost workers and nodes are Ray's to retry.
Tasks find each other's artifacts in the store, which every node must see under the same path.
"""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from experiments.config.source import OWN, user_modules
from experiments.engine.executor import Executor, Failed, Outcomes
from experiments.engine.progress import PERIOD, Progress
from experiments.engine.tasks import Outcome, RunContext, Task, blocked, run_task

IN_FLIGHT = 256  # tasks handed to Ray at a time, at least: enough to keep it busy, few enough to bound its memory
RETRIES = 3  # of a task whose worker or node was lost
ANSWERS_WITHIN = 10.0  # seconds that a Ray at a given address has to answer
PATIENCE = 5.0  # seconds that tasks have to clean up after an interrupt, before they are killed
SMALL_STORE = 100 * 2**20  # bytes of Ray's own object store: outcomes are small, and artifacts lie in ours


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray: who does the tasks, and how many at a time."""

    executor: Executor
    slots: int


def shared(device: str, workers: int | None, gpus_per_run: float) -> bool:
    """Whether runs have company on their device, so that their seconds are no evidence of speed."""
    return gpus_per_run < 1 if device == "cuda" else workers != 1


@contextmanager
def connected(
    workers: int | None = None, address: str | None = None, gpus_per_run: float = 1.0, threads: int = 1
) -> Iterator[Cluster]:
    """Starts a Ray of `workers` on this machine, or joins the one at `address`; leaves it at the end.

    Args:
        gpus_per_run: share of a card that a training or sampling on CUDA takes.
        threads: CPU threads of a run, which it takes as many cores of a cluster for.

    Raises:
        ValueError: Ray is not installed, or there is none at `address`.
    """
    ray = _ray()
    sample_jointly = ray.is_initialized() and address is None
    if not sample_jointly:
        _start(ray, workers, address)
    try:
        cores = 1 if workers is not None else threads  # a local Ray has as many cores as workers
        here = ray.cluster_resources()
        slots = max(int(here.get("CPU", 1) // cores), 1)
        yield Cluster(_executor(ray, cores, gpus_per_run, max(IN_FLIGHT, 4 * slots)), slots)
    finally:
        if not sample_jointly:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError("workers, ray_address: Ray is not installed; pip install -e '.[cluster]' brings it") from None
    return ray


def _start(ray: Any, workers: int | None, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # asks nobody, tells nobody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the default to come; else Ray warns
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=SMALL_STORE, **quiet)
        return
    try:
        if address != "auto":  # Ray itself waits for many minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN).close()
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"ray_address={address!r}: {reason}; `ray start --head` starts a cluster") from None


def _executor(ray: Any, cores: int, gpus_per_run: float, in_flight: int) -> Executor:
    def execute(tasks: Sequence[Task], context: RunContext, failed: Failed, progress: Progress) -> Outcomes:
        """Hands over tasks in order, `in_flight` at a time, and yields their outcomes as they end."""
        anywhere = ray.remote(max_retries=RETRIES, num_cpus=cores)(_on_worker)
        # said here and not in .options(), num_gpus gives each task a fresh process, which leaves no memory of the card
        on_card = ray.remote(max_retries=RETRIES, num_cpus=cores, num_gpus=gpus_per_run)(_on_worker)
        for name in user_modules(OWN) if OWN in sys.modules else ():  # classes in them, which workers cannot import
            if name in sys.modules:
                ray.cloudpickle.register_pickle_by_value(sys.modules[name])
        packed, failed = ray.cloudpickle.dumps(context), dict(failed)
        pending, running = iter(tasks), dict[Any, Task]()
        references: dict[str, Any] = {}  # of what is running
        try:
            while True:
                while len(running) < in_flight and (task := next(pending, None)) is not None:
                    needed = [references.get(name, failed.get(name)) for name in task.needs]
                    remote = on_card if _on_card(task) else anywhere
                    reference = remote.remote(task, packed, *filter(None, needed))
                    running[reference] = task
                    references[task.name] = reference
                    progress.begin(task)
                if not running:
                    return
                ended, _ = ray.wait(list(running), timeout=PERIOD)
                if ended:  # and whatever else has
                    ended, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
                progress.tick()
                for reference in ended:
                    task = running.pop(reference)
                    del references[task.name]
                    outcome = _outcome(ray, reference, task, failed)
                    if outcome.error is None:
                        progress.advance(task.cost)
                    else:
                        failed[task.name] = outcome
                    yield outcome
        finally:
            _cancel(ray, list(running))

    return execute


def _cancel(ray: Any, references: list[Any]) -> None:
    """Interrupts tasks, which removes what they had begun; kills those that do not listen."""
    for force in (False, True):
        for reference in references:
            ray.cancel(reference, force=force)
        if references:
            _, references = ray.wait(references, num_returns=len(references), timeout=PATIENCE)


def _on_worker(task: Task, packed: bytes, *needed: Outcome) -> Outcome:
    return run_task(task, _place(packed), needed, lambda evaluations: None)


@lru_cache(maxsize=1)
def _place(packed: bytes) -> RunContext:
    """Unpacked once a process: what stages keep in memory, they keep by the store that it came from."""
    import ray

    context: RunContext = ray.cloudpickle.loads(packed)
    return context


def _outcome(ray: Any, reference: Any, task: Task, failed: Failed) -> Outcome:
    """What became of a task; one whose worker was lost too often failed, but may be tried again."""
    try:
        outcome: Outcome = ray.get(reference)
        return outcome
    except ray.exceptions.RayError as error:
        before = next((failed[name] for name in task.needs if name in failed), None)
        if before is not None:
            return blocked(task, before)
        cause = str(error).strip().splitlines()[0]
        return Outcome(task.name, f"{type(error).__name__}: {cause} (tried {RETRIES + 1} times)")


def _on_card(task: Task) -> bool:
    return task.machine.device == "cuda" and task.kind in ("models", "samples", "probes")
