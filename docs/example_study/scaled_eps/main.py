"""The denoiser, the measurement, the runs and the table of the study."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from diffusion_core.exact import Empirical
from diffusion_core.samplers import Euler, Model
from experiments.config.comparison import against_first, by_setting
from experiments.config.config import Ladder
from experiments.config.denoisers import EXACT_MACHINE, Loader, Machine, ModelConfig
from experiments.config.trial import Trial
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.results.table import write_rows
from experiments.stages.probe import probe_stage
from experiments.store import Store
from scaled_eps.study import COMMAND, ScaledStudy

N_IMAGES = 64


@dataclass(frozen=True)
class ScaledConfig(ModelConfig):
    """The exact denoiser of the training images, with eps multiplied by a factor."""

    factor: float
    data: str
    seed: int
    machine: Machine = EXACT_MACHINE

    @property
    def description(self) -> str:
        return f"eps × {self.factor:g}"

    def load(self, loader: Loader) -> Model:
        exact = Empirical(loader.images(self.data).standardised()).to(loader.device)
        return lambda x, sigma: self.factor * exact(x, sigma)


@dataclass(frozen=True)
class EpsSize:
    """The root mean square of eps on images with noise, at three levels."""

    model: ScaledConfig
    machine: Machine
    cost: float = 3 * N_IMAGES

    def rows(self, loader: Loader) -> Iterator[dict[str, Any]]:
        model, x0 = loader.model(self.model), loader.images(self.model.data).standardised()[:N_IMAGES]
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(self.model.seed))
        for sigma in (0.1, 1.0, 10.0):
            eps = model((x0 + sigma * noise).to(loader.device), torch.full((N_IMAGES,), sigma, device=loader.device))
            yield {"factor": self.model.factor, "sigma": sigma, "eps_size": eps.square().mean().sqrt().item()}


def main(study: ScaledStudy, options: Options) -> pd.DataFrame:
    """Runs the study and returns its table."""
    study = options.apply(study)
    planned = [
        study.trial("scaled_eps", f"eps × {factor:g}", f"eta {eta:g}", model, Ladder(n_steps=study.n_steps), Euler(eta))
        for seed in study.seeds
        for factor in study.factors
        for model in [ScaledConfig(factor, study.data, seed)]
        for eta in (0.0, 1.0)
    ]
    contrasts = [pair for mode, groups in by_setting(planned).items() for pair in against_first("noise", mode, groups)]
    probes = [EpsSize(ScaledConfig(factor, study.data, 0), study.machine) for factor in study.factors]

    def write_tables(directory: Path, store: Store, done: Sequence[Trial], console: Console) -> None:
        rows = [row for probe in probes for row in probe_stage(probe, store, options.data_root)]
        write_rows(directory / "eps_sizes.csv", rows, ("factor", "sigma", "eps_size"))

    return run_experiment(
        Experiment("scaled_eps", COMMAND.question, planned, contrasts, write_extras=write_tables, probes=probes),
        options,
    )
