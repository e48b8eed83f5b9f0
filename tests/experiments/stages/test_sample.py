"""The sampling stage counts what a sampler takes."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from torch import Tensor

from diffusion_core.samplers.base import Eps, Noise, Sampler
from experiments.config.config import Ladder, SampleConfig
from experiments.config.denoisers import Machine
from experiments.config.trained import TrainConfig
from experiments.stages.sample import sample_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store


@dataclass(frozen=True)
class NeedsTwo(Sampler):
    """Two evaluations per step; it fails with one image, as a dry run has."""

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        if len(x) < 2:
            raise ValueError("two images are needed")
        for sigma, after in pairwise(sigmas):
            eps(x, sigma)
            x = x + (after - sigma) * eps(x, sigma)
            yield x


@pytest.mark.slow
def test_a_sampler_that_takes_more_evaluations_than_in_its_dry_run_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = TrainConfig(images_seen=128, batch_size=64, warmup_images=64)
    config = SampleConfig(train, Ladder(n_steps=3), NeedsTwo(), 40, machine=Machine(threads=1))
    train_stage(train, Store(tmp_path), None, lambda images: None)
    with caplog.at_level(logging.WARNING):
        sample_stage(config, Store(tmp_path), None, lambda evaluations: None)
    (record,) = caplog.records
    assert record.getMessage().startswith("NeedsTwo: 6 evaluations per image, not the 3 of its dry run")
