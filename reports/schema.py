"""The tables of a result folder, for those who write them and those who read them.

No third-party package is imported.
"""

import lzma
from pathlib import Path
from typing import NamedTuple


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
BETTER, WORSE, NO_DIFFERENCE, NO_VERDICT = "better", "worse", "no difference detected", "no verdict"  # a against b
NOT_SIGNIFICANT = "not significant after correction"  # no difference detected, though the interval excludes 0
HARMLESS, HARMFUL, UNDECIDED = "harmless", "harmful", "not decided"  # verdicts on a change
EXPLORE = "explore"  # the section of the settings that explorers try, from which they choose
CONFIRM = "confirm"  # the section of the chosen ones and their opponents; a kind of contrast, and its family
PRIMARY = "primary"  # a section, and a kind of contrast: what is fixed beforehand
MORE = "more evaluations"  # and: the chosen of more evaluations against the chosen of the fewest
AT_LARGEST = "fewer evaluations"  # and: a chosen setting against the default with the most evaluations
DEFAULT, CHALLENGER = "default", "challenger"  # kinds of explored settings
WITHOUT, WITH = "without fresh noise", "with fresh noise"  # those of `beta`
VISIBLE = 0.04  # data std: the limit of visible noise, the same for all settings and studies; nobody sees 0.03
EXPLORATION, EFFECTS = "exploration", "effects"  # families of comparisons, which share one correction

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
        "contrasts.csv": """experiment? kind section budget metric a b
            train_seed n_networks n_steps alpha_a beta_a eta_a nfe_a run_id_a? alpha_b beta_b
            eta_b nfe_b run_id_b? n_planned? final_denoise data network trained_by? train_noise? images_seen features
            n_samples n_reference value_a value_b difference se? low high level interval holds_for clear
            p_value? p_adjusted? family? n_compared? detectable? no_verdict? verdict
            choice? visible_noise_a? visible_noise_b? more_noise? recommended? noisy_b? n_lower?""",
        "best_sets.csv": """section budget setting metric value fd difference low high level in_set best
            n_settings n_networks n_samples n_reference? nfe data network trained_by images_seen features?
            interval holds_for p_adjusted? family? n_compared? no_verdict""",
        "effects.csv": """kind factor_a level_a against_a factor_b level_b against_b n_cells cost? metric
            difference se low high interval holds_for p_value p_adjusted family n_compared detectable n_networks
            verdict no_verdict""",
        "quality.csv": "section budget setting? curve metric value low high",
        "choices.csv": """section budget kind rank setting nfe mmd visible_noise chosen reason networks n seeds draw
            data network features images_seen barred?""",
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
    features features_id kind metric a b interval family verdict no_verdict group sentence how note link check
    schedule form faults nearest levels level_faults run_id_a run_id_b curve choice reason seeds
    factor_a level_a against_a factor_b level_b against_b""".split()
FLAGS = """on_purpose final_denoise compiled shared_device clear in_set best recommended more_noise noisy_b chosen
    barred""".split()


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
