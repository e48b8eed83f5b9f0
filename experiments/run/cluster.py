"""The same loop as Ray tasks: as many as fit on the cluster, each over all runs. Needs the extra `cluster`.

A lost task is begun again by Ray, and finds what it had made in the cache, which every node must see under one path. If
that folder's file system keeps no locks, nodes may make one file twice: that costs time, and changes no result.
"""

import logging
import math
import os
from collections.abc import Sequence
from typing import Any

from experiments.own.source import user_modules
from experiments.run.cache import Cache
from experiments.run.plan import Run
from experiments.run.work import Failed, Told, answered, finished, noted

RETRIES = 3  # of a task whose worker or node was lost
log = logging.getLogger(__name__)


def on_ray(runs: Sequence[Run], cache: Cache, address: str, gpus_per_run: float, until: float = math.inf) -> Failed:
    """Why runs failed. "local" starts a cluster on this machine; else host:port, ray://host:port or auto.

    Raises:
        ValueError: Ray is not installed, or does not answer at `address`.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("ray_address: Ray is not installed; pip install -e '.[cluster]' brings it") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # sends no usage statistics
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; without it Ray warns
    where: dict[str, Any] = {"include_dashboard": False} if address == "local" else {"address": address}
    try:
        ray.init(**where, runtime_env=_environment(), log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises plain ones too
        raise ValueError(f"ray_address={address!r}: {' '.join(str(error).split())}") from None
    try:
        machine, have = runs[0].machine, ray.cluster_resources()
        cards = gpus_per_run if machine.device == "cuda" else 0
        slots = int(have.get("CPU", 1) // machine.threads)
        slots = max(min(slots, int(have.get("GPU", 0) / cards) if cards else slots, len(runs)), 1)
        for module in user_modules():  # workers cannot import their classes
            ray.cloudpickle.register_pickle_by_value(module)
        task = ray.remote(num_cpus=machine.threads, num_gpus=cards, max_retries=RETRIES)(_loop)
        starts = [number * len(runs) // slots for number in range(slots)]
        packed = [ray.cloudpickle.dumps([*runs[start:], *runs[:start]]) for start in starts]
        failed, warnings, lost = Failed(), set[str](), ""
        for reference in [task.remote(part, cache.shared, until) for part in packed]:
            try:
                failed |= noted(ray.get(reference), warnings)
            except ray.exceptions.RayError as error:  # the other tasks do its work
                lost = f"{type(error).__name__}: {str(error).strip().splitlines()[0]} (tried {RETRIES + 1} times)"
                log.warning("%s", lost)
    finally:
        ray.shutdown()
    return finished(runs, cache, failed, lost, until)


def _loop(packed: bytes, shared: tuple[Any, ...], until: float) -> Told:
    return answered(packed, Cache(*shared), lambda evaluations: None, until=until)


def _environment() -> dict[str, Any]:
    """What tasks need to know of this process: where data lie."""
    return {"env_vars": {name: os.environ[name] for name in ("SIGMABENCH_DATA",) if name in os.environ}}
