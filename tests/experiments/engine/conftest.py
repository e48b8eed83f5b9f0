"""What tests of the engine share: a store per module that knows the real images."""

import pytest
from short_sweep import known_images

from experiments.store.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return known_images(tmp_path_factory.mktemp("store"))
