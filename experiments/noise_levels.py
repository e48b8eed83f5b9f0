"""Which noise levels should a denoiser be trained on, and with which weights, at an equal training budget?

    python -m experiments noise_levels                      laptop: about 7 minutes on two CPU cores
    python -m experiments noise_levels --preset smoke       about 20 seconds: does everything work here?
    python -m experiments noise_levels --laws log-normal "log-normal(0, 1)" --weightings karras unit-eps --cross

The first noise distribution, weighting and parameterisation are the baseline. One of them is changed at a time; --cross
trains every combination. Networks that differ only in their seed differ as much as many settings do. So five networks
are trained per setting, and intervals are over networks. The control retrains the baseline. The held-out error as a
function of sigma shows at which noise levels a setting gains or loses. All contrasts are exploratory.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from diffusion_core.samplers import Euler
from diffusion_core.schedules import geometric
from experiments.config.comparison import BestSet, Contrast, against_first, by_setting, control
from experiments.config.config import Ladder
from experiments.config.identity import identity
from experiments.config.study import CONTROL
from experiments.config.trained import TrainConfig
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.own import names
from experiments.results.table import write_rows
from experiments.stages.error_curve import SIGMA_RANGE, CurveConfig, density
from experiments.stages.probe import probe_stage
from experiments.store.store import Store
from experiments.studies.noise_levels import COMMAND, NoiseStudy

DENSITY_POINTS = 201


def main(study: NoiseStudy, options: Options) -> pd.DataFrame:
    """Runs the experiment and writes its report. Returns the table."""
    if options.model is not None:
        raise ValueError("model: this experiment compares ways to train; --model is for other commands")
    study = options.apply(study)
    for name in ("laws", "weightings", "parameterisations", "etas"):
        if not getattr(study, name):
            raise ValueError(f"{name}: at least one is needed")
    data_std = options.data_std(study)
    study = calibrated(study, partial(trials, data_std=data_std), options)
    planned = list(trials(study, data_std))
    extras = partial(write_extras, options.data_root)
    return run_experiment(
        Experiment(
            "noise_levels", COMMAND.question, planned, list(contrasts(planned)), write_extras=extras,
            probes=list(curves(planned).values()),
        ),
        options,
    )  # fmt: skip


def settings(study: NoiseStudy, data_std: float) -> dict[str, TrainConfig]:
    """Label -> training config. The first is the baseline."""
    axes = (study.laws, study.weightings, study.parameterisations)
    first = tuple(axis[0] for axis in axes)
    out: dict[str, TrainConfig] = {}
    for setting in itertools.product(*axes):
        if study.cross or sum(a != b for a, b in zip(setting, first, strict=True)) <= 1:
            law, weighting, parameterisation = setting
            changes = [law, *(value for value, usual in zip(setting[1:], first[1:], strict=True) if value != usual)]
            out[", ".join(changes)] = replace(
                study.train, noise=names.law(law, data_std), weighting=weighting, parameterisation=parameterisation
            )
    return out


def trials(study: NoiseStudy, data_std: float) -> Iterator[Trial | Infeasible]:
    """Every trial, for each seed in turn."""
    ladder = Ladder(n_steps=study.n_steps, sigma_min=study.sigma_min)
    for seed in study.seeds:
        for number, (setting, train) in enumerate(settings(study, data_std).items()):
            model = replace(train, seed=seed)
            for eta in study.etas:
                yield study.trial("noise_levels", f"eta {eta:g}", setting, model, ladder, Euler(eta))
            if number == 0:  # settings differ in their network, so the control does too
                again = replace(model, seed=seed + CONTROL)
                yield study.trial("noise_levels", "control", setting, again, ladder, Euler(study.etas[0]))


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestSet]:
    """With each sampler: every setting against the baseline, and the set of the best settings. Then the control."""
    modes = by_setting(planned)
    controls = modes.pop("control", {})
    for mode, here in modes.items():
        yield from against_first("setting", mode, here, family="setting")
        yield BestSet(mode, here)
    for setting, trials in controls.items():
        main = next(
            here[setting] for here in modes.values() if here[setting][0].samples.sampler == trials[0].samples.sampler
        )
        yield control(setting, trials, main, retrained=True)


def curves(planned: Iterable[Trial | Infeasible]) -> dict[TrainConfig, CurveConfig]:
    """The held-out error of each network that is compared."""
    models = dict.fromkeys(t.model for t in planned if isinstance(t, Trial) and t.mode != "control")
    return {model: CurveConfig(model, machine=model.machine) for model in models if isinstance(model, TrainConfig)}


def write_extras(
    data_root: Path | None, directory: Path, store: Store, done: Sequence[Trial], console: Console
) -> None:
    """Writes curves.csv, the held-out error of each network, and densities.csv, the noise distributions of training."""
    measured = {model: curve for model, curve in curves(done).items() if store.has("probes", identity(curve))}
    lines: list[dict[str, Any]] = []
    for model, curve in measured.items():
        shared = {
            "model_id": identity(model),
            "train_noise": model.noise.name,
            "weighting": model.weighting,
            "parameterisation": model.parameterisation,
            "train_seed": model.seed,
            "images_seen": model.images_seen,
        }
        lines += [shared | point for point in probe_stage(curve, store, data_root)]
    write_rows(directory / "curves.csv", lines)
    sigmas = geometric(DENSITY_POINTS - 1, *SIGMA_RANGE)
    densities = [
        {"train_noise": law.name, "sigma": sigma, "density": value}
        for law in dict.fromkeys(model.noise for model in measured)
        for sigma, value in zip(sigmas, density(law, sigmas), strict=True)
    ]
    write_rows(directory / "densities.csv", densities)
