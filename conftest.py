"""`pytest` runs the tests and no benchmark; `pytest --benchmark` runs the benchmarks and nothing else."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments.entrypoint import limit_spinning

ROOT = Path(__file__).parent
ALONE = "test_devices.py"  # adds a device to torch for good: test_simulated_device.py runs it in a process of its own
limit_spinning()  # as in runs; torch is not imported yet
os.environ.setdefault("SIGMABENCH_PRECISION", "fp32")  # so that tests are not timed, and have the same identities


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--benchmark", action="store_true", help="run the benchmarks in bench/ and nothing else")
    parser.addoption("--device", default="sim", help="device of tests/test_devices.py: sim (simulated) or cuda")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any(Path(word).resolve().is_relative_to(ROOT / "bench") for word in config.invocation_params.args)
    unwanted = ROOT / ("tests" if config.getoption("--benchmark") or named else "bench")
    in_one_process = collection_path.name == ALONE and not any(ALONE in str(argument) for argument in config.args)
    return True if in_one_process or collection_path.is_relative_to(unwanted) else None


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process per core and, since some slow tests wait for what they started, one more for these; at most 4."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(n_cores, 3) + ("not slow" not in config.option.markexpr)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In several processes, where each file is run by one (--dist loadfile): the files that take longest first."""
    if not hasattr(config, "workerinput"):  # this is no process of pytest-xdist
        return
    seconds = Counter[Path]()  # roughly: slow(20) takes 20 seconds, slow about one
    for item in items:
        if slow := item.get_closest_marker("slow"):
            seconds[item.path] += slow.args[0] if slow.args else 1
    items.sort(key=lambda item: -seconds[item.path])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if "not release" in config.option.markexpr:
        terminalreporter.write_line("left out: tests marked release; run them by pytest -m release")
