"""Why does putting noise back help? Exchanges networks and exact denoisers at some noise levels, and compares gains.

    python -m experiments why_noise                      laptop: two to three hours on two CPU cores
    python -m experiments why_noise --n-samples 512      about an hour, with wider intervals
    python -m experiments why_noise --real               the data themselves: about 20 minutes
    python -m experiments why_noise --preset smoke       about 20 seconds: does everything work here?
    python -m experiments why_noise --preset gpu         longer training, up to 6,000 samples per run

A mixture of Gaussians is fitted to the digits and serves as the data distribution. Its exact denoiser is known, and
networks are trained on its draws. Then a denoiser can be the network in one band of noise levels, and exact at all
others. The gain from noise (eta 1 against eta 0) with each of them shows which errors noise repairs. arms.py lists what
is compared, gains.py measures the gains, measurements.py looks at inputs and errors along the way.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from diffusion_core.fields import check_range
from experiments.config.comparison import Contrast, against_first, by_setting, control
from experiments.config.config import MIN_SAMPLES
from experiments.config.identity import MIXTURE
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.store.store import Store
from experiments.studies.noise_levels import PRESETS as OF_TRAINING
from experiments.why_noise.arms import BOTH, NONE, arms
from experiments.why_noise.gains import write_gains
from experiments.why_noise.measurements import probes
from experiments.why_noise.settings import COMMAND, WhyStudy
from reports.terminal import Terminal


def main(study: WhyStudy, options: Options) -> pd.DataFrame:
    """Runs the experiment and writes its report. Returns the table."""
    if options.model is not None:
        raise ValueError("model: this experiment needs networks that it trained itself; --model is for the others")
    if study.real:  # networks and held-out images as in `noise_levels`
        usual = OF_TRAINING[options.preset]
        data = study.data if "data" in options.given else usual.data
        lengths = study.lengths if "lengths" in options.given else usual.lengths
        study = replace(study, data=data, lengths=lengths, held_out=usual.held_out)
    study = options.apply(study)
    if study.real and (unused := sorted({"n_steps", "n_others"} & options.given)):
        raise ValueError(f"{unused[-1]}: it is for a mixture, and has no effect with --real")
    if {"lengths", "train_images"} <= options.given:
        raise ValueError("lengths, train_images: both set the images seen in training; give one of them")
    if "train_images" in options.given:
        study = replace(study, lengths=(study.train_images,))
    if not study.lengths:
        raise ValueError("lengths: at least one is needed")
    check_range("n_others", study.n_others, MIN_SAMPLES)
    least = study.ladder().sigmas()[-2]  # so that at least one step is left below each
    if not all(least < low < high for low, high in itertools.pairwise((*study.bands, math.inf))):
        raise ValueError(f"bands={study.bands}: they must ascend from above {least:.3g}, the last level but one")
    study = replace(study, etas=tuple(sorted({*study.etas, *BOTH})), lengths=tuple(sorted(study.lengths)))
    words = None if study.real else f"draws from a mixture fitted to {study.data}"
    if not study.real:
        study = on_a_mixture(study, options)
    elif "n_samples" not in options.given:  # the data hold too few images for more
        study = replace(study, n_samples=min(study.n_others, study.n_samples))
    study = calibrated(study, trials, options)
    planned = list(trials(study))
    asked = [] if study.real else [config for _, config in probes(study)]
    extras = partial(write_gains, study, options.data_root)
    return run_experiment(
        Experiment(
            "why_noise", COMMAND.question, planned, list(contrasts(planned)), write_extras=extras, probes=asked,
            folder="why_noise-real" if study.real else None, data=words,
        ),
        options,
    )  # fmt: skip


def on_a_mixture(study: WhyStudy, options: Options) -> WhyStudy:
    """The study with a fitted mixture as its data."""
    config = MixtureConfig(study.data, **dict(study.mixture))
    Terminal().print("fitting the mixture")
    store = Store(options.store)
    data = f"{MIXTURE}{store.root / 'mixtures' / mixture_stage(config, store, options.data_root)}"
    assert study.reference is not None
    reference = replace(study.reference, data=f"{data}#{study.reference_draws}")
    return replace(study, data=data, reference=reference)


def trials(study: WhyStudy) -> Iterator[Trial | Infeasible]:
    """Every trial, for each seed in turn, and the A/A control of the longest trained network."""
    for seed in study.seeds:
        last, known = None, set[str]()
        for arm in arms(study, seed):
            if arm.name in known:  # a denoiser that belongs to two parts
                continue
            known.add(arm.name)
            sized = study.of(arm.main)
            for setting, sampler in arm.settings.items():
                yield sized.trial(
                    "why_noise", arm.name, setting, arm.model, arm.ladder, sampler, denoiser=arm.kind,
                    fresh_start=arm.fresh_start,
                )  # fmt: skip
            last = arm if (arm.part, arm.kind) == ("whole", "network") else last
        assert last is not None
        yield study.trial(
            "why_noise", "control", NONE, last.model, last.ladder, last.settings[NONE], denoiser=last.kind, control=True
        )


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast]:
    """With noise against without, for every arm; and the control."""
    modes = by_setting(planned)
    again = modes.pop("control", {}).get(NONE, ())
    same = [groups for groups in modes.values() if again and NONE in groups and _repeats(again[0], groups[NONE][0])]
    for mode, groups in modes.items():
        yield from against_first("noise", mode, groups)
        if same and groups is same[0]:
            yield control(NONE, again, groups[NONE])


def _repeats(again: Trial, trial: Trial) -> bool:
    """Whether it is the same run with another seed."""
    return (again.model, again.samples.ladder) == (trial.model, trial.samples.ladder)
