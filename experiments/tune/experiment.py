"""Which sampler settings are best for this network, at each number of evaluations?

    python -m experiments tune --model python:my_model:eps --budgets 8 16 32
    python -m experiments tune                         networks trained here; laptop: minutes on two CPU cores
    python -m experiments tune --preset smoke          about 20 seconds: does everything work here?

The settings that people use, schedules times samplers, each at exactly the budget, race on a few images
(engine/race.py). The best six and what is used without tuning are compared on images of another seed. The best of
them is recommended, and exported so that it can be pasted (export/). The simplest that cannot be told from it is named
too.
"""

import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from diffusion_core.adapters import Adapter
from diffusion_core.fields import check_range
from experiments.config.comparison import (
    BestSet,
    Comparison,
    Contrast,
    Field,
    Groups,
    Left,
    Race,
    by_setting,
    control,
    paired,
)
from experiments.config.config import Ladder
from experiments.config.levels import unknown_levels
from experiments.config.study import CONTROL
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.export.export import write_settings
from experiments.own.external import load_foreign
from experiments.stages.common import images_of
from experiments.studies.tune import COMMAND, TuneStudy
from experiments.tune.settings import RACE, TO_ZERO, SamplerSetting, exactly, not_run, race_of

FRESH = 2 * CONTROL  # added to the seed of images that the race has not seen
AGAIN = 10 * CONTROL  # added to all sampling seeds per --search-seed
RUNS = 0.9  # of --time; scores of the last runs, comparisons, code and report take the rest
FINALISTS = 6  # at most, per budget, besides the defaults
DEFAULT_ETAS = (0.0, 1.0)  # DDIM and DDPM, or ODE and SDE of a flow: what is used without tuning


def main(study: TuneStudy, options: Options) -> pd.DataFrame:
    """Runs the experiment; writes its report, settings.json and code to paste. Returns the table."""
    start = time.monotonic()
    study = options.apply(study)
    for name in ("ladders", "budgets"):
        if not getattr(study, name):
            raise ValueError(f"{name}: at least one is needed")
    check_range("budgets", min(study.budgets), 1)
    check_range("search_seed", study.search_seed, 0, 1_000_000)
    study, data_std = fitted(replace(study, etas=tuple(sorted({*study.etas, *DEFAULT_ETAS}))), options)
    study = calibrated(study, partial(trials, data_std=data_std), options)
    planned = list(trials(study, data_std))
    experiment = Experiment(
        "tune",
        COMMAND.question,
        planned,
        (),
        race=Race(by_setting(planned), FINALISTS, partial(confirmation, study), start + RUNS * study.seconds),
        write_extras=partial(write_settings, data_root=options.data_root, libraries=study.export),
        notes=not_run(planned),
    )
    return run_experiment(experiment, options)


def named(study: TuneStudy) -> list[SamplerSetting]:
    """The settings that race first, the simplest first: the defaults, which need no tuning, lead."""
    labels = (*(f"eta {eta:g}" for eta in study.etas), *study.samplers)
    product = [SamplerSetting(ladder, label) for ladder in study.ladders for label in labels]
    first, single = (map(SamplerSetting.read, texts) for texts in (defaults(study), study.settings))
    own = [SamplerSetting(ladder, label, True) for ladder in study.usual for label in labels]
    return [*dict.fromkeys([*first, *product, *own, *single])]


def defaults(study: TuneStudy) -> tuple[str, ...]:
    """What is used without tuning, the user's own first: by default DDIM, then DDPM, on the usual or first ladder."""
    ladder, end = (study.usual[0], f", {TO_ZERO}") if study.usual else (study.ladders[0], "")
    usual = (f"{ladder}, eta {eta:g}{end}" for eta in DEFAULT_ETAS)
    return tuple(
        dict.fromkeys((SamplerSetting.read(study.default, "default").name, *usual) if study.default else usual)
    )


def fitted(study: TuneStudy, options: Options) -> tuple[TuneStudy, float]:
    """The study with the levels and the loop of a network from elsewhere, and `Options.data_std`."""
    data_std = options.data_std(study)
    if study.foreign is None:
        return study, data_std
    images, device = images_of(study.foreign.data, options.data_root), study.machine.device
    model = load_foreign(study.foreign.source, images, study.foreign.label, device)
    if not isinstance(model, Adapter):
        return study, data_std
    low, high = model.span
    low_end, high_end = max(study.sigma_min, low), min(study.sigma_max, high)
    study = replace(study, known=(low, high), usual=model.usual, sigma_min=low_end, sigma_max=high_end)
    return study, data_std


