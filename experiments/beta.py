"""Is beta > 0 really better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    python -m experiments beta                      laptop: about 12 minutes on two CPU cores
    python -m experiments beta --preset smoke       under 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 samples a run

The primary contrast is fixed beforehand: eta = 1 against eta = 0 on the geometric ladder of 66 steps from 30 to 0.03,
by kernel distance. Everything else explores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import pandas as pd
import tyro

from diffusion_core.noise import LogNormal
from experiments.config import AlphaBetaRule, GeometricRule, ReferenceConfig, SampleConfig, ScoreConfig, TrainConfig
from experiments.contrasts import Choice, Contrast
from experiments.features import features_id
from experiments.options import Options
from experiments.publish import run_experiment
from experiments.sweep import Cell, Infeasible

QUESTION = "Is beta > 0 better than beta = 0?"
FIXED_BEFOREHAND = (66, LogNormal())  # steps and training law of the primary contrast
CONTROL = 10_000  # added to the sampling seed of the A/A control


@dataclass(frozen=True)
class Grid:
    """What the experiment varies."""

    train: TrainConfig = field(default_factory=TrainConfig)
    train_seeds: int = 2  # networks
    n_samples: int = 500  # images a run
    n_steps: int = 66  # of the primary contrast's ladder
    alpha: float = 0.1  # of same-alpha
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.4)  # same-alpha
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)  # same-ladder
    pareto_steps: tuple[int, ...] = (8, 16, 32, 66)
    pareto_etas: tuple[float, ...] = (0.0, 0.5, 1.0)


PRESETS = {
    "smoke": Grid(
        train=TrainConfig(images_seen=640, warmup_images=320),
        n_samples=132,  # just above the dimension of the features
        n_steps=4,
        alpha=0.8,
        betas=(0.0, 0.4),
        etas=(0.0, 1.0),
        pareto_steps=(2, 4),
        pareto_etas=(0.0, 1.0),
    ),
    "laptop": Grid(),
    "gpu": Grid(train=TrainConfig(data="mnist", images_seen=50 * 60_000), train_seeds=5, n_samples=10_000),
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
    cells = [cell for cell in planned if isinstance(cell, Cell)]
    infeasible = [cell for cell in planned if isinstance(cell, Infeasible)]
    fixed = (grid.n_steps, grid.train.noise) == FIXED_BEFOREHAND
    return run_experiment("beta", QUESTION, options, cells, infeasible, list(contrasts(cells)), fixed)


def runs(grid: Grid) -> Iterator[Cell | Infeasible]:
    """Every cell of the experiment, for each network in turn."""
    reference = ReferenceConfig(grid.train.data, "digits", features_id("digits"))

    def cell(
        mode: str, train_seed: int, rule: GeometricRule | AlphaBetaRule, control: int = 0, final: bool = False
    ) -> Cell:
        model = replace(grid.train, seed=train_seed)
        samples = SampleConfig(
            model, rule, grid.n_samples, seed=train_seed + control, final_denoise=final, machine=model.machine
        )
        return Cell("beta", mode, ScoreConfig(samples, reference))

    def on_ladder(mode: str, train_seed: int, n_steps: int, eta: float) -> Cell | Infeasible:
        most = GeometricRule(n_steps, 0.0).largest_eta
        if eta > most:
            values = (("schedule", "geometric"), ("n_steps", n_steps), ("eta", eta), ("train_seed", train_seed))
            return Infeasible("beta", mode, values, f"eta is above 1/sqrt(1 - r^2) = {most:.3f} of {n_steps} steps")
        return cell(mode, train_seed, GeometricRule(n_steps, eta))

    for seed in range(grid.train_seeds):
        for final in (False, True):
            for eta in (0.0, 1.0):
                yield cell("primary", seed, GeometricRule(grid.n_steps, eta), final=final)
        yield cell("control", seed, GeometricRule(grid.n_steps, 0.0), control=CONTROL)
        for beta in grid.betas:
            yield cell("same-alpha", seed, AlphaBetaRule(grid.alpha, beta))
        for eta in grid.etas:
            yield on_ladder("same-ladder", seed, grid.n_steps, eta)
        for n_steps in grid.pareto_steps:
            for eta in grid.pareto_etas:
                yield on_ladder("pareto", seed, n_steps, eta)


def contrasts(cells: Sequence[Cell]) -> Iterator[Contrast | Choice]:
    """The primary contrast, its control, and what is explored around it."""
    by_rule = _group(cells)
    primary = {key[1:]: group for key, group in by_rule.items() if key[0] == "primary"}
    for kind, final in (("primary", False), ("final-denoise", True)):
        eta_1, eta_0 = (next(g for (rule, f), g in primary.items() if f == final and rule.eta == eta) for eta in (1, 0))
        yield Contrast(kind, "primary", "eta 1", "eta 0", tuple(zip(eta_1, eta_0, strict=True)))
        if kind == "primary":
            control = next(group for key, group in by_rule.items() if key[0] == "control")
            pairs = tuple(zip(control, eta_0, strict=True))
            yield Contrast("control", "control", "eta 0, other noise", "eta 0", pairs)
    for mode in ("same-alpha", "same-ladder"):
        groups = {_label(key[1]): group for key, group in by_rule.items() if key[0] == mode}
        yield from _against_first(mode, groups)
    pareto = {key[1]: group for key, group in by_rule.items() if key[0] == "pareto"}
    for n_steps in dict.fromkeys(rule.n_steps for rule in pareto):
        yield from _against_first(
            "pareto", {_label(rule): group for rule, group in pareto.items() if rule.n_steps == n_steps}
        )


def _against_first(mode: str, groups: dict[str, tuple[Cell, ...]]) -> Iterator[Contrast | Choice]:
    """Each group against the first (no noise), then the choice among them on split images."""
    for label, group in list(groups.items())[1:]:
        baseline = next(iter(groups))
        yield Contrast(mode, mode, label, baseline, tuple(zip(group, groups[baseline], strict=True)))
    if len(groups) > 1:
        yield Choice("best", mode, groups)


def _group(cells: Sequence[Cell]) -> dict[tuple[str, Any, bool], tuple[Cell, ...]]:
    """Cells by (mode, rule, final_denoise); each group holds one cell a network, in the order of training seeds."""
    groups: dict[tuple[str, Any, bool], tuple[Cell, ...]] = {}
    for cell in cells:
        key = (cell.mode, cell.samples.rule, cell.samples.final_denoise)
        groups[key] = (*groups.get(key, ()), cell)
    return groups


def _label(rule: GeometricRule | AlphaBetaRule) -> str:
    return f"eta {rule.eta:g}" if isinstance(rule, GeometricRule) else f"beta {rule.beta:g}"


def _with(values: tuple[float, ...], *needed: float) -> tuple[float, ...]:
    return tuple(sorted({*values, *needed}))
