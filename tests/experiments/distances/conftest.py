"""What tests of metrics share: the embedded digits."""

import pytest

from diffusion_core.data.dataset import Images
from diffusion_core.data.load import load


@pytest.fixture(scope="module")
def digits() -> Images:
    return load("mnist5k")
