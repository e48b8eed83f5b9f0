"""What the tests of sweeps share: four short runs of two small networks, their rows, and the real images as known."""

import atexit
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from rich.console import Console

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Row, Trial
from experiments.engine.executor import execute
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.own.features import features_id
from experiments.results.table import COLUMNS
from experiments.stages.score import reference_stage
from experiments.store.store import Store

TRAIN = TrainConfig(images_seen=192, batch_size=64, warmup_images=64)
REFERENCE = ReferenceConfig("mnist5k", "digits", features_id("digits"))
OF_A_RUN = ("seconds", "train_seconds", "shared_device", "finished_at", "batch_size", "retries")  # differ if repeated
VALUES = [name for name in COLUMNS if name not in OF_A_RUN]


def trial(n_steps: int, eta: float, train: TrainConfig = TRAIN, mode: str = "any", seed: int = 0) -> Trial:
    return Trial(
        "test", mode, ScoreConfig(SampleConfig(train, Ladder(n_steps=n_steps), Euler(eta), 40, seed), REFERENCE)
    )


@cache
def _real_images() -> Path:
    folder = Path(mkdtemp(prefix="real-images-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    reference_stage(REFERENCE, Store(folder), None)
    return folder


def known_images(folder: Path) -> Store:
    """The store in a folder, which need not compute the features of the real images: that takes seconds."""
    if not (folder / "references").exists():  # else it may be in use
        shutil.copytree(_real_images(), folder, dirs_exist_ok=True)
    return Store(folder)


TRIALS = [trial(2, eta, replace(TRAIN, seed=seed), seed=seed) for seed in (0, 1) for eta in (0.0, 0.9)]


def run(trials: list[Trial], store: Store) -> list[Row]:
    return execute(Plan.of(trials), RunContext(store), Console(quiet=True)).rows


def values(rows: list[Row]) -> list[list[Any]]:
    """The columns that do not depend on when, where and how fast a run was made."""
    return [[row.get(name) for name in VALUES] for row in rows]
