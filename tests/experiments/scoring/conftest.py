"""What several tests of `score` need: digits, and an empty folder to work in."""

from pathlib import Path

import numpy as np
import pytest
from gates import N

from diffusion_core import load


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    return load("mnist5k").pixels[:900, 0].numpy()


@pytest.fixture(scope="session")
def shown(digits: np.ndarray) -> np.ndarray:
    return digits[:N]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
