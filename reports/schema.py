"""The tables of a result folder, for those who write them and those who read them.

No third-party package is imported.
"""

import lzma
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]  # of a table, by column


class Metric(NamedTuple):
    """A distance between samples and real images, as all that measure, store and show it know it.

    Args:
        shown: its name on pages, which show it times 1000 if the name says so.
        kernel: the function of `experiments.distances.kernels` of which it is the squared maximum mean discrepancy; ""
            for the Fréchet distance. With a kernel, table.csv has its standard error too, as NAME_se.
        later: whether older results lack it. References and scores are made anew for it; samples are not.
    """

    shown: str
    kernel: str = ""
    later: bool = False


METRICS = {"mmd": Metric("MMD ×1000", "gaussian"), "kd": Metric("KD ×1000", "cubic"), "fd": Metric("FD")}
PRIMARY_METRIC = "mmd"
OF_METRICS = " ".join(
    f"{name}{'?' if metric.later else ''} {f'{name}_se?' if metric.kernel else ''}" for name, metric in METRICS.items()
)
COMPARED = (*METRICS, "precision", "recall", "visible_noise")  # metrics of comparisons
BETTER, WORSE, NO_DIFFERENCE, NO_VERDICT = "better", "worse", "no difference detected", "no verdict"  # a against b
NOT_SIGNIFICANT = "not significant after correction"  # no difference detected, though the interval excludes 0
HARMLESS, HARMFUL, UNDECIDED = "harmless", "harmful", "not decided"  # verdicts on a change
EXPLORE = "explore"  # the section of the settings that explorers try, from which they choose
CONFIRM = "confirm"  # the section of the chosen ones and their opponents, and the family of their comparisons
COMBINATIONS = "combinations"  # the section of a grid
PRIMARY = "primary"  # a section, and a family of one: what is fixed beforehand
EXPLORATION, EFFECTS = "exploration", "effects"  # families of comparisons, which share one correction
IN_USE, RIVAL, CHEAPER = "in use", "rival", "cheaper"  # what b is to a reader, in a comparison of a against b
CHEAPEST = "the cheapest that is confirmed"  # reasons of answers.csv
BETTER_THAN_CHEAPEST = "better than the cheapest that is confirmed"
TOO_NOISY = "more visible noise than the limit"
DEFAULT, CHALLENGER = "default", "challenger"  # kinds of explored settings
WITHOUT, WITH = "without fresh noise", "with fresh noise"  # those of `beta`
VISIBLE = 0.04  # data std: the limit of visible noise, the same for all settings and studies; nobody sees 0.03

# The columns of each table, in the order of its writer. It may lack those with a question mark, and have more.
TABLES: dict[str, tuple[str, ...]] = {
    name: tuple(columns.split())
    for name, columns in {
        "table.csv": f"""experiment section setting budget status error
            data train_noise p_mean? p_std? weighting parameterisation? schedule sampler alpha beta eta
            s_churn mu beta_ks sigma_max sigma_min n_steps nfe final_denoise n_samples n_reference train_seed
            sample_seed network images_seen train_batch? lr? ema_decay? trained_by? train_seconds? train_loss?
            trained_commit? features features_id?
            {OF_METRICS} precision recall visible_noise? visible_noise_se? to_training? to_training_real?
            memorised? seconds batch_size retries? device precision_mode compiled threads shared_device model_id?
            samples_id run_id finished_at""",
        "contrasts.csv": """question family section within a nfe_a b nfe_b b_is metric value_a value_b difference
            low high p n lower each detectable compared verdict reason""",
        "answers.csv": """question family section within use nfe a nfe_a b nfe_b b_is value_a value_b difference low
            high n lower precision precision_low precision_high recall recall_low recall_high cost compared verdict
            advised reason""",
        "best_sets.csv": "setting value in_set best difference low high reason",
        "choices.csv": """section budget kind rank setting nfe mmd visible_noise chosen reason networks n images_seen?
            barred?""",
        "scores.csv": "features setting metric value low high",
        "floors.csv": "data features metric n_samples n_reference mean sd? low high repeats",
        "curves.csv": """model_id train_noise weighting parameterisation train_seed images_seen? sigma relative_error
            se? n_images""",
        "densities.csv": "train_noise sigma density",
        "training.csv": "model_id train_seed images_seen loss",
        "verdicts.csv": """sampler group kind sentence declared order left_over how limit_ratio limit_mean_error seconds
            note link on_purpose? levels? evaluations? level_faults?""",
        "budgets.csv": "sampler n_steps data_std ratio mean_error ratio_se",
        "harms.csv": "a b check value low high limit verdict",
        "schedules.csv": "schedule n_steps evaluations form faults nearest note first_sigma last_sigma",
        "levels.csv": "schedule n_steps step sigma t log_snr share",
    }.items()
}
TEXTS = """experiment section setting status error data run_id model_id samples_id finished_at train_noise weighting
    parameterisation trained_by trained_commit network train_seed schedule sampler sample_seed device precision_mode
    features features_id kind metric a b question b_is use each family verdict group sentence how note link check
    schedule form faults nearest levels level_faults reason""".split()
FLAGS = "on_purpose final_denoise compiled shared_device in_set best advised chosen barred".split()


def say_near(high: float, shown: str) -> str:
    """The words for an MMD whose interval reaches 0, below which no squared distance is. `shown`: its high end."""
    return f"as near as real images (at most {shown})" if high > 0 else "no distance detected"


def all_columns(columns: tuple[str, ...]) -> list[str]:
    """The columns that the writer of a table gives it."""
    return [name.removesuffix("?") for name in columns]


def required_columns(columns: tuple[str, ...]) -> list[str]:
    """The columns without which a table is not read."""
    return [name for name in columns if not name.endswith("?")]


def read_bytes(path: Path) -> bytes | None:
    """The bytes of a table, which may be compressed, as NAME.csv.xz; None without either file."""
    if path.is_file():
        return path.read_bytes()
    packed = path.with_name(f"{path.name}.xz")
    return lzma.decompress(packed.read_bytes()) if packed.is_file() else None
