"""A planned run: its config, its labels, and the columns of its row that are known before the run."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diffusion_core.samplers import Sampler
from experiments.config.config import AlphaBetaLadder, Ladder, SampleConfig, ScoreConfig
from experiments.config.denoisers import ModelConfig
from experiments.config.identity import identity

Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One planned run and its labels. Several trials, in different modes, may share one run.

    Args:
        experiment: name of the experiment, such as "beta".
        mode: how settings are compared, such as "same-ladder". Settings of one mode are compared with each other.
        setting: the compared setting, such as "eta 1".
        budget: network evaluations per image that each setting of the mode may take; None without such a limit.
    """

    experiment: str
    mode: str
    score: ScoreConfig
    setting: str = ""
    budget: int | None = None

    @property
    def samples(self) -> SampleConfig:
        return self.score.samples

    @property
    def model(self) -> ModelConfig:
        return self.score.samples.model

    @cached_property
    def run_id(self) -> str:
        """The identity of the run."""
        return identity(self.score)


@dataclass(frozen=True)
class Infeasible:
    """An impossible trial, for example because eta is too large. It has a row, but is not run."""

    experiment: str
    mode: str
    setting: str
    model: ModelConfig
    ladder: Ladder | AlphaBetaLadder
    sampler: Sampler
    budget: int | None
    why: str

    def row(self) -> Row:
        return described(self) | {"status": "infeasible", "error": self.why}


def described(trial: Trial | Infeasible) -> Row:
    """The columns of table.csv that are known before the run. Missing values are None or absent."""
    if isinstance(trial, Infeasible):
        values: Row = {"schedule": trial.ladder.name, "sampler": trial.sampler.name, "train_seed": trial.model.seed}
        values |= {"n_steps": len(trial.ladder.sigmas()) - 1, "eta": getattr(trial.sampler, "eta", None)}
        return values | {name: getattr(trial, name) for name in ("experiment", "mode", "setting", "budget")}
    samples, model, ladder = trial.samples, trial.model, trial.samples.ladder
    values = {
        "experiment": trial.experiment,
        "mode": trial.mode,
        "setting": trial.setting or None,
        "budget": trial.budget,
        "data": model.data,
        "schedule": ladder.name,
        "sampler": samples.sampler.name,
        "sigma_max": ladder.sigma_max,
        "sigma_min": ladder.sigma_min,
        "n_steps": len(ladder.sigmas()) - 1,
        "final_denoise": samples.final_denoise,
        "n_samples": samples.n_samples,
        "train_seed": model.seed,
        "sample_seed": samples.seed,
        "features": trial.score.reference.features,
        "features_id": trial.score.reference.features_id,
        "precision_mode": samples.machine.precision,
        "compiled": samples.machine.compiled,
        "threads": samples.machine.threads,
        "model_id": identity(model),
        "samples_id": identity(samples),
        "run_id": trial.run_id,
    }
    return values | model.row() | samples.sampler.row(ladder.sigmas())
