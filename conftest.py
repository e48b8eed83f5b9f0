"""`pytest` runs the tests and no benchmark; `pytest --benchmark` runs the benchmarks and nothing else."""

import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent
os.environ.setdefault("SIGMABENCH_PRECISION", "fp32")  # so that tests are not timed, and have the same identities


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--benchmark", action="store_true", help="run the benchmarks in bench/ and nothing else")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    unwanted = ROOT / ("tests" if config.getoption("--benchmark") else "bench")
    return True if collection_path.is_relative_to(unwanted) else None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    import torch

    machine_info |= {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
