"""Runs a sweep on a Ray cluster: the same tasks, on its cores and GPUs. Needs the extra `cluster`.

Each task is one Ray task. Its arguments are the outcomes of the tasks that it needs, so Ray starts it after them. An
exception in a stage becomes an outcome and then a row. Ray retries a task only if its worker or node was lost. Tasks
find each other's artifacts in the store, which every node must see under the same path.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from experiments.config.identity import identity
from experiments.engine.executor import Executor, Failed, Outcomes
from experiments.engine.pool import unpacked
from experiments.engine.progress import Progress
from experiments.engine.tasks import Outcome, RunContext, Task, blocked, run_task
from experiments.own.source import user_modules

IN_FLIGHT = 256  # least number of tasks handed to Ray at a time: keeps it busy, and bounds its memory
TICK = 4.0  # seconds between updates of the progress
RETRIES = 3  # of a task whose worker or node was lost
ANSWERS_WITHIN = 10.0  # seconds within which Ray at a given address must answer
PATIENCE = 5.0  # seconds that tasks have to clean up after an interrupt, before they are killed


@contextmanager
def connected(
    address: str | None = None, gpus_per_run: float = 1.0, threads: int = 1
) -> Iterator[tuple[Executor, int]]:
    """Joins the cluster at `address`, and leaves it at the end. None uses a connection that exists, and keeps it.

    Yields its executor, and the number of tasks that run at a time.

    Args:
        gpus_per_run: share of a GPU per training, sampling or probe on CUDA.
        threads: CPU threads per run. Each run reserves as many cores.

    Raises:
        ValueError: Ray is not installed, or does not answer at `address`.
    """
    ray = _ray()
    if address is not None:
        _connect(ray, address)
    try:
        slots = max(int(ray.cluster_resources().get("CPU", 1) // threads), 1)
        yield _executor(ray, threads, gpus_per_run, max(IN_FLIGHT, 4 * slots)), slots
    finally:
        if address is not None:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError("ray_address: Ray is not installed; pip install -e '.[cluster]' brings it") from None
    return ray


def _connect(ray: Any, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # sends no usage statistics
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; without it Ray warns
    try:
        if address != "auto":  # Ray itself would wait for many minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"ray_address={address!r}: {reason}; `ray start --head` starts a cluster, RAY_AUTH_MODE=token joins "
            "one that asks for its token"
        ) from None


def _executor(ray: Any, cores: int, gpus_per_run: float, in_flight: int) -> Executor:
    def execute(tasks: Sequence[Task], context: RunContext, failed: Failed, progress: Progress) -> Outcomes:
        """Hands over tasks in order, `in_flight` at a time, and yields their outcomes as they end."""
        anywhere = ray.remote(max_retries=RETRIES, num_cpus=cores)(_on_worker)
        # num_gpus here, not in .options(), gives each task a new process, so that no GPU memory stays allocated
        on_card = ray.remote(max_retries=RETRIES, num_cpus=cores, num_gpus=gpus_per_run)(_on_worker)
        for module in user_modules():  # workers cannot import their classes
            ray.cloudpickle.register_pickle_by_value(module)
        packed, failed = ray.cloudpickle.dumps(context), dict(failed)
        pending, running = iter(tasks), dict[Any, Task]()
        references: dict[str, Any] = {}  # of the running tasks
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
                ended, _ = ray.wait(list(running), timeout=TICK)
                if ended:  # collects all others that have ended
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
            _cancel(ray, running)

    return execute


def _cancel(ray: Any, running: dict[Any, Task]) -> None:
    """Interrupts tasks, so that they clean up. Kills tasks that have not ended after PATIENCE seconds.

    A task that waits for another fails with it. To cancel it as well can abort this process: Ray 2.60 then counts
    references below 0 (reference_counter.cc).
    """
    for force in (False, True):
        cancelled, until = set[Any](), time.monotonic() + PATIENCE
        while running and time.monotonic() < until:
            names = {task.name for task in running.values()}
            for reference, task in running.items():
                if names.isdisjoint(task.needs) and reference not in cancelled:
                    ray.cancel(reference, force=force)
                    cancelled.add(reference)
            for reference in ray.wait(list(running), num_returns=len(running), timeout=0.2)[0]:
                del running[reference]


def _on_worker(task: Task, packed: bytes, *needed: Outcome) -> Outcome:
    if identity(task.config) != task.name:  # a name is registered, or stands for something else, in the driver only
        return Outcome(
            task.name, "a name in its config means something else on this worker; --workers has no such limit"
        )
    return run_task(task, unpacked(packed), needed, lambda evaluations: None)


def _outcome(ray: Any, reference: Any, task: Task, failed: Failed) -> Outcome:
    """The outcome of a task. If its worker was lost too often, the task failed."""
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
    return task.machine.device == "cuda" and task.kind in ("models", "samples", "probes", "checks")
