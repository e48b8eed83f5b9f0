"""A sweep: plan -> execute -> rows. Every cell becomes a row; a failed one too; finished ones are never recomputed."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from diffusion_core.dialects import beta_ks_from_alpha, mu_from_alpha, s_churn_from_beta
from diffusion_core.samplers import eta_steps
from diffusion_core.solvers import Euler
from diffusion_core.solvers_churn import Churn
from experiments import stages
from experiments.config import (
    MIXTURE,
    AlphaBetaLadder,
    ExactConfig,
    ForeignConfig,
    Model,
    SampleConfig,
    ScoreConfig,
    TrainConfig,
    identity,
)
from experiments.store import Store, write_text

TRAIN_COST = 3.5  # one training image in network evaluations: forward, backward, update
COLUMNS = tuple(
    """experiment mode status error data train_noise weighting parameterisation schedule sampler alpha beta eta
    s_churn mu beta_ks sigma_max sigma_min n_steps nfe final_denoise n_samples n_reference train_seed
    sample_seed network images_seen trained_by train_seconds train_loss features features_id fd kd kd_se
    precision recall seconds batch_size device precision_mode compiled threads shared_device model_id samples_id
    run_id finished_at""".split()
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One planned run under the mode that asked for it; the same run may be asked for by several modes."""

    experiment: str
    mode: str
    score: ScoreConfig

    @property
    def samples(self) -> SampleConfig:
        return self.score.samples

    @property
    def model(self) -> Model:
        return self.score.samples.model


@dataclass(frozen=True)
class Infeasible:
    """A cell that the mathematics rules out: listed, not run."""

    experiment: str
    mode: str
    values: tuple[tuple[str, Any], ...]
    why: str

    def row(self) -> Row:
        return dict(self.values) | {
            "experiment": self.experiment,
            "mode": self.mode,
            "status": "infeasible",
            "error": self.why,
        }


def execute(cells: Sequence[Cell], store: Store, data_root: Path | None, console: Console) -> list[Row]:
    """Runs what is not done yet, in process, and returns a row for each cell, in order."""
    store.sweep_temporaries()
    failures: dict[str, str] = {}
    models = list(dict.fromkeys(cell.model for cell in cells if isinstance(cell.model, TrainConfig)))
    scores = list(dict.fromkeys(cell.score for cell in cells))
    with _progress(console) as progress:
        bar = progress.add_task("", total=_cost_left(models, scores, store))
        for number, model in enumerate(models, 1):
            progress.update(bar, description=f"training network {number} of {len(models)}")
            _attempt(
                failures,
                identity(model),
                lambda m=model: stages.train_stage(
                    m, store, data_root, lambda n: progress.advance(bar, n * TRAIN_COST)
                ),
            )
        for number, score in enumerate(scores, 1):
            progress.update(bar, description=f"sampling run {number} of {len(scores)}")
            _attempt(
                failures,
                identity(score),
                lambda s=score: _sample_and_score(s, store, data_root, failures, lambda n: progress.advance(bar, n)),
            )
    return [row(cell, store, failures.get(identity(cell.score))) for cell in cells]


def _sample_and_score(
    score: ScoreConfig, store: Store, data_root: Path | None, failures: dict[str, str], advance: stages.Advance
) -> None:
    why = failures.get(identity(score.samples.model))
    if why is not None:
        raise ValueError(f"its network was not trained: {why}")
    if store.has("scores", identity(score)):
        return  # its samples may have been evicted
    stages.sample_stage(score.samples, store, data_root, advance)
    stages.score_stage(score, store, data_root)


def _attempt(failures: dict[str, str], name: str, work: Any) -> None:
    """Runs `work`; an exception becomes the run's failure and the sweep goes on."""
    try:
        work()
    except Exception as error:
        failures[name] = f"{type(error).__name__}: {error}"


