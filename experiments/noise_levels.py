"""Which noise levels should a denoiser be trained on, and with which weights, at an equal training budget?

    python -m experiments noise_levels                      laptop: about 7 minutes on two CPU cores
    python -m experiments noise_levels --preset smoke       about 20 seconds: does everything work here?
    python -m experiments noise_levels --laws log-normal "log-normal(0, 1)" --weightings karras unit-eps --cross
    python -m experiments noise_levels --map                about an hour: which P_mean and P_std of the log-normal?

The first noise distribution, weighting and parameterisation are the baseline. One of them is changed at a time; --cross
trains every combination. Networks that differ only in their seed differ as much as many settings do. So five networks
are trained per setting, and intervals are over networks. The control retrains the baseline. The held-out error as a
function of sigma shows at which noise levels a setting gains or loses. All contrasts are exploratory.

With --map, the settings are log-normal distributions on a grid of P_mean and P_std, after two lengths of training. For
each of them, the gain from noise (eta 1 against eta 0) is measured too.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler
from diffusion_core.schedules import geometric
from experiments.config import names
from experiments.config.comparison import BestSet, Contrast, against_first, by_setting, control, grouped
from experiments.config.config import Ladder
from experiments.config.identity import identity
from experiments.config.study import CONTROL
from experiments.config.trained import TrainConfig
from experiments.config.trial import Infeasible, Trial, described
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.results import claims
from experiments.results.table import row, write_rows
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
    _check_map(study, options)
    for name in ("laws", "weightings", "parameterisations", "etas", "p_means", "p_stds", "lengths"):
        if not getattr(study, name):
            raise ValueError(f"{name}: at least one is needed")
    if "train_images" in options.given:
        study = replace(study, lengths=(study.train_images,))
    study = replace(study, lengths=tuple(sorted(study.lengths)))
    data_std = options.data_std(study)
    study = calibrated(study, partial(trials, data_std=data_std), options)
    planned = list(trials(study, data_std))
    extras = partial(write_extras, study, options.data_root)
    return run_experiment(
        Experiment(
            "noise_levels", COMMAND.question, planned, list(contrasts(planned)), write_extras=extras,
            probes=list(curves(planned).values()),
        ),
        options,
    )  # fmt: skip


def _check_map(study: NoiseStudy, options: Options) -> None:
    """Raises ValueError for options that would have no effect, with or without --map."""
    of_map, of_lists = ("p_means", "p_stds", "lengths"), ("laws", "weightings", "parameterisations", "cross")
    if unused := [name for name in (of_lists if study.map else of_map) if name in options.given]:
        raise ValueError(f"{unused[0]}: it has no effect {'with' if study.map else 'without'} --map")
    if {"lengths", "train_images"} <= options.given:
        raise ValueError("lengths, train_images: both set the images seen in training; give one of them")


def settings(study: NoiseStudy, data_std: float) -> dict[str, TrainConfig]:
    """Label -> training config. The first is the baseline."""
    if study.map:
        grid = itertools.product(study.p_means, study.p_stds)
        return {f"P_mean {m:g}, P_std {s:g}": replace(study.train, noise=LogNormal(m, s)) for m, s in grid}
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
    lengths = study.lengths if study.map else (study.train.images_seen,)
    for seed, images_seen in itertools.product(study.seeds, lengths):
        after = f" after {images_seen:,} images" if len(lengths) > 1 else ""
        for number, (setting, train) in enumerate(settings(study, data_std).items()):
            model = replace(train, seed=seed, images_seen=images_seen)
            for eta in study.etas:
                yield study.trial("noise_levels", f"eta {eta:g}{after}", setting, model, ladder, Euler(eta))
            if number == 0 and images_seen == lengths[-1]:  # settings differ in their network, so the control does too
                again = replace(model, seed=seed + CONTROL)
                yield study.trial("noise_levels", "control", setting, again, ladder, Euler(study.etas[0]))


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestSet]:
    """With each sampler: every setting against the baseline, and the set of the best settings.

    After several lengths of training, also each network with noise against the same network without.
    """
    modes = by_setting(planned)
    controls = modes.pop("control", {})
    for mode, here in modes.items():
        yield from against_first("setting", mode, here, family="setting")
        yield BestSet(mode, here)
    for setting, trials in controls.items():
        main = next(here[setting] for here in modes.values() if _kind(here[setting][0]) == _kind(trials[0]))
        yield control(setting, trials, main, retrained=True)
    yield from gains(planned)


def _kind(trial: Trial) -> tuple[float, int]:
    """Its eta, and the images that its network has seen."""
    labels = described(trial)
    return labels["eta"], labels["images_seen"]


def gains(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast]:
    """Every network with the most noise against the same network with the least, if there are several lengths.

    One contrast per setting and length of training.
    """
    main = [trial for trial in planned if isinstance(trial, Trial) and trial.mode != "control"]
    groups = grouped(main, lambda trial: itemgetter("setting", "images_seen", "eta")(described(trial)))
    etas, kinds = sorted({eta for *_, eta in groups}), dict.fromkeys(key[:2] for key in groups)
    if len(etas) < 2 or len({images_seen for _, images_seen in kinds}) < 2:
        return
    for setting, images_seen in kinds:
        here = {f"eta {eta:g}": groups[setting, images_seen, eta] for eta in (etas[0], etas[-1])}
        yield from against_first("noise", f"{setting} after {images_seen:,} images", here)


def curves(planned: Iterable[Trial | Infeasible]) -> dict[TrainConfig, CurveConfig]:
    """The held-out error of each network that is compared."""
    models = dict.fromkeys(t.model for t in planned if isinstance(t, Trial) and t.mode != "control")
    return {model: CurveConfig(model, machine=model.machine) for model in models if isinstance(model, TrainConfig)}


def write_extras(
    study: NoiseStudy, data_root: Path | None, directory: Path, store: Store, done: Sequence[Trial], console: Console
) -> None:
    """Writes curves.csv, the held-out error of each network, and densities.csv, the noise distributions of training.

    With --map also claims.csv, what these errors say about the gain from noise.
    """
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
    if study.map:
        rows = [row(trial, store, None) for trial in done if trial.mode != "control" and trial.model in measured]
        found = claims.claim_rows(rows, lines, study.p_means[0], study.p_stds[0])
        write_rows(directory / "claims.csv", list(found))
    sigmas = geometric(DENSITY_POINTS - 1, *SIGMA_RANGE)
    densities = [
        {"train_noise": law.name, "sigma": sigma, "density": value}
        for law in dict.fromkeys(model.noise for model in measured)
        for sigma, value in zip(sigmas, density(law, sigmas), strict=True)
    ]
    write_rows(directory / "densities.csv", densities)
