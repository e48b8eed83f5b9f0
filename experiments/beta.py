"""Is beta > 0 really better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    python -m experiments beta                      laptop: five to eight minutes on two CPU cores
    python -m experiments beta --preset smoke       under 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 to 20,000 samples per run

The primary contrast is fixed beforehand: eta = 1 against eta = 0 on the geometric ladder of 66 steps from 30 to 0.03,
by kernel distance. It gets more images until it is settled (metrics/looks.py). All other contrasts are exploratory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler
from experiments.config.comparison import BestSet, Contrast, Looks, against_first, by_setting, control, grouped, paired
from experiments.config.config import MIN_SAMPLES, AlphaBetaLadder, Ladder
from experiments.config.denoisers import TrainConfig
from experiments.config.settings_file import ladder_from
from experiments.config.study import Study
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.questions import Beta

QUESTION = "Is beta > 0 better than beta = 0?"
FIXED_BEFOREHAND = (Ladder("geometric", 66, 30.0, 0.03), LogNormal())  # of the primary contrast: ladder, training


@dataclass(frozen=True)
class BetaStudy(Study):
    """What the experiment varies."""

    train: TrainConfig = field(default_factory=lambda: TrainConfig(images_seen=100_000))
    train_seeds: int = 5  # enough for a statement on networks of this kind in general
    explore_seeds: int = 2  # the networks that all other settings are sampled from
    n_samples: int = 1_500  # of the primary contrast and its control, at most
    look_every: int = 500  # images between two looks at the primary contrast; all other settings get so many
    smallest: float = 0.1  # the smallest difference of interest, as a share of the KD of eta 0
    schedule: Ladder = field(default_factory=Ladder)  # of all ladders but same-alpha's; its n_steps does not count
    n_steps: int = 66  # of the primary contrast's ladder
    alpha: float = 0.1  # in mode same-alpha
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.35)  # in mode same-alpha
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)  # in mode same-ladder
    pareto_steps: tuple[int, ...] = (8, 16, 32, 66)
    pareto_etas: tuple[float, ...] = (0.0, 0.5, 1.0)

    def __post_init__(self) -> None:
        if not self.look_every >= MIN_SAMPLES:
            raise ValueError(f"look_every={self.look_every}: it must be at least {MIN_SAMPLES}")
        if self.explore_seeds < 0:
            raise ValueError(f"explore_seeds={self.explore_seeds}: it must be at least 0")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Images per network and setting of the primary contrast at each look."""
        return (*range(self.look_every, self.n_samples, self.look_every), self.n_samples)

    @property
    def ladder(self) -> Ladder:
        """The ladder of the primary contrast."""
        return replace(self.schedule, n_steps=self.n_steps)

    @property
    def explored(self) -> "BetaStudy":
        """The study with as many images as at the first look."""
        return replace(self, n_samples=self.sizes[0])


PRESETS = {
    "smoke": BetaStudy(
        train=TrainConfig(images_seen=640, warmup_images=320),
        train_seeds=2,
        n_samples=132,  # just above the dimension of the features
        n_steps=4,
        alpha=0.8,
        betas=(0.0, 0.4),
        etas=(0.0, 1.0),
        pareto_steps=(2, 4),
        pareto_etas=(0.0, 1.0),
    ),
    "laptop": BetaStudy(),
    "gpu": BetaStudy(
        train=TrainConfig(data="mnist", images_seen=50 * 60_000),
        explore_seeds=5,
        n_samples=20_000,
        look_every=10_000,
    ),
}


