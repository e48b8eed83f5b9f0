"""Whatever is killed, and whenever: the sweep resumes, and ends as an undisturbed one does, with nothing left over.

SIGMABENCH_ROUNDS=20 python -m pytest tests/experiments/engine/test_killed.py -rP      more rounds than the usual 3
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import warm
from rich.console import Console

from experiments import beta
from experiments.config.config import ReferenceConfig
from experiments.config.denoisers import Machine
from experiments.config.trial import Row
from experiments.engine import ray_executor
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.result_folder import MARK
from experiments.engine.tasks import RunContext
from experiments.metrics.features import features_id
from experiments.results.table import COLUMNS, NOT_VALUES
from experiments.store.store import Store
from experiments.studies.beta import PRESETS

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("SIGMABENCH_ROUNDS", "3"))
WHOLE = ROUNDS > 3  # every trial of the smoke preset, or the primary contrast's of one network
DICE = random.Random(time.time_ns())
VALUES = [name for name in COLUMNS if name not in NOT_VALUES]


def command(folder: Path) -> list[str]:
    where = ["--out", str(folder / "out"), "--store", str(folder / "store"), "--threads", "1"]
    part = [] if WHOLE else ["--only-primary", "--train-seeds", "1"]
    return ["-m", "experiments", "beta", "--preset", "smoke", *where, *part]


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "table.csv")[VALUES]


def strays(folder: Path) -> list[Path]:
    """What a killed process may have left half-written."""
    hidden = [path for path in (folder / "out").rglob(".*") if path.name != MARK]
    return [*(folder / "store" / "tmp").glob("*"), *hidden]


def finished(folder: Path) -> int:
    """The number of finished artifacts; -1 before there is a store."""
    store = folder / "store"
    return len(list(store.glob("*/*/checksums.json"))) if store.exists() else -1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, int, float]:
    """The table, the number of artifacts, and the seconds for each."""
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    assert warm.run(*command(folder)).returncode == 0
    return table(folder), finished(folder), (time.monotonic() - start) / finished(folder)


def stop_while_it_writes(process: warm.Command, folder: Path) -> None:
    """Stops it, as it stands, when an artifact is half-written."""
    while process.returncode is None:
        if strays(folder):
            process.send_signal(signal.SIGSTOP)
            if strays(folder):
                return
            process.send_signal(signal.SIGCONT)
        time.sleep(0.001)
    raise AssertionError("it ended")


def test_a_killed_driver(undisturbed: tuple[pd.DataFrame, int, float], tmp_path: Path) -> None:
    """First while it writes; then between two artifacts or after the last, nowhere twice if there are enough."""
    whole, n_artifacts, seconds = undisturbed
    places = list(range(-1, n_artifacts + 1)) * (1 + ROUNDS // n_artifacts)
    first = DICE.randrange(n_artifacts - 1)
    killed = 0
    for number, place in enumerate([first, *DICE.sample(places, ROUNDS - 1)]):
        folder, moment = tmp_path / str(number), DICE.uniform(0, seconds)
        process = warm.Command(*command(folder))
        while finished(folder) < place and process.returncode is None:
            time.sleep(0.005)
        if number == 0:
            stop_while_it_writes(process, folder)
        else:
            time.sleep(moment)
        process.kill()
        kept = {path: path.stat().st_mtime_ns for path in (folder / "store").glob("[ms]*/*")}
        left = len(strays(folder))
        assert left > 0 or number > 0
        killed += process.returncode == -signal.SIGKILL
        done = warm.run(*command(folder))
        assert done.returncode == 0, done.stderr
        pd.testing.assert_frame_equal(table(folder), whole, check_exact=True)
        assert strays(folder) == []
        assert {path: path.stat().st_mtime_ns for path in kept} == kept  # nothing was computed again
        print(f"round {number + 1}: SIGKILL {moment:.2f} s after artifact {place}, {len(kept)} kept, {left} strays")
    assert killed


def plan() -> Plan:
    """The same trials, of the same identities, as the command's."""
    study = PRESETS["smoke"]
    machine = Machine.resolve(threads=1)
    reference = ReferenceConfig("mnist5k", "digits", features_id("digits"))
    study = replace(study, training=machine, reference=reference)
    if not WHOLE:
        study = replace(study, train_seeds=1, betas=(), etas=(), pareto_steps=(), pareto_etas=())
    return Plan.of(list(beta.trials(study)))


def values(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows).reindex(columns=VALUES)


@pytest.fixture(scope="module")
def on_two_nodes(two_nodes: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, pd.DataFrame, float]]:
    """The two nodes, and an undisturbed sweep on them: its values, and its seconds."""
    result = execute(plan(), RunContext(Store(tmp_path_factory.mktemp("store"))), Console(quiet=True))
    yield two_nodes, values(result.rows), result.seconds


def on_ray(store: Store) -> list[Row]:
    with ray_executor.connected(threads=1) as ray:
        assert ray.slots == 2
        return execute(plan(), RunContext(store), Console(quiet=True), executor=ray.executor, slots=ray.slots).rows


def lose_a_worker() -> str:
    """Kills a worker of ours that does a task, or else an idle one; at the very start, the first that comes up."""
    patience = time.monotonic() + 60
    while time.monotonic() < patience:
        names = {}
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                names[process] = process.name()
        for start in ("ray::_on_worker", "ray::IDLE"):
            if found := [process for process, name in names.items() if name.startswith(start)]:
                process = DICE.choice(found)
                process.kill()
                return f"worker {process.pid} ({names[process]})"
        time.sleep(0.05)
    raise AssertionError("there is no worker to kill")


def lose_a_node(nodes: Any) -> str:
    nodes.lose_the_second()
    return "node"


@pytest.mark.filterwarnings("default")  # the warnings of Ray are not ours
def test_a_killed_worker_or_node(on_two_nodes: tuple[Any, pd.DataFrame, float], tmp_path: Path) -> None:
    nodes, whole, seconds = on_two_nodes
    assert (whole["status"] == "ok").all()
    for number in range(ROUNDS):
        store, moment = Store(tmp_path / str(number)), DICE.uniform(0, 0.7 * seconds)  # workers are warm now
        node = number % 2 == 1
        with ThreadPoolExecutor(1) as pool:  # nodes can be started by the main thread only
            sweep = pool.submit(on_ray, store)
            time.sleep(moment)
            running = not sweep.done()
            struck = lose_a_node(nodes) if node else lose_a_worker()
            sweep.result()
        rows = on_ray(store)  # with nothing left to do, unless Ray's retries were used up
        pd.testing.assert_frame_equal(values(rows), whole, check_exact=True)
        assert list((store.root / "tmp").iterdir()) == []
        when = f"after {moment:.2f} s, {'while it ran' if running else 'when it had ended'}"
        print(f"round {number + 1}: {struck} killed {when}: same table")
