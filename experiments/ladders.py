"""Which noise levels should sampling visit, and with which sampler, for a given number of network evaluations?

    python -m experiments ladders                      laptop: about 20 minutes on two CPU cores
    python -m experiments ladders --preset smoke       about 20 seconds: does everything work here?
    python -m experiments ladders --ladders geometric "karras(rho=5)" --n-steps 10 20 --etas 0 0.5 1 --samplers heun

Each setting gets the longest ladder that its budget of network evaluations allows. A sampler with two evaluations per
step, such as heun, gets half as many steps. All contrasts are exploratory. The answer at each budget is the set of
settings that cannot be told from the best.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from diffusion_core.samplers import Euler, Sampler
from experiments.config.comparison import BestSet, Contrast, by_setting, control, paired
from experiments.config.config import Ladder
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.own import names
from experiments.results.table import write_rows
from experiments.store.store import Store
from experiments.studies.ladders import COMMAND, LadderStudy


def main(study: LadderStudy, options: Options) -> pd.DataFrame:
    """Runs the experiment and writes its report. Returns the table."""
    study = options.apply(study)
    for name in ("ladders", "n_steps", "etas"):
        if not getattr(study, name):
            raise ValueError(f"{name}: at least one is needed")
    data_std = options.data_std(study)
    study = calibrated(study, partial(trials, data_std=data_std), options)
    planned = list(trials(study, data_std))
    extras = partial(write_levels, study, data_std)
    return run_experiment(
        Experiment("ladders", COMMAND.question, planned, list(contrasts(study, planned)), write_extras=extras), options
    )


def trials(study: LadderStudy, data_std: float) -> Iterator[Trial | Infeasible]:
    """Every trial of the experiment, for each network in turn."""
    schedules = {text: names.schedule(text, data_std) for text in study.ladders}
    samplers: dict[str, Sampler] = {f"eta {eta:g}": Euler(eta) for eta in study.etas}
    samplers |= {text: names.sampler(text) for text in study.samplers}
    for seed in study.seeds:
        model = study.model(seed)
        for budget in study.n_steps:
            mode = f"{budget} evaluations"
            for text, (schedule, options) in schedules.items():
                levels = Ladder(schedule, budget, study.sigma_max, study.sigma_min, options)
                for label, sampler in samplers.items():
                    what = (f"{text}, {label}", model, levels, sampler)
                    yield study.trial("ladders", mode, *what, budget=budget, longest=True)
        text, label = study.ladders[0], f"eta {study.etas[0]:g}"
        schedule, options = schedules[text]
        levels = Ladder(schedule, study.n_steps[-1], study.sigma_max, study.sigma_min, options)
        yield study.trial("ladders", "control", f"{text}, {label}", model, levels, samplers[label], control=True)


def contrasts(study: LadderStudy, planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestSet]:
    """At each budget: every ladder and every sampler against the first, and the best setting against all others."""
    modes = by_setting(planned)
    controls = modes.pop("control", {})
    first = study.ladders[0]
    samplers = (*(f"eta {eta:g}" for eta in study.etas), *study.samplers)
    for mode, here in modes.items():
        for label in samplers:
            for ladder in study.ladders[1:]:
                a, b = f"{ladder}, {label}", f"{first}, {label}"
                if a in here and b in here:
                    yield paired("ladder", mode, a, b, here, family="ladder")
        for ladder in study.ladders:
            same = [f"{ladder}, {label}" for label in samplers if f"{ladder}, {label}" in here]
            for setting in same[1:]:
                yield paired("sampler", mode, setting, same[0], here, family="sampler")
        yield BestSet(mode, here)
    longest = modes.get(f"{study.n_steps[-1]} evaluations", {})
    for setting, trials in controls.items():
        yield control(setting, trials, longest[setting])


def write_levels(
    study: LadderStudy, data_std: float, directory: Path, store: Store, done: Sequence[Trial], console: Console
) -> None:
    """Writes levels.csv: the levels of each ladder at the largest budget."""
    lines = []
    for text in study.ladders:
        schedule, options = names.schedule(text, data_std)
        ladder = Ladder(schedule, max(study.n_steps), study.sigma_max, study.sigma_min, options)
        lines += [
            {"schedule": text, "n_steps": ladder.n_steps, "step": step, "sigma": sigma}
            for step, sigma in enumerate(ladder.sigmas())
        ]
    write_rows(directory / "levels.csv", lines)
