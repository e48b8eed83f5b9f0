"""The difference that a plan could detect: the formula of the interval that its comparisons will get."""

import re
from pathlib import Path

import numpy as np
import pytest

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine.dry_run import TYPICAL_SE, detectable
from experiments.metrics.intervals import pooled
from experiments.store.store import Store

N = 500
ONE = TYPICAL_SE["digits"] * (2 / N) ** 0.5  # standard error of the difference on one network


def trial(eta: float, model: TrainConfig, mode: str = "any") -> Trial:
    samples = SampleConfig(model, Ladder(n_steps=4), Euler(eta), N, model.seed)
    return Trial("test", mode, ScoreConfig(samples, ReferenceConfig("mnist5k", "digits", "")), f"eta {eta:g}")


def forecast(trials: list[Trial], folder: Path) -> tuple[float, str]:
    size_in_words = detectable(trials, Store(folder), None)
    assert size_in_words is not None
    return size_in_words


def etas(n_networks: int) -> list[Trial]:
    return [trial(eta, TrainConfig(seed=seed)) for seed in range(n_networks) for eta in (0.0, 1.0)]


@pytest.mark.parametrize("n", [1, 4, 5, 8])
def test_the_forecast_is_what_the_comparison_will_say_if_networks_differ_by_their_images_only(
    n: int, tmp_path: Path
) -> None:
    spread = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
    differences = spread * ONE / spread.std(ddof=1) if n > 1 else spread
    size, words = forecast(etas(n), tmp_path)
    assert size == pytest.approx(pooled(differences, [ONE] * n).detectable, rel=1e-6)
    assert words.startswith(f"{n} network") and ("at best" in words) == (n >= 5)


@pytest.mark.parametrize(
    ("n", "retrained", "expected"),
    [
        (2, False, "MMD ×1000 of about 6 .*; half of that takes four times the images"),
        (5, False, "MMD ×1000 of at best about 5 .*; the spread between networks is not known yet"),
        (2, True, "MMD ×1000 of at best about 6 .*; settings with networks of their own get a verdict"),
        (5, True, "MMD ×1000 of at best about 5 .*; the spread between networks is not known yet"),
    ],
)
def test_more_images_are_advised_only_where_they_help(n: int, retrained: bool, expected: str, tmp_path: Path) -> None:
    others = [trial(0.0, TrainConfig(seed=seed, lr=1e-3)) for seed in range(n)] if retrained else []
    again = [trial(0.0, TrainConfig(seed=seed + 100), "control") for seed in range(n)]  # no further networks
    _, words = forecast(etas(n) + others + again, tmp_path)
    assert re.search(expected, words), words
