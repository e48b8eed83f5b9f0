"""What the tests of sweeps share: cells small enough to run often, and one Ray of two nodes for the whole session."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

SLOTS = 2
QUICK_TO_NOTICE = {  # that a node is gone: in about two seconds, not in twenty
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}


@dataclass
class TwoNodes:
    """A Ray of a head with one core and a second node with another, to which this process is connected."""

    cluster: Any
    second: Any

    def lose_the_second(self) -> None:
        """Kills the second node, and puts a new one in its place."""
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self.cluster.add_node(num_cpus=1)


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[TwoNodes]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        size = {"object_store_memory": 100 * 2**20}
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK_TO_NOTICE, **size}
        )
        second = cluster.add_node(num_cpus=1, **size)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield TwoNodes(cluster, second)
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        ray.shutdown()
        cluster.shutdown()
