"""Why does putting noise back help? Four explanations, each measured where the truth is known.

    python -m experiments why_noise                      laptop: about 20 minutes on two CPU cores
    python -m experiments why_noise --preset smoke       under 40 seconds: does everything work here?
    python -m experiments why_noise --preset gpu         five networks, 5,000 samples a run

A mixture of Gaussians is fitted to the digits and becomes the truth: its exact denoiser is known, and networks are
trained on draws from it. What noise changes with the exact denoiser is the steps' part; what it changes beyond that
with a trained one is the denoiser's part. Probes then look at the way down the ladder (probes.py).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from rich.console import Console
from rich.progress import track

from diffusion_core.solvers import Euler, EulerWithin, Sampler
from experiments import stages
from experiments.cells import Cell, Infeasible
from experiments.config import MIXTURE, ExactConfig, Ladder, Model, TrainConfig, identity
from experiments.contrasts import METRICS, Choice, Contrast, against_first, grouped
from experiments.grid import Grid
from experiments.intervals import LEVEL, pooled
from experiments.metrics import jackknife_se
from experiments.mixture import MixtureConfig, mixture_stage
from experiments.options import Options
from experiments.probes import COLUMNS, PROBES, ProbeConfig, probe_stage
from experiments.publish import run_experiment
from experiments.rows import write_rows
from experiments.store import Store

QUESTION = "Why does putting noise back help?"
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


@dataclass(frozen=True)
class WhyGrid(Grid):
    """What the experiment varies."""

    train: TrainConfig = field(default_factory=lambda: TrainConfig(images_seen=150_000))
    n_steps: tuple[int, ...] = (16, 32, 66, 132)
    main_steps: int = 66  # of the ladder on which everything but the number of steps is varied
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4)
    shares: tuple[float, ...] = (0.02, 0.1, 0.3)  # of the training budget, for worse networks
    errors: tuple[float, ...] = (0.05, 0.1, 0.2)  # added to the exact denoiser, see ExactConfig
    bands: tuple[float, ...] = (0.285, 2.85)  # between levels of the main ladder; noise is put back, or not
    probe_etas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    probe_samples: int = 256
    mixture: MixtureConfig = field(default_factory=MixtureConfig)


PRESETS = {
    "smoke": WhyGrid(
        train=TrainConfig(images_seen=640, warmup_images=320),
        n_samples=132,  # just above the dimension of the features
        n_steps=(4, 8),
        main_steps=8,
        etas=(0.0, 1.0),
        shares=(0.1,),
        errors=(0.1,),
        probe_etas=(0.0, 1.0),
        probe_samples=40,
        mixture=MixtureConfig(n_components=3, rank=4, em_steps=1),
    ),
    "laptop": WhyGrid(),
    "gpu": WhyGrid(
        train=TrainConfig(images_seen=50 * 60_000),
        train_seeds=5,
        n_samples=5_000,
        n_steps=(16, 32, 66, 132, 264),
        etas=(0.0, 0.25, 0.5, 0.75, 1.0, 1.4, 2.0),
        shares=(0.02, 0.1, 0.3),
        probe_samples=2048,
    ),
}


@dataclass(frozen=True)
class WhyOptions(Options):
    """The command line."""

    n_steps: tuple[int, ...] | None = None
    """Lengths of the geometric ladders."""
    etas: tuple[float, ...] | None = None
    """Amounts of noise; 0 and 1 are always added."""


def main(options: Annotated[WhyOptions, tyro.conf.arg(name="")]) -> pd.DataFrame:
    """Why does putting noise back help? Steps, denoiser, inputs like training data, or contraction?

    Fits a mixture to the digits, trains networks on its draws, samples with the exact denoiser and with the trained
    ones, probes the way down the ladder, and writes a report. Interrupted, the same command goes on where it stopped.
    """
    if options.model is not None:
        raise ValueError("model: this experiment needs networks trained on its own law; --model is for the others")
    grid = options.apply(PRESETS[options.preset], "n_steps", "etas")
    etas, lengths = ({*grid.etas, 0.0, 1.0}, {*grid.n_steps, grid.main_steps})
    grid = replace(grid, etas=tuple(sorted(etas)), n_steps=tuple(sorted(lengths)))
    config = replace(grid.mixture, data=grid.train.data)
    Console().print("fitting the mixture")
    store = Store(options.store)
    data = f"{MIXTURE}{store.path('mixtures', mixture_stage(config, store, options.data_root))}"
    grid = replace(
        grid,
        train=replace(grid.train, data=data),
        reference=replace(grid.reference, data=f"{data}#reference"),
        mixture=config,
    )
    planned = list(runs(grid))
    explain = partial(write_explanations, grid, planned, options.data_root)
    cells = [cell for _, cell in planned]
    return run_experiment("why_noise", QUESTION, options, cells, list(contrasts(planned)), explain=explain)


Setting = tuple[str, str]  # mode, label


def runs(grid: WhyGrid) -> Iterator[tuple[Setting, Cell | Infeasible]]:
    """Every cell with its setting, for each seed in turn."""

    def cell(mode: str, label: str, model: Model, n_steps: int, sampler: Sampler, **more: Any) -> Any:
        return (mode, label), grid.cell("why_noise", mode, model, Ladder(n_steps=n_steps), sampler, **more)

    for seed in grid.seeds:
        exact, trained = exact_model(grid, seed), grid.model(seed)
        for n_steps in grid.n_steps:
            for eta in grid.etas:
                yield cell(f"exact, {n_steps} steps", f"eta {eta:g}", exact, n_steps, Euler(eta))
                yield cell(f"trained, {n_steps} steps", f"eta {eta:g}", trained, n_steps, Euler(eta))
        yield cell("control", "eta 0", trained, grid.main_steps, Euler(0.0), control=True)
        for name, model in worse(grid, seed).items():
            for eta in grid.etas:
                yield cell(name, f"eta {eta:g}", model, grid.main_steps, Euler(eta))
        edges = (0.0, *grid.bands, np.inf)
        yield cell("where", "nowhere", trained, grid.main_steps, Euler(0.0))
        for low, high in itertools.pairwise(edges):
            label = f"sigma {low:g} to {high:g}"
            yield cell("where", label, trained, grid.main_steps, EulerWithin(1.0, low, high))


def exact_model(grid: WhyGrid, seed: int, error: float = 0.0) -> ExactConfig:
    """The exact denoiser, on the device of the networks, in fp32."""
    return ExactConfig(grid.train.data, error, seed, machine=replace(grid.train.machine, precision="fp32"))


def worse(grid: WhyGrid, seed: int) -> dict[str, Model]:
    """Denoisers with more error: networks trained less, and the exact one with an error added."""
    out: dict[str, Model] = {}
    for share in grid.shares:
        seen = round(share * grid.train.images_seen)
        out[f"trained on {seen} images"] = replace(grid.train, seed=seed, images_seen=seen)
    for error in grid.errors:
        out[f"exact + error {error:g}"] = exact_model(grid, seed, error)
    return out


def contrasts(planned: Sequence[tuple[Setting, Cell | Infeasible]]) -> Iterator[Contrast | Choice]:
    """Noise against none under every denoiser and ladder; the best eta of each is chosen on half of the images."""
    groups = grouped(planned)
    for mode in dict.fromkeys(mode for mode, _ in groups):
        here = {label: group for (m, label), group in groups.items() if m == mode}
        if mode == "control":
            main = next(g for (m, label), g in groups.items() if m == "where" and label == "nowhere")
            pairs = tuple(zip(here["eta 0"], main, strict=True))
            yield Contrast("control", "control", "eta 0, other noise", "eta 0", pairs)
        else:
            yield from against_first("where" if mode == "where" else "noise", mode, here)


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
    work = [
        (name, seed, probe, model)
        for seed in grid.seeds
        for name, model in (("exact", exact_model(grid, seed)), ("trained", grid.model(seed)))
        for probe in PROBES
        if (name, probe) != ("exact", "visited")  # the exact denoiser has no error
        and any(cell.model == model for cell in done)  # else its training failed, and a row says so
    ]
    rows: list[dict[str, Any]] = []
    fp32 = replace(grid.train.machine, precision="fp32")
    for name, seed, probe, model in track(work, "probes", console=console, disable=not console.is_terminal):
        config = ProbeConfig(
            probe,
            model,
            grid.probe_etas,
            Ladder(n_steps=grid.main_steps),
            grid.probe_samples,
            seed,
            machine=fp32 if probe == "contraction" else model.machine,  # a push is near bf16's rounding
        )
        shared = {"denoiser": name, "train_seed": seed}
        rows += [shared | row for row in probe_stage(config, store, data_root)]
    write_rows(directory / "probes.csv", rows, ("denoiser", "train_seed", *COLUMNS))


def split(grid: WhyGrid, cells: dict[tuple[str, str, int], Cell], store: Store) -> Iterator[dict[str, Any]]:
    """The gap eta 1 - eta 0 as a sum of parts: each network's, and pooled.

    total = trained(eta 1) - trained(eta 0); steps = exact(eta 1) - exact(eta 0); denoiser = total - steps. The four
    runs of a seed share their initial noise, and the jackknife leaves the same images out of all of them.
    """
    exact, trained = (f"{name}, {grid.main_steps} steps" for name in ("exact", "trained"))
    parts = {"steps": [(1, exact)]}  # sign and mode of eta 1 minus eta 0
    for name in (trained, *(mode for mode in worse(grid, 0) if mode.startswith("trained on"))):
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
                metas = [(sign, stages.load_meta("scores", cells[key].score, store)) for sign, key in keys]
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
