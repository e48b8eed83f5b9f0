"""What the tests of sweeps share: cells small enough to run often, and one Ray of two nodes for the whole session."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

OBJECTS = 100 * 2**20  # bytes of a node's object store
QUICK_TO_NOTICE = {  # that a node is gone: in four seconds, not in twenty; but a busy one has time to answer
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 4,
}


@dataclass
class TwoNodes:
    """A Ray of a head with one core and a second node with another, to which this process is connected."""

    cluster: Any
    second: Any

    def lose_the_second(self) -> None:
        """Kills the second node, and puts a new one in its place."""
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self.cluster.add_node(num_cpus=1, object_store_memory=OBJECTS)
        self.cluster.wait_for_nodes()


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[TwoNodes]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = {"num_cpus": 1, "object_store_memory": OBJECTS, "_system_config": QUICK_TO_NOTICE}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        second = cluster.add_node(num_cpus=1, object_store_memory=OBJECTS)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield TwoNodes(cluster, second)
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        ray.shutdown()
        cluster.shutdown()
