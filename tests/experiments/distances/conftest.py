"""What tests of metrics share: the embedded digits."""

import pytest

from diffusion_core.data import load
from diffusion_core.data_set import Images


@pytest.fixture(scope="module")
def digits() -> Images:
    return load("mnist5k")
