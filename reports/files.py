"""The tables of a result folder: the columns that each must have, and the allowed values of some."""

import gzip
from pathlib import Path

from reports.columns import FURTHER, METRICS

# The columns that each file must have. It may have more.
FILES: dict[str, tuple[str, ...]] = {
    "table.csv": (
        *("experiment", "mode", "setting", "budget", "denoiser", "denoiser_error", "status", "error"),
        *("data", "train_noise", "weighting", "schedule", "sampler"),
        *("alpha", "beta", "eta", "s_churn", "mu", "beta_ks", "sigma_max", "sigma_min", "n_steps", "nfe"),
        *("final_denoise", "n_samples", "n_reference", "train_seed", "sample_seed", "network", "images_seen"),
        *("features", "fd", "kd", "kd_se", "precision", "recall", "seconds", "batch_size", "device"),
        *("precision_mode", "compiled", "threads", "shared_device", "samples_id", "run_id", "finished_at"),
    ),
    "contrasts.csv": (
        *("kind", "mode", "budget", "denoiser", "denoiser_error", "metric", "a", "b"),
        *("train_seed", "n_networks", "n_steps"),
        *("alpha_a", "beta_a", "eta_a", "nfe_a", "alpha_b", "beta_b", "eta_b", "nfe_b"),
        *("final_denoise", "data", "network", "images_seen", "features", "n_samples", "n_reference"),
        *(
            "value_a",
            "value_b",
            "difference",
            "low",
            "high",
            "level",
            "interval",
            "holds_for",
            "networks_agree",
            "clear",
            "verdict",
        ),
    ),
    "best_sets.csv": (
        *("mode", "budget", "setting", "metric", "value", "difference", "low", "high", "in_set", "best", "n_settings"),
        *(
            "fd",
            "simplest",
            "untrusted",
            "no_verdict",
            "interval",
            "holds_for",
            "level",
            "n_networks",
            "n_samples",
            "nfe",
        ),
        *("data", "network", "trained_by", "images_seen"),
    ),
    "looks.csv": (
        *("look", "n_samples", "n_networks", "metric", "difference", "low", "high", "level", "smallest", "stopped"),
    ),
    "race.csv": (
        *("round", "look", "n_samples", "mode", "budget", "setting", "metric", "value", "difference", "low", "level"),
        "left",
    ),
    "class_mix.csv": (
        *("kind", "mode", "budget", "a", "b", "n_networks", "n_samples", "difference", "low", "high", "level"),
        *("class_distance_a", "class_distance_b", "class_distance_expected", "kd_at_data_mix_a", "kd_at_data_mix_b"),
        *("interval", "holds_for"),
    ),
    "floors.csv": ("data", "features", "metric", "n_samples", "n_reference", "mean", "low", "high", "repeats"),
    "histograms.csv": ("run_id", "label", "count"),
    "losses.csv": ("model_id", "train_seed", "images_seen", "loss"),
    "curves.csv": (
        *("model_id", "train_noise", "weighting", "parameterisation", "train_seed", "sigma", "relative_error"),
        "n_images",
    ),
    "densities.csv": ("train_noise", "sigma", "density"),
    "films.csv": ("samples_id", "frame", "sigma"),
    "levels.csv": ("schedule", "n_steps", "step", "sigma"),
    "claims.csv": (
        *(
            "claim",
            "arm",
            "kind",
            "band_low",
            "band_high",
            "p_std",
            "images_seen",
            "metric",
            "difference",
            "low",
            "high",
        ),
        *("level", "interval", "holds_for", "clear", "n_networks"),
    ),
}

NEEDED = {"contrasts.csv": ("n_networks",)}  # columns that may not be empty

NOT_YET, FEW_NETWORKS, EQUAL = "too undertrained to tell", "too few networks", "practically equal"
VERDICTS = (
    *("better", "worse", "no clear difference", EQUAL, "undecided: the metrics disagree"),
    *(NOT_YET, FEW_NETWORKS),
)

# The allowed values of some text columns. "" stands for a missing value.
CHOICES: dict[str, tuple[str, ...]] = {
    "status": ("ok", "failed", "infeasible"),
    "metric": (*METRICS, *FURTHER, "precision", "recall"),
    "verdict": ("", *VERDICTS),
}


def content(path: Path) -> bytes | None:
    """The bytes of a table, which may be compressed, as NAME.csv.gz; None without either file."""
    packed = path.with_name(f"{path.name}.gz")
    if path.is_file() or not packed.is_file():
        return path.read_bytes() if path.is_file() else None
    return gzip.decompress(packed.read_bytes())
