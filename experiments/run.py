"""One setting, trained, sampled, scored and timed: the same stages as every experiment, without a comparison.

python -m experiments run --ladder "karras(rho=7)" --n-steps 18 --sampler heun
python -m experiments run --law "log-normal(0, 1)" --weighting unit-eps --sampler "euler(eta=1)"
python -m experiments run --model diffusers:FOLDER --data mnist --n-steps 50
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pandas as pd

from experiments.config import names
from experiments.config.config import Ladder
from experiments.config.denoisers import TrainConfig
from experiments.config.study import Study
from experiments.config.trial import Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.questions import Run

QUESTION = "How good is this one setting?"
PRESETS = {
    "smoke": Study(train=TrainConfig(images_seen=640, warmup_images=320), n_samples=132),
    "laptop": Study(),
    "gpu": Study(train=TrainConfig(data="mnist", images_seen=50 * 60_000), train_seeds=5, n_samples=10_000),
}


TRAINING = ("law", "weighting", "parameterisation", "network", "stratified")  # options that only training uses


def main(question: Run, options: Options) -> pd.DataFrame:
    """One setting, trained, sampled, scored and timed, for each training seed. Returns the table."""
    given = {name for name in TRAINING if getattr(question, name) != getattr(Run, name)}
    if options.model is not None and given:
        raise ValueError(f"{', '.join(sorted(given))}: they train a network, but --model brings one")
    study = options.apply(PRESETS[options.preset])
    listed = partial(trials, question=question, data_std=options.data_std(study))
    study = calibrated(study, listed, options)
    return run_experiment(Experiment("run", QUESTION, list(listed(study)), []), options)


def trials(study: Study, question: Run, data_std: float) -> Iterator[Trial]:
    """One trial per network."""
    train = replace(
        study.train,
        network=question.network,
        noise=names.law(question.law, data_std),
        weighting=question.weighting,
        parameterisation=question.parameterisation,
        stratified=question.stratified,
    )
    name, more = names.schedule(question.ladder, data_std)
    ladder = Ladder(name, question.n_steps, question.sigma_max, question.sigma_min, more)
    study, sampler = replace(study, train=train), names.sampler(question.sampler)
    for seed in study.seeds:
        score = study.score(study.model(seed), ladder, sampler, final_denoise=question.final_denoise)
        yield Trial("run", question.ladder, score, setting=f"{question.ladder}, {sampler.name}")
