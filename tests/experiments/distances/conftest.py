"""What tests of metrics share: the embedded digits."""

import pytest

from diffusion_core.data import Images, load


@pytest.fixture(scope="module")
def digits() -> Images:
    return load("mnist5k")
