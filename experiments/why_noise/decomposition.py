"""What `why_noise` writes beside its runs: split.csv, whose part the gap is; probes.csv, what happens on the way."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diffusion_core.samplers.dialects import largest_eta
from experiments.config.config import Ladder, Model, identity
from experiments.config.trial import Cell, Infeasible
from experiments.metrics.distances import jackknife_se
from experiments.metrics.intervals import LEVEL, pooled
from experiments.results.contrasts import METRICS
from experiments.results.table import write_rows
from experiments.stages.common import load_meta
from experiments.stages.probe_setup import ProbeConfig
from experiments.stages.probes import COLUMNS, probe_stage
from experiments.store.store import Store
from experiments.why_noise.settings import WhyGrid, exact_model, worse

SPLIT_COLUMNS = (
    "part",
    "metric",
    "train_seed",
    "difference",
    "se",
    "low",
    "high",
    "level",
    "interval",
    "clear",
    "n_samples",
)
Setting = tuple[str, str]  # mode, label


def write_explanations(
    grid: WhyGrid,
    planned: Sequence[tuple[Setting, Cell | Infeasible]],
    data_root: Path | None,
    directory: Path,
    store: Store,
    done: Sequence[Cell],
    console: Console,
) -> None:
    """Writes probes.csv, what happens on the way, and split.csv, the steps' and the denoiser's part."""
    ok = {identity(cell.score) for cell in done}
    cells = {
        (*setting, cell.model.seed): cell
        for setting, cell in planned
        if isinstance(cell, Cell) and identity(cell.score) in ok
    }
    write_rows(directory / "split.csv", list(split(grid, cells, store)), SPLIT_COLUMNS)
    sampled = {cell.model for cell in done}  # of the others training failed, and a row says so
    work = [(name, config) for name, config in probes(grid) if config.model in sampled]
    work = [(name, config) for name, config in work if store.has("probes", identity(config))]  # else it failed
    rows: list[dict[str, Any]] = []
    for name, config in work:
        shared = {"denoiser": name, "train_seed": config.seed}
        rows += [shared | row for row in probe_stage(config, store, data_root)]
    write_rows(directory / "probes.csv", rows, ("denoiser", "train_seed", *COLUMNS))


def probes(grid: WhyGrid) -> Iterator[tuple[str, ProbeConfig]]:
    """(denoiser, probe) in turn. The exact denoiser makes no error, so only what does not ask for one is measured."""
    fp32 = replace(grid.train.machine, precision="fp32")  # a push is near bf16's rounding
    main = Ladder(n_steps=grid.main_steps)

    def probe(name: str, model: Model, **more: Any) -> ProbeConfig:
        usual: dict[str, Any] = {"etas": grid.probe_etas, "ladder": main, "n_samples": grid.probe_samples}
        return ProbeConfig(name, model, seed=model.seed, **(usual | {"machine": model.machine} | more))

    for seed in grid.seeds:
        exact, trained = exact_model(grid, seed), grid.model(seed)
        for ladder in (Ladder(n_steps=n_steps) for n_steps in grid.n_steps):
            yield "exact", probe("spread", exact, ladder=ladder, etas=_feasible(grid.probe_etas, ladder))
        yield "trained", probe("spread", trained)
        yield "trained", probe("visited", trained)
        for name, model in {"exact": exact, "trained": trained}.items():
            yield name, probe("level", model)
            yield name, probe("contraction", model, machine=fp32)
        for name, model in {"trained": trained, **worse(grid, seed)}.items():
            small = {"etas": (0.0, 1.0), "n_samples": grid.response_samples, "machine": fp32}
            yield name, probe("response", model, **small)


def _feasible(etas: Sequence[float], ladder: Ladder) -> tuple[float, ...]:
    """Those of the etas that every step of the ladder allows."""
    least = min(after / before for before, after in itertools.pairwise(ladder.sigmas()))
    return tuple(eta for eta in etas if eta <= largest_eta(least))


def split(grid: WhyGrid, cells: dict[tuple[str, str, int], Cell], store: Store) -> Iterator[dict[str, Any]]:
    """The gap eta 1 - eta 0 as a sum of parts: each network's, and pooled.

    total = trained(eta 1) - trained(eta 0); steps = exact(eta 1) - exact(eta 0); denoiser = total - steps. The four
    runs of a seed share their initial noise, and the jackknife leaves the same images out of all of them.
    """
    exact, trained = (f"{name}, {grid.main_steps} steps" for name in ("exact", "trained"))
    parts = {"steps": [(1, exact)]}  # sign and mode of eta 1 minus eta 0
    for name in (trained, *worse(grid, 0)):
        parts |= {f"total, {name}": [(1, name)], f"denoiser, {name}": [(1, name), (-1, exact)]}
    finest = [f"{name}, {max(grid.n_steps)} steps" for name in ("exact", "trained")]
    parts |= {"steps, longest ladder": [(1, finest[0])], "total, longest ladder": [(1, finest[1])]}
    parts |= {"denoiser, longest ladder": [(1, finest[1]), (-1, finest[0])]}
    for part, terms in parts.items():
        for metric in METRICS:
            differences, ses = [], []
            for seed in grid.seeds:
                keys = [
                    (sign * way, (mode, f"eta {eta}", seed)) for sign, mode in terms for way, eta in ((1, 1), (-1, 0))
                ]
                if not all(key in cells for _, key in keys):
                    continue
                metas = [(sign, load_meta("scores", cells[key].score, store)) for sign, key in keys]
                difference = sum(sign * meta[metric] for sign, meta in metas)
                replicates = np.sum([sign * np.asarray(meta[f"{metric}_replicates"]) for sign, meta in metas], axis=0)
                differences.append(float(difference))
                ses.append(jackknife_se(replicates))
                yield _line(grid, part, metric, seed, [differences[-1]], [ses[-1]])
            if differences:
                yield _line(grid, part, metric, None, differences, ses)


def _line(
    grid: WhyGrid, part: str, metric: str, seed: int | None, differences: list[float], ses: list[float]
) -> dict[str, Any]:
    estimate = pooled(differences, ses)
    shown = {name: getattr(estimate, name) for name in ("difference", "se", "low", "high", "interval", "clear")}
    return {"part": part, "metric": metric, "train_seed": seed, "level": LEVEL, "n_samples": grid.n_samples} | shown
