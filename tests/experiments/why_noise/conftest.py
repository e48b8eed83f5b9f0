"""What these tests share: a mixture that is fitted to the digits and stored."""

import pytest

from experiments.config.identity import MIXTURE
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.store.store import Store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def data(store: Store) -> str:
    return (
        f"{MIXTURE}{store.root / 'mixtures' / mixture_stage(MixtureConfig(n_components=2, rank=3, em_steps=1), store)}"
    )
