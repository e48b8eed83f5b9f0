"""Further files of `why_noise`: split.csv, the gap as a sum of parts; probes.csv, measurements along trajectories."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diffusion_core.samplers.dialects import largest_eta
from experiments.config.config import Ladder
from experiments.config.denoisers import ExactConfig, ModelConfig
from experiments.config.identity import identity
from experiments.config.trial import Infeasible, Trial
from experiments.metrics.distances import METRICS, jackknife_se
from experiments.metrics.intervals import LEVEL, pooled
from experiments.results.table import write_rows
from experiments.stages.common import load_meta
from experiments.stages.probe_setup import ProbeConfig
from experiments.stages.probes import COLUMNS, probe_stage
from experiments.store.store import Store
from experiments.why_noise.settings import WhyStudy, exact_model, worse

LONGEST = "longest ladder"  # mode of the parts on the longest ladder
SPLIT_COLUMNS = tuple(
    "part mode metric train_seed difference se low high level interval holds_for clear n_samples".split()
)


def write_decomposition(
    study: WhyStudy,
    planned: Sequence[Trial | Infeasible],
    data_root: Path | None,
    directory: Path,
    store: Store,
    done: Sequence[Trial],
    console: Console,
) -> None:
    """Writes probes.csv, measurements along trajectories, and split.csv, the parts of the steps and of the denoiser."""
    ok = {identity(trial.score) for trial in done}
    trials = {
        (trial.mode, trial.setting, trial.model.seed): trial
        for trial in planned
        if isinstance(trial, Trial) and identity(trial.score) in ok
    }
    write_rows(directory / "split.csv", list(split(study, trials, store)), SPLIT_COLUMNS)
    sampled = {trial.model for trial in done}  # other denoisers have no finished run
    work = [(name, config) for name, config in probes(study) if config.model in sampled]
    work = [(name, config) for name, config in work if store.has("probes", identity(config))]  # else the probe failed
    rows: list[dict[str, Any]] = []
    for name, config in work:
        shared = {"denoiser": name, "train_seed": config.seed}
        rows += [shared | row for row in probe_stage(config, store, data_root)]
    write_rows(directory / "probes.csv", rows, ("denoiser", "train_seed", *COLUMNS))


def probes(study: WhyStudy) -> Iterator[tuple[str, ProbeConfig]]:
    """Yields (denoiser, probe). The exact denoiser makes no error, so it gets no probe that measures one."""
    eager = replace(study.machine, compiled=False)
    fp32 = replace(eager, precision="fp32")  # a push is about as small as bf16's rounding
    main = Ladder(n_steps=study.main_steps)

    def probe(name: str, model: ModelConfig, **more: Any) -> ProbeConfig:
        usual: dict[str, Any] = {"etas": study.probe_etas, "ladder": main, "n_samples": study.probe_samples}
        machine = model.machine if isinstance(model, ExactConfig) else eager
        return ProbeConfig(name, model, seed=model.seed, **(usual | {"machine": machine} | more))

    for seed in study.seeds:
        exact, trained = exact_model(study, seed), study.model(seed)
        for ladder in (Ladder(n_steps=n_steps) for n_steps in study.n_steps):
            yield "exact", probe("spread", exact, ladder=ladder, etas=_feasible(study.probe_etas, ladder))
        yield "trained", probe("spread", trained)
        yield "trained", probe("visited", trained)
        for name, model in {"exact": exact, "trained": trained}.items():
            yield name, probe("level", model)
            yield name, probe("contraction", model, machine=fp32)
        less = {mode: model for mode, (_, model) in worse(study, seed).items()}
        for name, model in {"trained": trained, **less}.items():
            small = {"etas": (0.0, 1.0), "n_samples": study.response_samples, "machine": fp32}
            yield name, probe("response", model, **small)


def _feasible(etas: Sequence[float], ladder: Ladder) -> tuple[float, ...]:
    """The etas that every step of the ladder allows."""
    least = min(after / before for before, after in itertools.pairwise(ladder.sigmas()))
    return tuple(eta for eta in etas if eta <= largest_eta(least))


def split(study: WhyStudy, trials: dict[tuple[str, str, int], Trial], store: Store) -> Iterator[dict[str, Any]]:
    """Yields the gap eta 1 - eta 0 as a sum of parts, per network and pooled.

    total = trained(eta 1) - trained(eta 0); steps = exact(eta 1) - exact(eta 0); denoiser = total - steps. The four
    runs of a seed share their initial noise, and the jackknife leaves out the same images of all four.
    """
    exact, trained = (f"{name}, {study.main_steps} steps" for name in ("exact", "trained"))
    parts = {("steps", exact): [(1, exact)]}  # (part, mode) -> (sign, mode) of each eta 1 - eta 0
    for mode in (trained, *worse(study, 0)):
        parts |= {("total", mode): [(1, mode)], ("denoiser", mode): [(1, mode), (-1, exact)]}
    finest = [f"{name}, {max(study.n_steps)} steps" for name in ("exact", "trained")]
    parts |= {("steps", LONGEST): [(1, finest[0])], ("total", LONGEST): [(1, finest[1])]}
    parts |= {("denoiser", LONGEST): [(1, finest[1]), (-1, finest[0])]}
    for (part, mode), terms in parts.items():
        for metric in METRICS:
            differences, ses = [], []
            for seed in study.seeds:
                keys = [
                    (sign * way, (mode, f"eta {eta}", seed)) for sign, mode in terms for way, eta in ((1, 1), (-1, 0))
                ]
                if not all(key in trials for _, key in keys):
                    continue
                metas = [(sign, load_meta("scores", trials[key].score, store)) for sign, key in keys]
                difference = sum(sign * meta[metric] for sign, meta in metas)
                replicates = np.sum([sign * np.asarray(meta[f"{metric}_replicates"]) for sign, meta in metas], axis=0)
                differences.append(float(difference))
                ses.append(jackknife_se(replicates))
                yield _line(study, part, mode, metric, seed, [differences[-1]], [ses[-1]])
            if differences:
                yield _line(study, part, mode, metric, None, differences, ses)


def _line(
    study: WhyStudy, part: str, mode: str, metric: str, seed: int | None, differences: list[float], ses: list[float]
) -> dict[str, Any]:
    estimate = pooled(differences, ses)
    shown = {
        name: getattr(estimate, name) for name in ("difference", "se", "low", "high", "interval", "holds_for", "clear")
    }
    shared = {"part": part, "mode": mode, "metric": metric, "train_seed": seed}
    return shared | {"level": LEVEL, "n_samples": study.n_samples} | shown
