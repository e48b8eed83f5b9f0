"""Why does putting noise back help? Several explanations, each measured where the truth is known.

    python -m experiments why_noise --workers 2          laptop: about 15 minutes on two CPU cores
    python -m experiments why_noise --preset smoke       under 20 seconds: does everything work here?
    python -m experiments why_noise --preset gpu         five networks, 5,000 samples a run

A mixture of Gaussians is fitted to the digits and becomes the truth: its exact denoiser is known, and networks are
trained on draws from it. What noise changes with the exact denoiser is the steps' part; what it changes beyond that
with a trained one is the denoiser's part. Probes then look at the way down the ladder (decomposition.py).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from rich.console import Console

from diffusion_core.samplers import Euler, EulerWithin, Sampler
from experiments.config.config import MIXTURE, Ladder, Model
from experiments.config.trial import Cell, Infeasible
from experiments.engine.options import Options
from experiments.engine.runner import run_experiment
from experiments.results.contrasts import Choice, Contrast, against_first, grouped
from experiments.stages.fit_mixture import mixture_stage
from experiments.store.store import Store
from experiments.why_noise.decomposition import Setting, probes, write_explanations
from experiments.why_noise.settings import PRESETS, WhyGrid, at_share, corrections, exact_model, worse

QUESTION = "Why does putting noise back help?"


@dataclass(frozen=True)
class WhyOptions(Options):
    """The command line."""

    n_steps: tuple[int, ...] | None = None
    """Lengths of the geometric ladders."""
    etas: tuple[float, ...] | None = None
    """Amounts of noise; 0 and 1 are always added."""
    shares: tuple[float, ...] | None = None
    """Shares of the training budget that worse networks are trained on."""


def main(options: Annotated[WhyOptions, tyro.conf.arg(name="")]) -> pd.DataFrame:
    """Why does putting noise back help? Steps, denoiser, inputs like training data, or contraction?

    Fits a mixture to the digits, trains networks on its draws, samples with the exact denoiser and with the trained
    ones, probes the way down the ladder, and writes a report. Interrupted, the same command goes on where it stopped.
    """
    if options.model is not None:
        raise ValueError("model: this experiment needs networks trained on its own law; --model is for the others")
    grid = options.apply(PRESETS[options.preset], "n_steps", "etas", "shares")
    if not all(0 < share < 1 for share in grid.shares):
        raise ValueError(f"shares={grid.shares}: each must lie between 0 and 1; the whole budget is trained anyway")
    etas, lengths = ({*grid.etas, 0.0, 1.0}, {*grid.n_steps, grid.main_steps})
    grid = replace(grid, etas=tuple(sorted(etas)), n_steps=tuple(sorted(lengths)))
    config = replace(grid.mixture, data=grid.train.data)
    Console().print("fitting the mixture")
    store = Store(options.store)
    data = f"{MIXTURE}{store.path('mixtures', mixture_stage(config, store, options.data_root))}"
    grid = replace(
        grid,
        train=replace(grid.train, data=data),
        reference=replace(grid.reference, data=f"{data}#{grid.reference_draws}"),
        mixture=config,
    )
    planned = list(runs(grid))
    explain = partial(write_explanations, grid, planned, options.data_root)
    cells = [cell for _, cell in planned]
    more: dict[str, Any] = {"explain": explain, "probes": [config for _, config in probes(grid)]}
    return run_experiment("why_noise", QUESTION, options, cells, list(contrasts(planned)), **more)


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
        for share in grid.corrected:
            model = at_share(grid, seed, share)
            mode = f"corrected, {model.images_seen} images"
            for label, sampler in corrections(grid).items():
                yield cell(mode, label, model, grid.main_steps, sampler)


def contrasts(planned: Sequence[tuple[Setting, Cell | Infeasible]]) -> Iterator[Contrast | Choice]:
    """Noise against none under every denoiser and ladder; the best eta of each is chosen on half of the images."""
    groups = grouped(planned)
    for mode in dict.fromkeys(mode for mode, _ in groups):
        here = {label: group for (m, label), group in groups.items() if m == mode}
        if mode == "control":
            main = next(g for (m, label), g in groups.items() if m == "where" and label == "nowhere")
            pairs = tuple(zip(here["eta 0"], main, strict=True))
            yield Contrast("control", "control", "eta 0, other noise", "eta 0", pairs)
        elif mode.startswith("corrected"):
            noise = {"eta 1": here.pop("eta 1")}
            yield from against_first("correction", mode, here)
            candidates = {label: cells for label, cells in here.items() if label != "eta 0"}
            yield Choice("rival", mode, candidates, rivals=noise)
        else:
            yield from against_first("where" if mode == "where" else "noise", mode, here)
