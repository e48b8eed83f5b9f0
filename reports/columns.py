"""Every column once: how it is called, its unit, which direction is better, its digits, and what it means."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """What a column of the input files is.

    Args:
        label: its name in a table's head and on an axis.
        kind: "number", "text" or "flag" (True or False). An empty cell is a missing value in each.
        digits: decimals shown; None shows three significant digits.
        scale: shown values are raw values times this (and `label` says so).
        unit: of the shown value.
        better: which direction is better, if any.
        finite: infinite numbers are rejected.
        meaning: one or two sentences for the glossary.
    """

    label: str
    kind: Literal["number", "text", "flag"] = "number"
    digits: int | None = None
    scale: float = 1
    unit: str = ""
    better: Literal["lower", "higher", ""] = ""
    finite: bool = True
    meaning: str = ""


def _text(label: str) -> Column:
    return Column(label, kind="text")


def _flag(label: str) -> Column:
    return Column(label, kind="flag")


def _count(label: str, meaning: str = "") -> Column:
    return Column(label, digits=0, meaning=meaning)


METRICS = ("kd", "fd")  # in the order in which they are shown; the primary contrast is in kd

COLUMNS: dict[str, Column] = {
    # what was run
    "experiment": _text("experiment"),
    "mode": _text("mode"),
    "setting": _text("setting"),
    "budget": _count("budget of evaluations"),
    "denoiser": _text("denoiser"),
    "denoiser_error": Column("error added to the denoiser"),
    "status": _text("status"),
    "error": _text("message"),
    "data": _text("data"),
    "run_id": _text("run"),
    "model_id": _text("model"),
    "samples_id": _text("samples"),
    "finished_at": _text("finished at"),
    # training
    "train_noise": _text("training noise levels"),
    "weighting": _text("loss weighting"),
    "parameterisation": _text("parameterisation"),
    "trained_by": _text("trained by"),
    "network": _text("network"),
    "train_seed": _text("training seed"),
    "images_seen": _count("images seen in training"),
    "loss": Column("training loss", digits=4),
    # the ladder and the step
    "schedule": _text("ladder"),
    "sampler": _text("sampler"),
    "sigma_max": Column("sigma max"),
    "sigma_min": Column("sigma min"),
    "n_steps": _count("steps"),
    "nfe": _count(
        "nfe",
        "Network evaluations per image, counted: the price of sampling, on any machine. Samples of different nfe "
        "differ in price.",
    ),
    "final_denoise": _flag("final denoising"),
    "alpha": Column(
        "alpha",
        meaning="The share of the noise level that one step removes: sigma_down = (1 − alpha) sigma.",
    ),
    "beta": Column(
        "beta",
        meaning="The fresh noise that one step puts back, as a share of sigma. beta 0 puts back none: the "
        "deterministic sampler (Euler on the probability-flow ODE, DDIM).",
    ),
    "eta": Column(
        "eta",
        meaning="The same knob as beta, on a scale that does not depend on the ladder: eta 0 puts back none, eta 1 as "
        "much as DDPM; eta = beta / (r √(1 − r²)) with r the ratio of neighbouring noise levels.",
    ),
    "s_churn": Column("S_churn", digits=1, finite=False),
    "mu": Column("mu"),
    "beta_ks": Column("beta_KS"),
    "step": _count("step"),
    "sigma": Column("sigma"),
    # error curves
    "relative_error": Column("error of eps, relative"),
    "density": Column("density of ln sigma"),
    # sampling
    "sample_seed": _text("sampling seed"),
    "n_samples": _count("samples"),
    "n_reference": _count("reference images"),
    "batch_size": _count("batch"),
    "device": _text("device"),
    "precision_mode": _text("precision mode"),
    "compiled": _flag("compiled"),
    "threads": _count("threads"),
    "shared_device": _flag("shared device"),
    "seconds": Column("seconds", digits=2, unit="s", better="lower"),
    # quality
    "features": _text("feature space"),
    "fd": Column(
        "FD",
        digits=2,
        better="lower",
        meaning="Fréchet distance between Gaussians fitted to the features of samples and of real images. It falls "
        "with the number of images, so only equal numbers are compared. Lower is better.",
    ),
    "kd": Column(
        "KD ×1000",
        digits=2,
        scale=1000,
        better="lower",
        meaning="Kernel distance (squared maximum mean discrepancy, cubic kernel) between the same features, unbiased: "
        "0 on average for real images, and below 0 by chance. Shown times 1000. Lower is better.",
    ),
    "kd_se": Column("s.e. of KD", digits=2, scale=1000),
    "precision": Column(
        "precision",
        digits=3,
        better="higher",
        meaning="Share of the samples that lie near real images: do samples look real? Higher is better.",
    ),
    "recall": Column(
        "recall",
        digits=3,
        better="higher",
        meaning="Share of the real images that lie near samples: is the variety covered? Higher is better.",
    ),
    # contrasts: numbers without digits of their own are shown like the row's metric
    "kind": _text("contrast"),
    "metric": _text("metric"),
    "a": _text("a"),
    "b": _text("b"),
    "n_networks": _count("networks"),
    "n_planned": _count("networks planned"),
    "value_a": Column("value of a"),
    "value_b": Column("value of b"),
    "difference": Column("a − b"),
    "low": Column("low"),
    "high": Column("high"),
    "level": Column("level"),
    "interval": _text("interval"),
    "networks_agree": _flag("networks agree"),
    "clear": _flag("clear"),
    "verdict": _text("a is"),
    # floors and histograms
    "mean": Column("mean"),
    "repeats": _count("repeats"),
    "n_images": _count("images"),
    # probes on the way down a ladder, and the parts of a gap
    "probe": _text("probe"),
    "start": Column("sigma of the push"),
    "value": Column("value"),
    "se": Column("s.e."),
    "part": _text("part"),
    "label": _text("class"),
    "count": Column("count", digits=1),
}
COLUMNS |= {f"{name}_{side}": COLUMNS[name] for name in ("alpha", "beta", "eta", "nfe") for side in "ab"}
COLUMNS["nfe_a"], COLUMNS["nfe_b"] = _count("nfe of a"), _count("nfe of b")

# The columns that each file must have (it may have more).
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
        *("value_a", "value_b", "difference", "low", "high", "level", "interval", "networks_agree", "clear", "verdict"),
    ),
    "floors.csv": ("data", "features", "metric", "n_samples", "n_reference", "mean", "low", "high", "repeats"),
    "histograms.csv": ("run_id", "label", "count"),
    "losses.csv": ("model_id", "train_seed", "images_seen", "loss"),
    "curves.csv": (
        *("model_id", "train_noise", "weighting", "parameterisation", "train_seed", "sigma", "relative_error"),
        "n_images",
    ),
    "densities.csv": ("train_noise", "sigma", "density"),
    "levels.csv": ("schedule", "n_steps", "step", "sigma"),
    "probes.csv": ("denoiser", "train_seed", "probe", "eta", "start", "sigma", "value", "se", "n_samples", "n_steps"),
    "split.csv": (
        "part",
        "mode",
        "metric",
        "train_seed",
        "difference",
        "low",
        "high",
        "level",
        "interval",
        "clear",
        "n_samples",
    ),
}

VERDICTS = ("better", "worse", "no clear difference", "undecided: the metrics disagree", "baseline chosen")

# The values that some text columns are restricted to ("" is allowed where a pooled row or a failure leaves it out).
CHOICES: dict[str, tuple[str, ...]] = {
    "status": ("ok", "failed", "infeasible"),
    "metric": (*METRICS, "precision", "recall"),
    "verdict": ("", *VERDICTS),
}

FLOOR = (
    "What as many training images score against the training images without them. A network that only copied its "
    "training images would score this too, and unseen real images score a little worse, so it is a lower end of the "
    "scale and no proof of perfection. 2 times the floor is twice that score; the repeats show how uncertain it is."
)
