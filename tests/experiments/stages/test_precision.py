"""The fast path does not change what is measured: its scores differ from fp32's by far less than their uncertainty."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from short_sweep import REFERENCE, known_images

from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, SampleConfig, ScoreConfig
from experiments.config.denoisers import Machine
from experiments.config.identity import identity
from experiments.config.trained import TrainConfig
from experiments.metrics.distances import jackknife_se
from experiments.stages.common import load_meta
from experiments.stages.sample import sample_stage
from experiments.stages.score import score_stage
from experiments.stages.train import train_stage
from reports.schema import METRICS


@pytest.mark.slow
def test_bf16_scores_what_fp32_scores(tmp_path: Path) -> None:
    """tests/diffusion_core/networks/test_compiled.py holds compiled networks to the error of bf16."""
    store, fp32 = known_images(tmp_path), Machine(threads=1)
    samples = SampleConfig(TrainConfig(images_seen=3_200), Ladder(n_steps=8), Euler(1.0), 200, machine=fp32)
    train_stage(samples.model, store, None, lambda images: None)
    scores, pixels = [], []
    for machine in (fp32, replace(fp32, precision="bf16")):
        score = ScoreConfig(replace(samples, machine=machine), REFERENCE)
        sample_stage(score.samples, store, None, lambda evaluations: None)
        score_stage(score, store, None)
        scores.append(load_meta("scores", score, store))
        folder = store.path("samples", identity(score.samples))
        pixels.append(load_file(folder / "samples.safetensors")["pixels"].float())
    for metric in METRICS:
        wide, narrow = (np.array(score[f"{metric}_replicates"]) for score in scores)
        change = abs(scores[1][metric] - scores[0][metric]) + 1.96 * jackknife_se(narrow - wide)
        assert change < 0.5 * jackknife_se(narrow), metric
    assert 0 < (pixels[1] - pixels[0]).abs().mean() < 0.5, "grey levels of 255"
