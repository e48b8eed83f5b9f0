"""What the tests of the executor share: four short runs of two small networks, and the rows of such runs."""

from dataclasses import replace
from typing import Any

from rich.console import Console

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Row, Trial
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.metrics.features import features_id
from experiments.results.table import COLUMNS
from experiments.store.store import Store

TRAIN = TrainConfig(images_seen=192, batch_size=64, warmup_images=64)
REFERENCE = ReferenceConfig("mnist5k", "digits", features_id("digits"))
OF_A_RUN = ("seconds", "train_seconds", "shared_device", "finished_at", "batch_size", "retries")  # differ if repeated
VALUES = [name for name in COLUMNS if name not in OF_A_RUN]


def trial(n_steps: int, eta: float, train: TrainConfig = TRAIN, mode: str = "any", seed: int = 0) -> Trial:
    return Trial(
        "test", mode, ScoreConfig(SampleConfig(train, Ladder(n_steps=n_steps), Euler(eta), 40, seed), REFERENCE)
    )


TRIALS = [trial(2, eta, replace(TRAIN, seed=seed), seed=seed) for seed in (0, 1) for eta in (0.0, 0.9)]


def run(trials: list[Trial], store: Store) -> list[Row]:
    return execute(Plan.of(trials), RunContext(store), Console(quiet=True)).rows


def values(rows: list[Row]) -> list[list[Any]]:
    """The columns that do not depend on when, where and how fast a run was made."""
    return [[row.get(name) for name in VALUES] for row in rows]
