"""Is beta > 0 really better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    python -m experiments beta                      laptop: four to six minutes on two CPU cores
    python -m experiments beta --preset smoke       under 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 samples a run

The primary contrast is fixed beforehand: eta = 1 against eta = 0 on the geometric ladder of 66 steps from 30 to 0.03,
by kernel distance. Everything else explores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import pandas as pd
import tyro

from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler
from experiments.config.config import AlphaBetaLadder, Ladder, TrainConfig
from experiments.config.study import Grid
from experiments.config.trial import Cell, Infeasible
from experiments.engine.options import Options
from experiments.engine.runner import run_experiment
from experiments.results.contrasts import Choice, Contrast, against_first, grouped

QUESTION = "Is beta > 0 better than beta = 0?"
FIXED_BEFOREHAND = (66, LogNormal())  # steps and training law of the primary contrast


@dataclass(frozen=True)
class BetaGrid(Grid):
    """What the experiment varies."""

    n_steps: int = 66  # of the primary contrast's ladder
    alpha: float = 0.1  # of same-alpha
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.4)  # same-alpha
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)  # same-ladder
    pareto_steps: tuple[int, ...] = (8, 16, 32, 66)
    pareto_etas: tuple[float, ...] = (0.0, 0.5, 1.0)


PRESETS = {
    "smoke": BetaGrid(
        train=TrainConfig(images_seen=640, warmup_images=320),
        n_samples=132,  # just above the dimension of the features
        n_steps=4,
        alpha=0.8,
        betas=(0.0, 0.4),
        etas=(0.0, 1.0),
        pareto_steps=(2, 4),
        pareto_etas=(0.0, 1.0),
    ),
    "laptop": BetaGrid(),
    "gpu": BetaGrid(train=TrainConfig(data="mnist", images_seen=50 * 60_000), train_seeds=5, n_samples=10_000),
}


@dataclass(frozen=True)
class BetaOptions(Options):
    """The command line."""

    n_steps: int | None = None
    """Steps of the primary contrast's ladder (66)."""
    betas: tuple[float, ...] | None = None
    """Values of beta at fixed alpha = 0.1; 0 is always added."""
    etas: tuple[float, ...] | None = None
    """Values of eta on the primary ladder; 0 and 1 are always added."""
    pareto_steps: tuple[int, ...] | None = None
    """Ladder lengths of the quality-against-evaluations grid."""
    pareto_etas: tuple[float, ...] | None = None
    """Values of eta of that grid; 0 is always added."""
    only_primary: bool = False
    """Run the primary contrast and its A/A control only."""


def main(options: Annotated[BetaOptions, tyro.conf.arg(name="")]) -> pd.DataFrame:
    """Is beta > 0 better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    Trains networks, samples from them with and without fresh noise, scores the samples against real images and writes
    a report. Interrupted, the same command goes on where it stopped. Returns the table.
    """
    grid = options.apply(PRESETS[options.preset], "n_steps", "betas", "etas", "pareto_steps", "pareto_etas")
    if options.only_primary:
        grid = replace(grid, betas=(), etas=(), pareto_steps=(), pareto_etas=())
    else:
        grid = replace(
            grid,
            betas=_with(grid.betas, 0.0),
            etas=_with(grid.etas, 0.0, 1.0),
            pareto_etas=_with(grid.pareto_etas, 0.0),
        )
    planned = list(runs(grid))
    fixed = grid.foreign is None and (grid.n_steps, grid.train.noise) == FIXED_BEFOREHAND
    return run_experiment("beta", QUESTION, options, planned, list(contrasts(planned)), fixed_beforehand=fixed)


def runs(grid: BetaGrid) -> Iterator[Cell | Infeasible]:
    """Every cell of the experiment, for each network in turn."""
    for seed in grid.seeds:
        model, ladder = grid.model(seed), Ladder(n_steps=grid.n_steps)
        for final in (False, True):
            for eta in (0.0, 1.0):
                yield grid.cell("beta", "primary", model, ladder, Euler(eta), final_denoise=final)
        yield grid.cell("beta", "control", model, ladder, Euler(0.0), control=True)
        for beta in grid.betas:
            same_alpha = AlphaBetaLadder(grid.alpha, beta)
            yield grid.cell("beta", "same-alpha", model, same_alpha, same_alpha.sampler)
        for eta in grid.etas:
            yield grid.cell("beta", "same-ladder", model, ladder, Euler(eta))
        for n_steps in grid.pareto_steps:
            for eta in grid.pareto_etas:
                yield grid.cell("beta", "pareto", model, Ladder(n_steps=n_steps), Euler(eta))


def contrasts(planned: Sequence[Cell | Infeasible]) -> Iterator[Contrast | Choice]:
    """The primary contrast, its control, and what is explored around it."""
    cells = [cell for cell in planned if isinstance(cell, Cell)]
    groups = grouped(
        ((cell.mode, cell.samples.ladder, _label(cell), cell.samples.final_denoise), cell) for cell in cells
    )
    for kind, final in (("primary", False), ("final-denoise", True)):
        primary = {key[2]: group for key, group in groups.items() if (key[0], key[3]) == ("primary", final)}
        pairs = tuple(zip(primary["eta 1"], primary["eta 0"], strict=True))
        yield Contrast(kind, "primary", "eta 1", "eta 0", pairs)
        if kind == "primary":
            control = next(group for key, group in groups.items() if key[0] == "control")
            pairs = tuple(zip(control, primary["eta 0"], strict=True))
            yield Contrast("control", "control", "eta 0, other noise", "eta 0", pairs)
    for mode in ("same-alpha", "same-ladder"):
        yield from against_first(mode, mode, {key[2]: group for key, group in groups.items() if key[0] == mode})
    for ladder in dict.fromkeys(key[1] for key in groups if key[0] == "pareto"):
        same = {key[2]: group for key, group in groups.items() if key[:2] == ("pareto", ladder)}
        yield from against_first("pareto", "pareto", same)


def _label(cell: Cell) -> str:
    ladder, sampler = cell.samples.ladder, cell.samples.sampler
    if isinstance(ladder, AlphaBetaLadder):
        return f"beta {ladder.beta:g}"
    assert isinstance(sampler, Euler)
    return f"eta {sampler.eta:g}"


def _with(values: tuple[float, ...], *needed: float) -> tuple[float, ...]:
    return tuple(sorted({*values, *needed}))
