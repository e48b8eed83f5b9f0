"""The tables of a result folder, for those who write them and those who read them: their columns and what these mean.

Also the words and numbers that both sides share: verdicts, confidence, power. No third-party package is imported.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

LEVEL = 0.95  # the confidence of an interval
POWER = 0.8  # of a test that could have detected a difference
ENOUGH_NETWORKS = 5  # with fewer, an interval holds for these networks only
GROUPS = 20  # of the delete-group jackknife over images; sample i is in group i mod GROUPS

METRICS = ("mmd", "kd", "fd")  # the first that a table has decides; tables from before MMD have KD
JUDGE = METRICS[0]

CONTRAST = "kind mode a b n_steps nfe_a nfe_b final_denoise".split()  # these name a comparison, in all metrics
# verdicts on a against b
BETTER, WORSE, NOT_DETECTABLE, NO_VERDICT = "better", "worse", "not detectable", "no verdict"

GRAINY = 0.01  # grain that a report mentions: about ten times what 500 real images differ by
LARGEST = 1e100  # size of any number: no measurement comes near, and figures fail on larger ones


@dataclass(frozen=True)
class Column:
    """The description of one column.

    Args:
        label: its name in the head of a table and on an axis.
        kind: "number", "text" or "flag" (True or False). An empty cell is a missing value in each.
        digits: decimals shown; None shows three significant digits.
        scale: factor from raw to shown values (`label` names it).
        finite: whether infinite numbers are rejected.
        least, most: the range of numbers.
    """

    label: str
    kind: Literal["number", "text", "flag"] = "number"
    digits: int | None = None
    scale: float = 1
    finite: bool = True
    least: float = -LARGEST
    most: float = LARGEST


def _each(names: str, **values: Any) -> dict[str, Column]:
    """Columns that differ in their labels only: "name: label; name: label". Without a label it is the name."""
    pairs = (item.split(": ") for item in " ".join(names.split()).split("; "))
    return {name: Column("".join(label) or name.replace("_", " "), **values) for name, *label in pairs}


COLUMNS: dict[str, Column] = {
    **_each(
        """experiment; mode; setting; status; error: message; data; run_id: run; model_id: model; samples_id:
        samples; finished_at; train_noise: training noise distribution; weighting: loss weighting; parameterisation;
        trained_by; network; train_seed: training seed; schedule: ladder; sampler; sample_seed: sampling seed;
        device; precision_mode; features: feature space; features_id: code or weights of the feature space;
        kind: contrast; metric; a; b; interval; verdict: verdict on a; adjusted: corrected;
        no_verdict: why there is no verdict; label: class""",
        kind="text",
    ),
    **_each(
        """final_denoise: final denoising; compiled; shared_device; clear; in_set: in the best set;
        left: left in the race; best: lowest; simplest""",
        kind="flag",
    ),
    **_each(
        """budget: budget of evaluations; images_seen: images seen in training; n_steps: steps; step; frame; n_samples:
        samples; n_reference: reference images; batch_size: batch; threads; n_networks: networks; n_planned:
        networks planned; holds_for: networks it holds for; n_to_settle: samples to settle it; networks_to_settle:
        networks to settle it; n_settings: settings; repeats; n_images: images; nfe;
        nfe_a: nfe of a; nfe_b: nfe of b; train_seconds: seconds of training""",
        digits=0,
        least=0,
    ),
    **_each(
        """p_std: P_std; sigma; sigma_max; sigma_min; relative_error: error of eps, relative; density: density of
        ln sigma; se: s.e.""",
        least=0,
    ),
    **_each(
        """p_mean: P_mean; alpha; beta; eta; mu; beta_ks: beta_KS; value; value_a: value of a; value_b: value of b;
        difference: a − b; low; high; mean; p_value: p; p_adjusted: p, corrected; detectable; detectable_low;
        detectable_high; new_network_low: new network, low; new_network_high: new network, high"""
    ),
    **_each("precision; recall", digits=3, least=0, most=1),
    **_each("mmd: MMD ×1000; kd: KD ×1000", digits=2, scale=1000),
    **_each("mmd_se: s.e. of MMD; kd_se: s.e. of KD", digits=2, scale=1000, least=0),
    "seconds": Column("seconds", digits=2, least=0),
    "fd": Column("FD", digits=2),
    "grain": Column("grain", digits=3),
    "grain_se": Column("s.e. of grain", digits=4, least=0),
    "loss": Column("training loss", digits=4, least=0),
    "s_churn": Column("S_churn", digits=1, finite=False),
    "minutes_to_settle": Column("minutes to settle it", digits=1),
    "count": Column("count", digits=1, least=0),
    "level": Column("level", least=0, most=1),
}
COLUMNS |= {f"{name}_{side}": COLUMNS[name] for name in ("alpha", "beta", "eta") for side in "ab"}

# What the glossary says of columns, and of the floor.
MEANINGS = {
    "p_mean": "The mean of ln sigma in training, of a log-normal distribution.",
    "p_std": "The standard deviation of ln sigma in training.",
    "nfe": "Network evaluations per image, counted. This is the cost of sampling on any machine.",
    "alpha": "The share of the estimated noise that one step removes: sigma_down = (1 − alpha) sigma.",
    "beta": "The fresh noise that one step puts back, as a share of sigma. beta 0 is the deterministic sampler (Euler "
    "on the probability-flow ODE, DDIM).",
    "eta": "The same quantity as beta, on a scale that does not depend on the ladder. eta 0 is DDIM (no fresh noise), "
    "eta 1 is DDPM. eta = beta / (r √(1 − r²)), where r is the ratio of two neighbouring noise levels.",
    "fd": "Fréchet distance between the features of samples and of real images (a Gaussian is fitted to each). Lower "
    "is better. It falls with the number of images, so only equal numbers are compared.",
    "mmd": "Squared maximum mean discrepancy between the features of samples and of real images, times 1000. Its "
    "Gaussian kernel is as wide as the median distance of real images. Lower is better. It is unbiased: real images "
    "score 0 on average and sometimes below 0.",
    "kd": "Kernel distance: the squared maximum mean discrepancy with torch-fidelity's cubic kernel, times 1000. Lower "
    "is better. It is unbiased: real images score 0 on average and sometimes below 0.",
    "precision": "Share of the samples that lie near real images: do the samples look real? Higher is better.",
    "recall": "Share of the real images that lie near samples: is the variety covered? Higher is better.",
    "grain": "Fine noise of the samples beside that which the ladder leaves, in data standard deviations. 0 is as in "
    "real images, 0.02 is as in real images with so much more noise. Learned features hardly see it.",
    "floor": "The score of real images. As many training images as there are samples are set aside and compared with "
    "the remaining training images. A network that copies its training images would reach the floor too, and unseen "
    "real images score a little worse. The floor is the lower end of the scale, not a proof of perfection. “2 above "
    "the floor” means that score plus 2. FD of few images is too high, of samples and of real images alike; the "
    "distance above the floor is free of that. The repeats show how uncertain the floor is.",
}

# The columns of each table, in the order of its writer. It may lack those with a question mark, and have more.
TABLES: dict[str, tuple[str, ...]] = {
    name: tuple(columns.split())
    for name, columns in {
        "table.csv": """experiment mode setting budget status error
            data train_noise p_mean? p_std? weighting parameterisation? schedule sampler alpha beta eta
            s_churn mu beta_ks sigma_max sigma_min n_steps nfe final_denoise n_samples n_reference train_seed
            sample_seed network images_seen trained_by? train_seconds? train_loss? features features_id? mmd? mmd_se?
            fd kd kd_se precision recall grain? grain_se? seconds batch_size retries? device precision_mode compiled
            threads shared_device model_id? samples_id run_id finished_at""",
        "contrasts.csv": """experiment? kind mode budget metric a b
            train_seed n_networks n_steps alpha_a beta_a eta_a nfe_a run_id_a? alpha_b beta_b
            eta_b nfe_b run_id_b? n_planned? final_denoise data network trained_by? train_noise? images_seen features
            n_samples n_reference value_a value_b difference se? low high level interval holds_for clear
            p_value? adjusted? p_adjusted? detectable? detectable_low? detectable_high? n_to_settle? minutes_to_settle?
            networks_to_settle? new_network_low? new_network_high? no_verdict? verdict""",
        "best_sets.csv": """mode budget setting metric value fd difference low high level in_set best simplest
            n_settings n_networks n_samples n_reference? nfe data network trained_by images_seen features? interval
            holds_for no_verdict""",
        "race.csv": "n_samples mode budget setting metric value left",
        "scores.csv": "features setting metric value low high",
        "spaces.csv": "features a b metric value low high verdict",
        "floors.csv": "data features metric n_samples n_reference mean sd? low high repeats",
        "histograms.csv": "run_id label count",
        "losses.csv": "model_id train_seed network? images_seen loss",
        "curves.csv": """model_id train_noise weighting parameterisation train_seed images_seen? sigma relative_error
            se? n_images""",
        "densities.csv": "train_noise sigma density",
        "films.csv": "samples_id frame sigma",
        "levels.csv": "schedule n_steps step sigma",
    }.items()
}

# The allowed values of some text columns. "" stands for a missing value.
CHOICES: dict[str, tuple[str, ...]] = {
    "status": ("ok", "failed", "infeasible"),
    "metric": (*METRICS, "precision", "recall"),
    "verdict": ("", BETTER, WORSE, NOT_DETECTABLE, NO_VERDICT),
}


def written(columns: tuple[str, ...]) -> list[str]:
    """The columns that the writer of a table gives it."""
    return [name.removesuffix("?") for name in columns]


def needed(columns: tuple[str, ...]) -> list[str]:
    """The columns without which a table is not read."""
    return [name for name in columns if not name.endswith("?")]


def content(path: Path) -> bytes | None:
    """The bytes of a table, which may be compressed, as NAME.csv.gz; None without either file."""
    packed = path.with_name(f"{path.name}.gz")
    if path.is_file() or not packed.is_file():
        return path.read_bytes() if path.is_file() else None
    return gzip.decompress(packed.read_bytes())
