"""What several tests of `score` need: digits, and those before a change."""

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