def trials(study: TuneStudy, data_std: float) -> Iterator[Trial | Infeasible]:
    """Every trial of the race, for each network in turn.

    Churn raises no level above the highest that the network knows. A setting with levels out of range is infeasible.
    """
    shorter = replace(study, n_samples=min(study.race_samples, study.n_samples))
    for seed in study.seeds:
        model = study.model(seed)
        for budget in study.budgets:
            raced: dict[Hashable, str] = {}  # what is run -> the setting that does it first
            for setting in named(study):
                levels, sampler = setting.parts(budget, (study.sigma_max, study.sigma_min), data_std)
                what = ("tune", race_of(budget), setting.name, model)
                ladder = exactly(budget, levels, sampler, setting.to_zero)
                why = f"{setting.sampler}: no ladder takes exactly {budget} evaluations"
                if ladder is not None:
                    sampler = sampler.below(study.known[1], ladder.sigmas())
                    why = unknown_levels(sampler, ladder.sigmas(), study.known)
                    first = raced.setdefault((ladder.sigmas(), sampler, setting.to_zero), setting.name)
                    why = why or ("" if first == setting.name else f"it is the same as “{first}”")
                if ladder is None or why:
                    yield Infeasible(*what, ladder or levels, sampler, budget, why)
                    continue
                trial = shorter.trial(*what, ladder, sampler, final_denoise=setting.to_zero, budget=budget)
                yield reseeded(trial, study.search_seed * AGAIN) if isinstance(trial, Trial) else trial


def reseeded(trial: Trial, more: int, **changes: Any) -> Trial:
    """The same trial with `more` added to its sampling seed, and with these changes of its sampling."""
    samples = replace(trial.samples, seed=trial.samples.seed + more, **changes)
    return replace(trial, score=replace(trial.score, samples=samples))


def confirmation(
    study: TuneStudy, left: Left, field: Field, share: float = 1.0
) -> tuple[Sequence[Trial], Sequence[Comparison]]:
    """The finalists and the defaults of each budget on unseen images, their comparisons, and those of the knobs.

    Args:
        left: mode of the race -> the settings that are left, the best score first.
        field: mode of the race -> all its settings.
        share: of the images; there are at least as many as in the race.
    """
    fewest = min(study.race_samples, study.n_samples)
    n_samples = max(int(share * study.n_samples), fewest)

    def fresh(trial: Trial, mode: str, more: int = FRESH) -> Trial:
        """The same setting on more images, of another seed."""
        return replace(reseeded(trial, more, n_samples=n_samples), mode=mode)

    planned, comparisons = list[Trial](), list[Comparison]()
    if not left:  # every setting failed
        return [], []
    for race, order in left.items():
        mode, usual = race.removesuffix(RACE), order[0]
        finalists = {*order, *defaults(study)}
        groups = {
            name: tuple(fresh(trial, mode) for trial in runs) for name, runs in field[race].items() if name in finalists
        }
        planned += [trial for runs in groups.values() for trial in runs]
        first = next((name for name in defaults(study) if name in groups), None)
        comparisons += [
            paired("tuned", mode, name, first, groups, family="tuned") for name in groups if first and name != first
        ]
        comparisons += [BestSet(mode, groups), *knobs(race, usual, field[race])]
    name, runs = next(iter(groups.items()))  # of the last budget
    again = tuple(fresh(trial, "control", CONTROL) for trial in runs)
    return [*planned, *again], [*comparisons, control(name, again, runs)]


def knobs(race: str, best: str, groups: Groups) -> Iterator[Contrast]:
    """In the race: every sampler on the ladder of the best setting, and every ladder with its sampler.

    Each is compared with the first of its kind. `best` is the best setting. It was chosen on these images, so it
    scores a little too well on them.
    """

    def alike(trial: Trial) -> tuple[tuple[object, ...], tuple[object, ...]]:
        samples, last = trial.samples, trial.samples.final_denoise
        assert isinstance(samples.ladder, Ladder)
        return (replace(samples.ladder, n_steps=1), last), (samples.sampler, last)

    ladder, sampler = alike(groups[best][0])
    for kind, same in (
        ("sampler", [name for name, runs in groups.items() if alike(runs[0])[0] == ladder]),
        ("ladder", [name for name, runs in groups.items() if alike(runs[0])[1] == sampler]),
    ):
        for name in same[1:]:
            yield paired(kind, race, name, same[0], groups, family=kind)
