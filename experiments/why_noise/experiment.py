"""Why does putting noise back help? Measures several explanations on data whose exact denoiser is known.

    python -m experiments why_noise --workers 2          laptop: about 15 minutes on two CPU cores
    python -m experiments why_noise --preset smoke       about half a minute: does everything work here?
    python -m experiments why_noise --preset gpu         five networks, 5,000 samples per run

A mixture of Gaussians is fitted to the digits and serves as the data distribution. Its exact denoiser is known, and
networks are trained on its draws. The effect of noise with the exact denoiser is the part of the steps. The additional
effect with a trained network is the part of the denoiser. Probes measure samples along the ladder (decomposition.py).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from diffusion_core.samplers import Euler, EulerWithin, Sampler
from experiments.config.comparison import BestOf, Contrast, against_first, by_setting, control
from experiments.config.config import Ladder
from experiments.config.identity import MIXTURE
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.questions import WhyNoise
from experiments.stages.fit_mixture import mixture_stage
from experiments.store.store import Store
from experiments.why_noise.decomposition import probes, write_decomposition
from experiments.why_noise.settings import PRESETS, Denoiser, WhyStudy, at_share, corrections, exact_model, worse

QUESTION = "Why does putting noise back help?"


def main(question: WhyNoise, options: Options) -> pd.DataFrame:
    """Why does putting noise back help? Steps, denoiser, inputs like training data, or contraction?

    Fits a mixture to the digits, trains networks on its draws, samples with the exact denoiser and with the trained
    networks, probes their trajectories, and writes a report. After an interrupt the same command continues where it
    stopped.
    """
    if options.model is not None:
        raise ValueError("model: this experiment needs networks trained on its own law; --model is for the others")
    study = options.apply(PRESETS[options.preset], question)
    if not all(0 < share < 1 for share in study.shares):
        raise ValueError(f"shares={study.shares}: each must lie between 0 and 1; the whole budget is trained anyway")
    etas, lengths = ({*study.etas, 0.0, 1.0}, {*study.n_steps, study.main_steps})
    study = replace(study, etas=tuple(sorted(etas)), n_steps=tuple(sorted(lengths)))
    config = replace(study.mixture, data=study.train.data)
    Console().print("fitting the mixture")
    store = Store(options.store)
    data = f"{MIXTURE}{store.path('mixtures', mixture_stage(config, store, options.data_root))}"
    study = replace(
        study,
        train=replace(study.train, data=data),
        reference=replace(study.reference, data=f"{data}#{study.reference_draws}"),
        mixture=config,
    )
    study = calibrated(study, trials, options)
    planned = list(trials(study))
    extras = partial(write_decomposition, study, planned, options.data_root)
    asked = [config for _, config in probes(study)]
    return run_experiment(
        Experiment("why_noise", QUESTION, planned, list(contrasts(planned)), write_extras=extras, probes=asked), options
    )


def trials(study: WhyStudy) -> Iterator[Trial | Infeasible]:
    """Every trial, for each seed in turn."""

    def trial(mode: str, setting: str, denoiser: Denoiser, n_steps: int, sampler: Sampler, **more: Any) -> Any:
        kind, model = denoiser
        ladder = Ladder(n_steps=n_steps)
        return study.trial("why_noise", mode, setting, model, ladder, sampler, denoiser=kind, **more)

    main = study.main_steps
    for seed in study.seeds:
        exact, trained = ("exact", exact_model(study, seed)), ("trained", study.model(seed))
        for n_steps in study.n_steps:
            for eta in study.etas:
                yield trial(f"exact, {n_steps} steps", f"eta {eta:g}", exact, n_steps, Euler(eta))
                yield trial(f"trained, {n_steps} steps", f"eta {eta:g}", trained, n_steps, Euler(eta))
        yield trial("control", "eta 0", trained, main, Euler(0.0), control=True)
        for mode, denoiser in worse(study, seed).items():
            for eta in study.etas:
                yield trial(mode, f"eta {eta:g}", denoiser, main, Euler(eta))
        yield trial("where", "nowhere", trained, main, Euler(0.0))
        for low, high in itertools.pairwise((0.0, *study.bands, np.inf)):
            yield trial("where", f"sigma {low:g} to {high:g}", trained, main, EulerWithin(1.0, low, high))
        for share in study.corrected:
            model = at_share(study, seed, share)
            kind = "trained" if share == 1 else "undertrained"
            for setting, sampler in corrections(study).items():
                yield trial(f"corrected, {model.images_seen} images", setting, (kind, model), main, sampler)


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestOf]:
    """With noise against without, for every denoiser and ladder. The best eta is chosen on half of the images."""
    modes = by_setting(planned)
    for mode, here in modes.items():
        if mode == "control":
            yield control("eta 0", here["eta 0"], modes["where"]["nowhere"])
        elif mode.startswith("corrected"):
            noise = {"eta 1": here["eta 1"]}
            candidates = {setting: trials for setting, trials in here.items() if setting != "eta 1"}
            yield from against_first("correction", mode, candidates)
            yield BestOf("best", mode, candidates)
            rivals = {setting: trials for setting, trials in candidates.items() if setting != "eta 0"}
            yield BestOf("rival", mode, rivals, rivals=noise)
        else:
            yield from against_first("where" if mode == "where" else "noise", mode, here)
            if len(here) > 1:
                yield BestOf("best", mode, here)
