"""Does the fast path change a result? `python -m bench.guard` compares bf16, eager and compiled, with fp32 eager.

After one short training, the same samples (weights, noise, ladder) are drawn in each mode. The table has FD and KD, the
paired differences from fp32 with 95 % intervals over images, and the mean change of a pixel, in grey levels of 255.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from safetensors.torch import load_file

from diffusion_core.networks.compiled import can_compile
from diffusion_core.samplers import Euler
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import Machine, TrainConfig
from experiments.config.identity import identity
from experiments.metrics.distances import jackknife_se
from experiments.metrics.features import features_id
from experiments.metrics.intervals import pooled
from experiments.stages.common import load_meta
from experiments.stages.sample import sample_stage
from experiments.stages.score import score_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store


def main(images_seen: int = 60_000, n_samples: int = 1000, n_steps: int = 32, eta: float = 1.0) -> pd.DataFrame:
    """One row per mode and metric: value, difference from fp32 with interval (low, high), and how much pixels change.

    Args:
        images_seen: images that the network is trained on, in bf16.
        n_samples: images per mode.
        n_steps: steps of the geometric ladder.
        eta: amount of fresh noise per step, see `Euler`.
    """
    machine = Machine.resolve(device="cpu", precision="bf16")
    train = TrainConfig(images_seen=images_seen, machine=machine)
    plain = Machine("cpu", "fp32", threads=machine.threads)
    modes = {"fp32": plain, "bf16": dataclasses.replace(plain, precision="bf16")}
    if can_compile("cpu"):
        modes["bf16, compiled"] = dataclasses.replace(plain, precision="bf16", compiled=True)
    reference = ReferenceConfig("mnist5k", "digits", features_id("digits"))
    rows = []
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place))
        train_stage(train, store, None, lambda images: None)
        samples = SampleConfig(train, Ladder(n_steps=n_steps), Euler(eta), n_samples, machine=plain)
        for mode, where in modes.items():
            score = ScoreConfig(dataclasses.replace(samples, machine=where), reference)
            sample_stage(score.samples, store, None, lambda evaluations: None)
            score_stage(score, store, None)
            meta = load_meta("scores", score, store)
            folder = store.path("samples", identity(score.samples))
            pixels = load_file(folder / "samples.safetensors")["pixels"].float()
            if mode == "fp32":
                exact, exact_pixels = meta, pixels
            for metric in ("fd", "kd"):
                replicates = [np.array(side[f"{metric}_replicates"]) for side in (meta, exact)]
                change = pooled([meta[metric] - exact[metric]], [jackknife_se(replicates[0] - replicates[1])])
                rows.append({
                    "mode": mode, "metric": metric, "value": meta[metric], "se": jackknife_se(replicates[0]),
                    "difference": change.difference, "low": change.low, "high": change.high,
                    "mean_change": (pixels - exact_pixels).abs().mean().item(),
                })  # fmt: skip
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(tyro.cli(main, prog="python -m bench.guard").to_string(index=False))
