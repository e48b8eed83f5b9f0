"""Is beta > 0 really better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    python -m experiments beta                      laptop: about 5 minutes on two CPU cores
    python -m experiments beta --preset smoke       about 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 to 20,000 samples per run

The primary contrast is fixed beforehand in the presets: eta = 1 against eta = 0 on the geometric ladder of 66 steps
from 30 to 0.03, by MMD. It gets the most images. All other contrasts are exploratory. Those with solvers of
higher order without noise tell whether noise only makes up for the steps of Euler.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from diffusion_core.fields import check_range
from diffusion_core.samplers import Euler
from experiments.config.comparison import BestSet, Contrast, against_first, by_setting, control, grouped, paired
from experiments.config.config import MIN_SAMPLES, AlphaBetaLadder
from experiments.config.settings_file import ladder_from
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.own import names
from experiments.studies.beta import COMMAND, PRESETS, BetaStudy

FIXED = (
    "data",
    "train_images",
    "recipe",
    "train_seeds",
    "first_seed",
    "n_samples",
    "n_steps",
    "sigma_min",
    "schedule",
    "foreign",
)


def main(study: BetaStudy, options: Options) -> pd.DataFrame:
    """Runs the experiment and writes its report. Returns the table."""
    study = options.apply(study)
    check_range("explore_samples", study.explore_samples, MIN_SAMPLES)
    check_range("explore_seeds", study.explore_seeds, 0)
    notes = []
    if study.setting:
        if "sigma_min" in options.given:
            raise ValueError("sigma_min, setting: the setting has its own ladder; give one of them")
        budget = study.n_steps if "n_steps" in options.given else None
        ladder = ladder_from(study.setting, budget, study.model(0), options.data_std(study))
        study = replace(study, schedule=ladder, n_steps=ladder.n_steps)
        notes.append(f"the ladder is {ladder.name}, {ladder.n_steps} steps, from {study.setting}")
    if study.only_primary:
        study = replace(study, explore_seeds=0, solvers=())
    else:
        study = replace(
            study,
            betas=_with(study.betas, 0.0),
            etas=_with(study.etas, 0.0, 1.0),
            pareto_etas=_with(study.pareto_etas, 0.0),
        )
    study = calibrated(study, trials, options)
    planned = list(trials(study))
    experiment = Experiment(
        "beta",
        COMMAND.question,
        planned,
        list(contrasts(planned)),
        fixed_beforehand=is_fixed(study) and options.features is options.feature_weights is None,
        notes=notes,
    )
    return run_experiment(experiment, options)


def is_fixed(study: BetaStudy) -> bool:
    """Whether the primary contrast is that of a preset, which was fixed before any run."""
    presets = (PRESETS["laptop"], PRESETS["gpu"])
    return any(all(getattr(study, name) == getattr(preset, name) for name in FIXED) for preset in presets)


def trials(study: BetaStudy) -> Iterator[Trial | Infeasible]:
    """Every trial of the experiment, for each network in turn."""
    primary, study = study, study.explored
    for number, seed in enumerate(study.seeds):
        model, ladder = study.model(seed), study.ladder()
        for eta in (0.0, 1.0):
            yield primary.trial("beta", "primary", f"eta {eta:g}", model, ladder, Euler(eta))
        yield primary.trial("beta", "control", "eta 0", model, ladder, Euler(0.0), control=True)
        for text in study.solvers:
            solver = names.sampler(text)
            yield primary.trial("beta", "solvers", text, model, ladder, solver, budget=study.n_steps, longest=True)
        if number >= study.explore_seeds:
            continue
        for eta in (0.0, 1.0):
            yield study.trial("beta", "final-denoise", f"eta {eta:g}", model, ladder, Euler(eta), final_denoise=True)
        for beta in study.betas:
            rule = AlphaBetaLadder(study.alpha, beta, sigma_min=ladder.sigma_min)
            yield study.trial("beta", "same-alpha", f"beta {beta:g}", model, rule, rule.sampler)
        for eta in study.etas:
            yield study.trial("beta", "same-ladder", f"eta {eta:g}", model, ladder, Euler(eta))
        for n_steps in study.pareto_steps:
            for eta in study.pareto_etas:
                yield study.trial(
                    "beta", "pareto", f"eta {eta:g}", model, study.ladder(n_steps), Euler(eta), budget=n_steps
                )


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestSet]:
    """The primary contrast and its A/A control, then the exploratory contrasts."""
    modes = by_setting(planned)
    if "primary" in modes:
        yield paired("primary", "primary", "eta 1", "eta 0", modes["primary"])
        yield control("eta 0", modes["control"]["eta 0"], modes["primary"]["eta 0"])
        for solver in modes.get("solvers", {}):
            groups = modes["primary"] | modes["solvers"]
            yield paired("solvers", "primary", "eta 1", solver, groups, family="solvers")
    for (mode, _), trials in grouped(planned, lambda trial: (trial.mode, trial.budget)).items():
        settings = grouped(trials, lambda trial: trial.setting)
        if mode == "final-denoise":
            yield paired(mode, mode, "eta 1", "eta 0", settings)
        elif mode in ("same-alpha", "same-ladder", "pareto"):  # the latter two share runs
            yield from against_first(mode, mode, settings, family=mode if mode == "same-alpha" else "ladders")
            yield BestSet(mode, settings)


def _with(values: tuple[float, ...], *needed: float) -> tuple[float, ...]:
    return tuple(sorted({*values, *needed}))