def main(question: Beta, options: Options) -> pd.DataFrame:
    """Is beta > 0 better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    Trains networks, samples from them with and without fresh noise, scores the samples against real images and writes
    a report. After an interrupt the same command continues where it stopped. Returns the table.
    """
    study = options.apply(PRESETS[options.preset], question)
    notes = []
    if question.setting:
        ladder = ladder_from(question.setting, question.n_steps, options.data_std(study))
        study = replace(study, schedule=ladder, n_steps=ladder.n_steps)
        notes.append(f"the ladder is {ladder.name}, {ladder.n_steps} steps, from {question.setting}")
    if question.sigma_min is not None:
        if question.setting:
            raise ValueError("sigma_min, setting: the setting has its own ladder; give one of them")
        study = replace(study, schedule=replace(study.schedule, sigma_min=question.sigma_min))
    if question.only_primary:
        study = replace(study, explore_seeds=0)
    else:
        study = replace(
            study,
            betas=_with(study.betas, 0.0),
            etas=_with(study.etas, 0.0, 1.0),
            pareto_etas=_with(study.pareto_etas, 0.0),
        )
    study = calibrated(study, trials, options)
    planned = list(trials(study))
    fixed = study.foreign is None and (study.ladder, study.train.noise) == FIXED_BEFOREHAND
    experiment = Experiment(
        "beta",
        QUESTION,
        planned,
        list(contrasts(planned)),
        looks=looks(study),
        fixed_beforehand=fixed,
        notes=notes,
    )
    return run_experiment(experiment, options)


def trials(study: BetaStudy) -> Iterator[Trial | Infeasible]:
    """Every trial of the experiment, for each network in turn. The primary contrast as at its first look."""
    study = study.explored
    for seed in study.seeds:
        model, ladder = study.model(seed), study.ladder
        yield from primary(study, seed)
        if seed >= study.explore_seeds:
            continue
        for eta in (0.0, 1.0):
            yield study.trial("beta", "final-denoise", f"eta {eta:g}", model, ladder, Euler(eta), final_denoise=True)
        for beta in study.betas:
            rule = AlphaBetaLadder(study.alpha, beta, sigma_min=study.schedule.sigma_min)
            yield study.trial("beta", "same-alpha", f"beta {beta:g}", model, rule, rule.sampler)
        for eta in study.etas:
            yield study.trial("beta", "same-ladder", f"eta {eta:g}", model, ladder, Euler(eta))
        for n_steps in study.pareto_steps:
            for eta in study.pareto_etas:
                shorter = replace(study.schedule, n_steps=n_steps)
                yield study.trial("beta", "pareto", f"eta {eta:g}", model, shorter, Euler(eta), budget=n_steps)


def primary(study: BetaStudy, seed: int, earlier: tuple[int, ...] = ()) -> Iterator[Trial | Infeasible]:
    """The trials of the primary contrast and its A/A control for one network."""
    model, ladder = study.model(seed), study.ladder
    for eta in (0.0, 1.0):
        yield study.trial("beta", "primary", f"eta {eta:g}", model, ladder, Euler(eta), earlier=earlier)
    yield study.trial("beta", "control", "eta 0", model, ladder, Euler(0.0), control=True, earlier=earlier)


def looks(study: BetaStudy) -> Looks:
    """The primary contrast and its A/A control at each number of images."""
    found, sizes = [], study.sizes
    for look, size in enumerate(sizes):
        here = replace(study, n_samples=size)
        modes = by_setting([trial for seed in study.seeds for trial in primary(here, seed, sizes[:look])])
        contrast = paired("primary", "primary", "eta 1", "eta 0", modes["primary"])
        found.append((contrast, control("eta 0", modes["control"]["eta 0"], modes["primary"]["eta 0"])))
    return Looks(tuple(main for main, _ in found), tuple(aa for _, aa in found), study.smallest)


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestSet]:
    """The exploratory contrasts."""
    groups = grouped(planned, lambda trial: (trial.mode, trial.budget))
    for (mode, _), here in groups.items():
        settings = grouped(here, lambda trial: trial.setting)
        if mode == "final-denoise":
            yield paired(mode, mode, "eta 1", "eta 0", settings)
        elif mode in ("same-alpha", "same-ladder", "pareto"):
            yield from against_first(mode, mode, settings, family=mode)
            yield BestSet(mode, settings)


def _with(values: tuple[float, ...], *needed: float) -> tuple[float, ...]:
    return tuple(sorted({*values, *needed}))
