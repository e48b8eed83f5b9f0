"""What the tests of the executor share: four short runs of two small networks, and the rows of such runs."""

from dataclasses import replace

from rich.console import Console

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import TrainConfig
from experiments.config.trial import Row, Trial
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.metrics.features import features_id
from experiments.store.store import Store

TRAIN = TrainConfig(images_seen=192, batch_size=64, warmup_images=64)
REFERENCE = ReferenceConfig("mnist5k", "digits", features_id("digits"))


def trial(n_steps: int, eta: float, train: TrainConfig = TRAIN, mode: str = "any", seed: int = 0) -> Trial:
    return Trial(
        "test", mode, ScoreConfig(SampleConfig(train, Ladder(n_steps=n_steps), Euler(eta), 40, seed), REFERENCE)
    )


TRIALS = [trial(2, eta, replace(TRAIN, seed=seed), seed=seed) for seed in (0, 1) for eta in (0.0, 0.9)]


def run(trials: list[Trial], store: Store) -> list[Row]:
    return execute(Plan.of(trials), RunContext(store), Console(quiet=True)).rows
