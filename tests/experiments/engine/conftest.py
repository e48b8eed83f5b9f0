"""What tests of the engine share: the features of the real images, and a store per module that has them."""

import shutil
from pathlib import Path

import pytest
from short_sweep import REFERENCE

from experiments.stages.score import reference_stage
from experiments.store.store import Store


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the features of the real images, to be copied."""
    store = Store(tmp_path_factory.mktemp("reference"))
    reference_stage(REFERENCE, store, None)
    return store.root


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, reference: Path) -> Store:
    return Store(shutil.copytree(reference, tmp_path_factory.mktemp("store"), dirs_exist_ok=True))
