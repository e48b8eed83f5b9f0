"""Every column of the input files: its label, unit and digits, which direction is better, and what it means."""

from dataclasses import dataclass
from typing import Literal

LARGEST = 1e100  # size of any number: no measurement comes near, and figures fail on larger ones


@dataclass(frozen=True)
class Column:
    """The description of one column.

    Args:
        label: its name in the head of a table and on an axis.
        kind: "number", "text" or "flag" (True or False). An empty cell is a missing value in each.
        digits: decimals shown; None shows three significant digits.
        scale: factor from raw to shown values (`label` names it).
        unit: unit of the shown values.
        better: which direction is better, if any.
        finite: whether infinite numbers are rejected.
        least, most: the range of numbers.
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
    least: float = -LARGEST
    most: float = LARGEST

    @property
    def rule(self) -> str:
        """The rule for its numbers, for messages."""
        kind = "a finite number" if self.finite else "a number"
        return f"{kind} or empty, at least {self.least:g} and at most {self.most:g}"


def _text(label: str) -> Column:
    return Column(label, kind="text")


def _flag(label: str) -> Column:
    return Column(label, kind="flag")


def _count(label: str, meaning: str = "") -> Column:
    return Column(label, digits=0, meaning=meaning, least=0)


FURTHER = ("whitened", "class_chi2", "log_density")  # yardsticks of why_noise, besides the metrics
METRICS = ("kd", "fd")  # in the order in which they are shown; kd decides the primary contrast

COLUMNS: dict[str, Column] = {
    # what was run
    "experiment": _text("experiment"),
    "mode": _text("mode"),
    "setting": _text("setting"),
    "budget": _count("budget of evaluations"),
    "denoiser": _text("denoiser"),
    "denoiser_error": Column("error added to the denoiser", least=0),
    "status": _text("status"),
    "error": _text("message"),
    "data": _text("data"),
    "run_id": _text("run"),
    "model_id": _text("model"),
    "samples_id": _text("samples"),
    "finished_at": _text("finished at"),
    # training
    "train_noise": _text("training noise distribution"),
    "p_mean": Column("P_mean", meaning="The mean of ln sigma in training, of a log-normal distribution."),
    "p_std": Column("P_std", meaning="The standard deviation of ln sigma in training.", least=0),
    "weighting": _text("loss weighting"),
    "parameterisation": _text("parameterisation"),
    "trained_by": _text("trained by"),
    "network": _text("network"),
    "train_seed": _text("training seed"),
    "images_seen": _count("images seen in training"),
    "loss": Column("training loss", digits=4, least=0),
    # the ladder and the step
    "schedule": _text("ladder"),
    "sampler": _text("sampler"),
    "sigma_max": Column("sigma max", least=0),
    "sigma_min": Column("sigma min", least=0),
    "n_steps": _count("steps"),
    "nfe": _count(
        "nfe",
        "Network evaluations per image, counted. This is the cost of sampling on any machine.",
    ),
    "final_denoise": _flag("final denoising"),
    "alpha": Column(
        "alpha",
        meaning="The share of the estimated noise that one step removes: sigma_down = (1 − alpha) sigma.",
    ),
    "beta": Column(
        "beta",
        meaning="The fresh noise that one step puts back, as a share of sigma. beta 0 is the deterministic sampler "
        "(Euler on the probability-flow ODE, DDIM).",
    ),
    "eta": Column(
        "eta",
        meaning="The same quantity as beta, on a scale that does not depend on the ladder. eta 0 is DDIM (no fresh "
        "noise), eta 1 is DDPM. eta = beta / (r √(1 − r²)), where r is the ratio of two neighbouring noise levels.",
    ),
    "s_churn": Column("S_churn", digits=1, finite=False),
    "mu": Column("mu"),
    "beta_ks": Column("beta_KS"),
    "step": _count("step"),
    "frame": _count("frame"),
    "sigma": Column("sigma", least=0),
    # error curves
    "relative_error": Column("error of eps, relative", least=0),
    "density": Column("density of ln sigma", least=0),
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
    "seconds": Column("seconds", digits=2, unit="s", better="lower", least=0),
    # quality
    "features": _text("feature space"),
    "fd": Column(
        "FD",
        digits=2,
        better="lower",
        meaning="Fréchet distance between the features of samples and of real images (a Gaussian is fitted to each). "
        "Lower is better. It falls with the number of images, so only equal numbers are compared.",
    ),
    "kd": Column(
        "KD ×1000",
        digits=2,
        scale=1000,
        better="lower",
        meaning="Kernel distance (squared maximum mean discrepancy, cubic kernel) of the same features, times 1000. "
        "Lower is better. It is unbiased: real images score 0 on average and sometimes below 0.",
    ),
    "kd_se": Column("s.e. of KD", digits=2, scale=1000, least=0),
    "precision": Column(
        "precision",
        digits=3,
        least=0,
        most=1,
        better="higher",
        meaning="Share of the samples that lie near real images: do the samples look real? Higher is better.",
    ),
    "recall": Column(
        "recall",
        digits=3,
        least=0,
        most=1,
        better="higher",
        meaning="Share of the real images that lie near samples: is the variety covered? Higher is better.",
    ),
    # contrasts: columns without their own number of digits are shown like the row's metric
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
    "level": Column(
        "level",
        least=0,
        most=1,
        meaning="Coverage of the interval. Of a contrast that was looked at several times: of all looks together; "
        "looks.csv has the level of each look by itself.",
    ),
    "interval": _text("interval"),
    "holds_for": _count("networks it holds for"),
    "networks_agree": _flag("networks agree"),
    "clear": _flag("clear"),
    "verdict": _text("verdict on a"),
    "p_value": Column("p"),
    "p_adjusted": Column("p, corrected"),
    "adjusted": _text("corrected"),
    "detectable": Column("detectable"),
    "n_to_settle": _count("samples to settle it"),
    "minutes_to_settle": Column("minutes to settle it", digits=1),
    "networks_to_settle": _count("networks to settle it"),
    "new_network_low": Column("new network, low"),
    "new_network_high": Column("new network, high"),
    "untrusted": _text("why not trusted"),
    "look": _count("look"),
    "round": _count("round of proposals"),
    "n_looks": _count("looks planned"),
    "stopped": _text("stopped"),
    "smallest": Column("smallest of interest"),
    # sets of settings that cannot be told from the best
    "in_set": _flag("in the best set"),
    "left": _flag("left in the race"),
    "best": _flag("lowest"),
    "simplest": _flag("simplest"),
    "n_settings": _count("settings"),
    "no_verdict": _text("why there is no verdict"),
    # class mix
    "class_distance_a": Column("class mix of a", digits=3, least=0, most=1),
    "class_distance_b": Column("class mix of b", digits=3, least=0, most=1),
    "class_distance_expected": Column("class mix of real images", digits=3, least=0, most=1),
    "kd_at_data_mix_a": Column("KD ×1000 of a at the data's mix", digits=2, scale=1000),
    "kd_at_data_mix_b": Column("KD ×1000 of b at the data's mix", digits=2, scale=1000),
    # floors and histograms
    "mean": Column("mean"),
    "repeats": _count("repeats"),
    "n_images": _count("images"),
    # probes of denoisers, and gains from noise
    "probe": _text("probe"),
    "arm": _text("denoiser"),
    "claim": _text("comparison"),
    "band_low": Column("from sigma", least=0),
    "band_high": Column("to sigma", least=0),
    "whitened": Column(
        "whitened KD",
        digits=3,
        better="lower",
        meaning="Kernel distance with a quadratic kernel on features in which the real images' covariance is the "
        "identity.",
    ),
    "class_chi2": Column(
        "component mix",
        digits=2,
        better="lower",
        least=0,
        meaning="Chi-square of the mixture components of the samples over its degrees of freedom. Draws of the true "
        "distribution have about 1.",
    ),
    "log_density": Column(
        "log density gap",
        digits=2,
        unit="nats",
        better="lower",
        least=0,
        meaning="Size of the difference between the mean log density of the samples and that of draws of the true "
        "distribution.",
    ),
    "value": Column("value"),
    "se": Column("s.e.", least=0),
    "part": _text("part"),
    "label": _text("class"),
    "count": Column("count", digits=1, least=0),
}
COLUMNS |= {f"{name}_{side}": COLUMNS[name] for name in ("alpha", "beta", "eta", "nfe") for side in "ab"}
COLUMNS["nfe_a"], COLUMNS["nfe_b"] = _count("nfe of a"), _count("nfe of b")

FLOOR = (
    "The score of real images. As many training images as there are samples are set aside and compared with the "
    "remaining training images. A network that copies its training images would reach the floor too, and unseen real "
    "images score a little worse. The floor is the lower end of the scale, not a proof of perfection. “2 above the "
    "floor” means that score plus 2. FD of few images is too high, of samples and of real images alike; the distance "
    "above the floor is free of that. The repeats show how uncertain the floor is."
)