def _cost_left(models: Sequence[TrainConfig], scores: Sequence[ScoreConfig], store: Store) -> float:
    """Network evaluations still to make, training included."""
    training = sum(m.images_seen * TRAIN_COST for m in models if not store.has("models", identity(m)))
    unscored = {score.samples for score in scores if not store.has("scores", identity(score))}
    samples = [s for s in unscored if not store.has("samples", identity(s))]
    return training + sum(s.n_samples * s.planned_nfe for s in samples)


def row(cell: Cell, store: Store, failure: str | None) -> Row:
    """A cell as a row of table.csv: raw values, missing = absent."""
    samples, model, ladder = cell.samples, cell.model, cell.samples.ladder
    values: Row = {
        "experiment": cell.experiment,
        "mode": cell.mode,
        "status": "ok" if failure is None else "failed",
        "error": failure,
        "data": short_name(model.data),
        "schedule": ladder.name,
        "sampler": samples.sampler.name,
        "sigma_max": ladder.sigma_max,
        "sigma_min": ladder.sigma_min,
        "n_steps": len(ladder.sigmas()) - 1,
        "final_denoise": samples.final_denoise,
        "n_samples": samples.n_samples,
        "train_seed": model.seed,
        "sample_seed": samples.seed,
        "features": cell.score.reference.features,
        "features_id": cell.score.reference.features_id,
        "precision_mode": samples.machine.precision,
        "compiled": samples.machine.compiled,
        "threads": samples.machine.threads,
        "model_id": identity(model),
        "samples_id": identity(samples),
        "run_id": identity(cell.score),
    }
    values |= _training(model) | _noise(samples)
    if failure is None:
        trained = stages.load_meta("models", model, store) if isinstance(model, TrainConfig) else {}
        scored = stages.load_meta("scores", cell.score, store)
        values |= {name: trained.get(name) for name in ("train_seconds", "train_loss")}
        measured = ("fd", "kd", "kd_se", "precision", "recall", "n_reference", "finished_at")
        values |= {name: scored[name] for name in (*measured, "nfe", "seconds", "batch_size", "shared_device")}
        values |= {"device": scored["device_name"]}
    return values


def short_name(data: str) -> str:
    """A data set as tables call it: a mixture by its identity, without the folder that it lies in."""
    return MIXTURE + Path(data).name if data.startswith(MIXTURE) else data


def _training(model: Model) -> Row:
    """The columns that say how the network was trained, as far as it is known."""
    if isinstance(model, ForeignConfig):
        return {"network": model.name, "trained_by": "others"}
    if isinstance(model, ExactConfig):
        return {"network": f"exact + error {model.error:g}" if model.error else "exact", "trained_by": "nobody"}
    return {
        "network": model.network,
        "trained_by": "sigmabench",
        "train_noise": model.noise.name + (", stratified" if model.stratified else ""),
        "weighting": model.weighting,
        "parameterisation": model.parameterisation,
        "images_seen": model.images_seen,
    }


def _noise(samples: SampleConfig) -> Row:
    """The columns of the noise put back, in every dialect. alpha and beta only where all steps share them."""
    if not isinstance(samples.sampler, Euler):
        return {"s_churn": samples.sampler.s_churn} if isinstance(samples.sampler, Churn) else {}
    eta, steps = samples.sampler.eta, eta_steps(samples.ladder.sigmas(), samples.sampler.eta)
    if max(steps.alphas) - min(steps.alphas) > 1e-9:
        return {"eta": eta, "beta": 0.0 if eta == 0 else None}
    exact = samples.ladder if isinstance(samples.ladder, AlphaBetaLadder) else None
    alpha, beta = (exact.alpha, exact.beta) if exact else (steps.alphas[0], steps.betas[0])
    ratio = steps.sigmas[1] / steps.sigmas[0]
    return {
        "alpha": alpha,
        "beta": beta,
        "eta": eta,
        "s_churn": s_churn_from_beta(alpha, beta, len(steps.alphas)),
        "mu": mu_from_alpha(alpha, ratio) if alpha < 1 else None,
        "beta_ks": beta_ks_from_alpha(alpha, ratio),
    }


def write_rows(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Rows as CSV, raw; missing = empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
