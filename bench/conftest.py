"""What the benchmarks share."""

from collections.abc import Callable

import pytest
import torch


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def synchronise(device: str) -> Callable[[], None]:
    """Waits for the device: called inside what is timed."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None
