"""One setting, trained, sampled, scored and timed: the same stages as every experiment, without a comparison.

python -m experiments run --ladder "karras(rho=7)" --n-steps 18 --sampler heun
python -m experiments run --law "log-normal(0, 1)" --weighting unit-eps --sampler "euler(eta=1)"
python -m experiments run --model diffusers:FOLDER --data mnist --n-steps 50
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from experiments.config.config import Ladder
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.own import names
from experiments.studies.run import COMMAND, RunStudy

TRAINING = ("law", "weighting", "parameterisation", "stable_above", "network", "stratified")


def main(study: RunStudy, options: Options) -> pd.DataFrame:
    """One setting, trained, sampled, scored and timed, for each training seed. Returns the table."""
    if options.model is not None and (given := sorted(options.given & {*TRAINING})):
        raise ValueError(f"{', '.join(given)}: they train a network, but --model brings one")
    study = options.apply(study)
    planned = partial(trials, data_std=options.data_std(study))
    study = calibrated(study, planned, options)
    return run_experiment(Experiment("run", COMMAND.question, list(planned(study)), []), options)


def trials(study: RunStudy, data_std: float) -> Iterator[Trial]:
    """One trial per network."""
    typed = {name: getattr(study, name) for name in TRAINING}
    training: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}  # else the recipe's
    if "law" in training:
        training["noise"] = names.law(training.pop("law"), data_std)
    name, more = names.schedule(study.ladder, data_std)
    ladder, sampler = Ladder(name, study.n_steps, study.sigma_max, study.sigma_min, more), names.sampler(study.sampler)
    for seed in study.seeds:
        model = study.model(seed)
        if isinstance(model, TrainConfig):
            model = replace(model, **training)
        score = study.score(model, ladder, sampler, final_denoise=study.final_denoise)
        yield Trial("run", study.ladder, score, setting=f"{study.ladder}, {sampler.name}")
