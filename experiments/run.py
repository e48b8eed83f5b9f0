"""One setting, trained, sampled, scored and timed: the same stages as every experiment, without a comparison.

python -m experiments run --ladder "karras(rho=7)" --n-steps 18 --sampler heun
python -m experiments run --law "log-normal(0, 1)" --weighting unit-eps --sampler "euler(eta=1)"
python -m experiments run --model diffusers:FOLDER --data mnist --n-steps 50
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import pandas as pd
import tyro

from experiments.config import names
from experiments.config.config import Ladder, TrainConfig
from experiments.config.study import Study
from experiments.config.trial import Trial
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment

QUESTION = "How good is this one setting?"
PRESETS = {
    "smoke": Study(train=TrainConfig(images_seen=640, warmup_images=320), n_samples=132),
    "laptop": Study(),
    "gpu": Study(train=TrainConfig(data="mnist", images_seen=50 * 60_000), train_seeds=5, n_samples=10_000),
}


TRAINING = ("law", "weighting", "parameterisation", "network", "stratified")  # options that only training heeds


@dataclass(frozen=True)
class RunOptions(Options):
    """The command line."""

    law: str = "log-normal"
    """Training law, such as log-uniform(0.03, 100)."""
    weighting: str = "karras"
    """Loss weighting: karras, unit-eps, x0, min-snr-5, min-snr-1.25, soft-min-snr-1."""
    parameterisation: str = "preconditioned"
    """What the network's output means: preconditioned, eps, x0."""
    network: str = "small"
    """small, or paper (for GPUs)."""
    stratified: bool = False
    """Draw a batch's noise levels one from each n-th of the law."""
    ladder: str = "geometric"
    """geometric, karras(rho=7), polyexponential(rho=1), linear, vp, cosine, ddpm-linspace, ddpm-leading or
    ddpm-trailing."""
    n_steps: int = 32
    """Steps of the ladder."""
    sigma_max: float = 30.0
    """Where the ladder starts, in data standard deviations."""
    sigma_min: float = 0.03
    """Where it ends."""
    sampler: str = "euler(eta=1)"
    """euler(eta=1), euler-churn(s_churn=10), heun, dpm++2m, dpm++2m-sde, accelerated, restart or
    kadkhodaie-simoncelli."""
    final_denoise: bool = False
    """End with x - sigma eps at the last level: one more evaluation."""


def main(options: Annotated[RunOptions, tyro.conf.arg(name="")]) -> pd.DataFrame:
    """One setting, trained, sampled, scored and timed, for each training seed. Returns the table."""
    given = {name for name in TRAINING if getattr(options, name) != getattr(RunOptions, name)}
    if options.model is not None and given:
        raise ValueError(f"{', '.join(sorted(given))}: they train a network, but --model brings one")
    study = options.apply(PRESETS[options.preset])
    return run_experiment(Experiment("run", QUESTION, list(trials(study, options)), []), options)


def trials(study: Study, options: RunOptions) -> Iterator[Trial]:
    """One trial per network."""
    data_std = options.data_std(study)
    train = replace(
        study.train,
        network=options.network,
        noise=names.law(options.law, data_std),
        weighting=options.weighting,
        parameterisation=options.parameterisation,
        stratified=options.stratified,
    )
    name, more = names.schedule(options.ladder, data_std)
    ladder = Ladder(name, options.n_steps, options.sigma_max, options.sigma_min, more)
    study, sampler = replace(study, train=train), names.sampler(options.sampler)
    for seed in study.seeds:
        score = study.score(study.model(seed), ladder, sampler, final_denoise=options.final_denoise)
        yield Trial("run", options.ladder, score, setting=f"{options.ladder}, {sampler.name}")
