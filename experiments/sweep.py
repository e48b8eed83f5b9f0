"""A sweep: plan -> execute -> rows. Every cell becomes a row; a failed one too; finished ones are never recomputed."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from diffusion_core.dialects import beta_ks_from_alpha, eta_from_beta, mu_from_alpha, s_churn_from_beta
from experiments import stages
from experiments.config import SampleConfig, ScoreConfig, TrainConfig, identity
from experiments.store import Store, write_text

TRAIN_COST = 3.5  # one training image in network evaluations: forward, backward, update
COLUMNS = tuple(
    """experiment mode status error data train_noise weighting schedule sampler alpha beta eta s_churn mu beta_ks
    sigma_max sigma_min n_steps nfe final_denoise n_samples n_reference train_seed sample_seed network images_seen
    train_seconds train_loss features features_id fd kd kd_se precision recall seconds batch_size device precision_mode
    compiled threads shared_device model_id samples_id run_id finished_at""".split()
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
    def model(self) -> TrainConfig:
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
    models = list(dict.fromkeys(cell.model for cell in cells))
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
    samples = {s.samples for s in scores if not store.has("samples", identity(s.samples))}
    return training + sum(s.n_samples * s.planned_nfe for s in samples)


def row(cell: Cell, store: Store, failure: str | None) -> Row:
    """A cell as a row of table.csv: raw values, missing = absent."""
    samples, model, rule = cell.samples, cell.model, cell.samples.rule
    steps = rule.steps()
    n_steps, alpha, beta = len(steps.alphas), steps.alphas[0], steps.betas[0]
    ratio = steps.sigmas[1] / steps.sigmas[0]
    values: Row = {
        "experiment": cell.experiment,
        "mode": cell.mode,
        "status": "ok" if failure is None else "failed",
        "error": failure,
        "data": model.data,
        "train_noise": model.noise.name,
        "weighting": model.weighting,
        "schedule": rule.schedule,
        "sampler": "euler",
        "alpha": alpha,
        "beta": beta,
        "eta": eta_from_beta(beta, ratio),
        "s_churn": s_churn_from_beta(alpha, beta, n_steps),
        "mu": mu_from_alpha(alpha, ratio) if alpha < 1 else None,
        "beta_ks": beta_ks_from_alpha(alpha, ratio),
        "sigma_max": rule.sigma_max,
        "sigma_min": rule.sigma_min,
        "n_steps": n_steps,
        "final_denoise": samples.final_denoise,
        "n_samples": samples.n_samples,
        "train_seed": model.seed,
        "sample_seed": samples.seed,
        "network": model.network,
        "images_seen": model.images_seen,
        "features": cell.score.reference.features,
        "features_id": cell.score.reference.features_id,
        "precision_mode": samples.machine.precision,
        "compiled": samples.machine.compiled,
        "threads": samples.machine.threads,
        "model_id": identity(model),
        "samples_id": identity(samples),
        "run_id": identity(cell.score),
    }
    if failure is None:
        trained = stages.load_meta("models", model, store)
        sampled = stages.load_meta("samples", samples, store)
        scored = stages.load_meta("scores", cell.score, store)
        values |= {name: trained[name] for name in ("train_seconds", "train_loss")}
        values |= {name: sampled[name] for name in ("nfe", "seconds", "batch_size", "shared_device")}
        values |= {"device": sampled["device_name"]}
        measured = ("fd", "kd", "kd_se", "precision", "recall", "n_reference", "finished_at")
        values |= {name: scored[name] for name in measured}
    return values


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
