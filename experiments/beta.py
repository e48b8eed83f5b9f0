"""Is beta > 0 really better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    python -m experiments beta                      laptop: four to six minutes on two CPU cores
    python -m experiments beta --preset smoke       under 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 samples per run

The primary contrast is fixed beforehand: eta = 1 against eta = 0 on the geometric ladder of 66 steps from 30 to 0.03,
by kernel distance. All other contrasts are exploratory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler
from experiments.command_line import Beta
from experiments.config.comparison import BestOf, Contrast, against_first, control, grouped, paired
from experiments.config.config import AlphaBetaLadder, Ladder, TrainConfig
from experiments.config.study import Study
from experiments.config.trial import Infeasible, Trial
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment

QUESTION = "Is beta > 0 better than beta = 0?"
FIXED_BEFOREHAND = (66, LogNormal())  # number of steps and noise distribution of the primary contrast


@dataclass(frozen=True)
class BetaStudy(Study):
    """What the experiment varies."""

    n_steps: int = 66  # of the primary contrast's ladder
    alpha: float = 0.1  # in mode same-alpha
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.4)  # in mode same-alpha
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)  # in mode same-ladder
    pareto_steps: tuple[int, ...] = (8, 16, 32, 66)
    pareto_etas: tuple[float, ...] = (0.0, 0.5, 1.0)


PRESETS = {
    "smoke": BetaStudy(
        train=TrainConfig(images_seen=640, warmup_images=320),
        n_samples=132,  # just above the dimension of the features
        n_steps=4,
        alpha=0.8,
        betas=(0.0, 0.4),
        etas=(0.0, 1.0),
        pareto_steps=(2, 4),
        pareto_etas=(0.0, 1.0),
    ),
    "laptop": BetaStudy(),
    "gpu": BetaStudy(train=TrainConfig(data="mnist", images_seen=50 * 60_000), train_seeds=5, n_samples=10_000),
}


def main(question: Beta, options: Options) -> pd.DataFrame:
    """Is beta > 0 better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    Trains networks, samples from them with and without fresh noise, scores the samples against real images and writes
    a report. After an interrupt the same command continues where it stopped. Returns the table.
    """
    study = options.apply(PRESETS[options.preset], question)
    if question.only_primary:
        study = replace(study, betas=(), etas=(), pareto_steps=(), pareto_etas=())
    else:
        study = replace(
            study,
            betas=_with(study.betas, 0.0),
            etas=_with(study.etas, 0.0, 1.0),
            pareto_etas=_with(study.pareto_etas, 0.0),
        )
    planned = list(trials(study))
    fixed = study.foreign is None and (study.n_steps, study.train.noise) == FIXED_BEFOREHAND
    return run_experiment(
        Experiment("beta", QUESTION, planned, list(contrasts(planned)), fixed_beforehand=fixed), options
    )


def trials(study: BetaStudy) -> Iterator[Trial | Infeasible]:
    """Every trial of the experiment, for each network in turn."""
    for seed in study.seeds:
        model, ladder = study.model(seed), Ladder(n_steps=study.n_steps)
        for final in (False, True):
            for eta in (0.0, 1.0):
                yield study.trial("beta", "primary", f"eta {eta:g}", model, ladder, Euler(eta), final_denoise=final)
        yield study.trial("beta", "control", "eta 0", model, ladder, Euler(0.0), control=True)
        for beta in study.betas:
            rule = AlphaBetaLadder(study.alpha, beta)
            yield study.trial("beta", "same-alpha", f"beta {beta:g}", model, rule, rule.sampler)
        for eta in study.etas:
            yield study.trial("beta", "same-ladder", f"eta {eta:g}", model, ladder, Euler(eta))
        for n_steps in study.pareto_steps:
            for eta in study.pareto_etas:
                shorter = Ladder(n_steps=n_steps)
                yield study.trial("beta", "pareto", f"eta {eta:g}", model, shorter, Euler(eta), budget=n_steps)


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestOf]:
    """The primary contrast, its control, and the exploratory contrasts."""
    groups = grouped(planned, lambda trial: (trial.mode, trial.budget, trial.samples.final_denoise))
    settings = {key: grouped(trials, lambda trial: trial.setting) for key, trials in groups.items()}
    primary = settings["primary", None, False]
    yield paired("primary", "primary", "eta 1", "eta 0", primary)
    yield control("eta 0", settings["control", None, False]["eta 0"], primary["eta 0"])
    yield paired("final-denoise", "primary", "eta 1", "eta 0", settings["primary", None, True])
    for (mode, _, _), here in settings.items():
        if mode in ("same-alpha", "same-ladder", "pareto"):
            yield from against_first(mode, mode, here)


def _with(values: tuple[float, ...], *needed: float) -> tuple[float, ...]:
    return tuple(sorted({*values, *needed}))
