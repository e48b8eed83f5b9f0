"""Which sampler settings are best for this network, at each number of evaluations?

    python -m experiments tune --model python:my_model:eps --budgets 8 16 32
    python -m experiments tune                         networks trained here; laptop: about 5 minutes on two CPU cores
    python -m experiments tune --preset smoke          under 20 seconds: does everything work here?

The settings that people use, schedules times samplers, each at exactly the budget, race in blocks of images: a setting
that is worse than the best leaves (metrics/race.py). The finalists and the defaults, DDIM and DDPM, are then compared
on images of another seed, which the race never saw. Of the settings that cannot be told from the best, the simplest is
recommended, and exported so that it can be pasted (export/).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from diffusion_core.adapters import Adapter
from diffusion_core.samplers import Euler, Sampler
from experiments.command_line import Tune
from experiments.config import names
from experiments.config.comparison import (
    BestSet,
    Comparison,
    Contrast,
    Groups,
    Left,
    Race,
    by_setting,
    control,
    paired,
)
from experiments.config.config import Ladder, TrainConfig
from experiments.config.study import CONTROL, Study
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.export.export import write_settings
from experiments.ladders import within
from experiments.models.external import load_foreign
from experiments.stages.common import images_of

QUESTION = "Which sampler settings are best for this network, at each number of evaluations?"
FRESH = 2 * CONTROL  # added to the seed of images that the race has not seen
FINALISTS = 6  # at most, per budget, besides the defaults
DEFAULT_ETAS = (0.0, 1.0)  # DDIM and DDPM on the first ladder: what is used without tuning


@dataclass(frozen=True)
class TuneStudy(Study):
    """The settings that race: ladders x samplers at each budget, the simplest first."""

    ladders: tuple[str, ...] = ("vp", "karras", "geometric", "cosine")  # vp: even steps in time, as in DDIM and DDPM
    budgets: tuple[int, ...] = (8, 16, 32)  # network evaluations per image, exactly
    etas: tuple[float, ...] = (0.0, 0.5, 1.0)  # of Euler; 0 and 1 are always added
    samplers: tuple[str, ...] = ("heun", "dpm++2m")  # besides Euler
    block: int = 160  # images per network and block, about
    sigma_max: float = 30.0
    sigma_min: float = 0.03

    @property
    def sizes(self) -> tuple[int, ...]:
        """Images per network at each look of the race: blocks of equal size, up to n_samples."""
        n_looks = max(self.n_samples // self.block, 1)
        return tuple(self.n_samples * look // n_looks for look in range(1, n_looks + 1))

    @property
    def defaults(self) -> tuple[str, ...]:
        return tuple(f"{self.ladders[0]}, eta {eta:g}" for eta in DEFAULT_ETAS)


PRESETS = {
    "smoke": TuneStudy(
        train=TrainConfig(images_seen=640, warmup_images=320),
        n_samples=132,  # just above the dimension of the features
        ladders=("vp", "karras"),
        budgets=(4,),
        etas=(0.0, 1.0),
        samplers=("heun",),
    ),
    "laptop": TuneStudy(),
    "gpu": TuneStudy(
        train=TrainConfig(data="mnist", images_seen=50 * 60_000),
        train_seeds=5,
        n_samples=10_000,
        block=1_000,
        budgets=(8, 16, 32, 64),
    ),
}


def main(question: Tune, options: Options) -> pd.DataFrame:
    """Which sampler settings are best for this network, at each number of evaluations?

    Races the settings, confirms the finalists on images of another seed, and writes a report, settings.json and
    snippets to paste. After an interrupt the same command continues where it stopped. Returns the table.
    """
    study = options.apply(PRESETS[options.preset], question)
    for name in ("ladders", "budgets"):
        if not getattr(study, name):
            raise ValueError(f"{name}: at least one is needed")
    if bad := [budget for budget in study.budgets if budget < 1]:
        raise ValueError(f"budgets={bad[0]}: it must be at least 1")
    study = known_levels(replace(study, etas=tuple(sorted({*study.etas, *DEFAULT_ETAS}))), options)
    data_std = options.data_std(study)
    study = calibrated(study, partial(trials, data_std=data_std), options)
    fields = tuple(by_setting(trials(study, data_std, look)) for look in range(len(study.sizes)))
    experiment = Experiment(
        "tune",
        QUESTION,
        list(trials(study, data_std)),
        (),
        race=Race(study.sizes, fields, partial(confirmation, study, fields[0])),
        write_extras=partial(write_settings, data_root=options.data_root),
    )
    return run_experiment(experiment, options)


def known_levels(study: TuneStudy, options: Options) -> TuneStudy:
    """The study with ladders that stay within the levels that a network from elsewhere knows."""
    if study.foreign is None:
        return study
    images, device = images_of(study.foreign.data, options.data_root), study.machine.device
    model = load_foreign(study.foreign.source, images, study.foreign.label, device)
    if not isinstance(model, Adapter):
        return study
    low, high = model.span
    return replace(study, sigma_min=max(study.sigma_min, low), sigma_max=min(study.sigma_max, high))


def trials(study: TuneStudy, data_std: float, look: int = 0) -> Iterator[Trial | Infeasible]:
    """Every trial of a look of the race, for each network in turn."""
    here = replace(study, n_samples=study.sizes[look])
    samplers: dict[str, Sampler] = {f"eta {eta:g}": Euler(eta) for eta in study.etas}
    samplers |= {text: names.sampler(text) for text in study.samplers}
    for seed in study.seeds:
        model = study.model(seed)
        for budget in study.budgets:
            for text in study.ladders:
                schedule, options = names.schedule(text, data_std)
                levels = Ladder(schedule, budget, study.sigma_max, study.sigma_min, options)
                for label, sampler in samplers.items():
                    what = ("tune", f"{budget} evaluations, race", f"{text}, {label}", model)
                    ladder = within(budget, levels, sampler)
                    if ladder and sampler.planned_nfe(ladder.sigmas()) == budget:
                        yield here.trial(*what, ladder, sampler, budget=budget, earlier=study.sizes[:look])
                    else:
                        why = f"{sampler.name}: no ladder takes exactly {budget} evaluations" if ladder else None
                        yield here.infeasible(*what, levels, sampler, budget=budget, why=why)


def confirmation(
    study: TuneStudy, first: Mapping[str, Groups], left: Left
) -> tuple[Sequence[Trial], Sequence[Comparison]]:
    """The finalists and the defaults of each budget on unseen images, their comparisons, and those of the knobs.

    Args:
        first: mode of the race -> its settings, at the first look.
        left: mode of the race -> the settings that are left, the best score first.
    """
    planned, comparisons = list[Trial](), list[Comparison]()
    if not left:  # every setting failed
        return [], []
    for race, order in left.items():
        mode = race.removesuffix(", race")
        finalists = {*order[:FINALISTS], *study.defaults}
        groups = {
            name: tuple(fresh(study, trial, mode) for trial in runs)
            for name, runs in first[race].items()
            if name in finalists
        }
        planned += [trial for runs in groups.values() for trial in runs]
        winner = order[0]
        comparisons += [
            paired("tuned", mode, winner, default, groups, family="tuned")
            for default in study.defaults
            if default in groups and default != winner
        ]
        comparisons += [BestSet(mode, groups), *knobs(race, winner, first[race])]
    name, runs = next(iter(groups.items()))  # of the last budget
    again = tuple(fresh(study, trial, "control", FRESH + CONTROL) for trial in runs)
    return [*planned, *again], [*comparisons, control(name, again, runs)]


def fresh(study: TuneStudy, trial: Trial, mode: str, seed: int = FRESH) -> Trial:
    """The same setting on n_samples images of another seed."""
    samples = trial.samples
    samples = replace(samples, seed=trial.model.seed + seed, n_samples=study.n_samples, earlier=())
    return replace(trial, mode=mode, score=replace(trial.score, samples=samples))


def knobs(race: str, winner: str, groups: Groups) -> Iterator[Contrast]:
    """At the first look, when no setting has left: every sampler on the winner's ladder, every ladder with its sampler.

    Each is compared with the first of its kind. A winner that was chosen on these images flatters itself a little.
    """
    ladder, _, sampler = winner.rpartition(", ")
    for kind, alike in (
        ("sampler", [name for name in groups if name.rpartition(", ")[0] == ladder]),
        ("ladder", [name for name in groups if name.rpartition(", ")[2] == sampler]),
    ):
        for name in alike[1:]:
            yield paired(kind, race, name, alike[0], groups, family=kind)
