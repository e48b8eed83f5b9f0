"""Which noise levels should sampling visit, and by which sampler, for a given number of network evaluations?

    python -m experiments ladders                      laptop: about 5 minutes on two CPU cores
    python -m experiments ladders --preset smoke       under 20 seconds: does everything work here?
    python -m experiments ladders --ladders geometric "karras(rho=5)" --n-steps 10 20 --etas 0 0.5 1 --samplers heun

Every setting of one budget takes the same number of evaluations: a sampler that takes two a step, such as heun, gets
half as many steps. Everything here explores; the best of each budget is chosen on half of the images and measured on
the other half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro
from rich.console import Console

from diffusion_core.samplers import Euler, Sampler
from diffusion_core.schedules import SCHEDULES
from experiments.config import names
from experiments.config.config import Ladder, TrainConfig
from experiments.config.study import Grid
from experiments.config.trial import Cell, Infeasible
from experiments.engine.options import Options
from experiments.engine.runner import run_experiment
from experiments.results.contrasts import Choice, Contrast, against_first, grouped
from experiments.results.table import write_rows
from experiments.store.store import Store

QUESTION = "Which noise levels should sampling visit?"


@dataclass(frozen=True)
class LadderGrid(Grid):
    """What the experiment varies: ladders x samplers at each budget."""

    ladders: tuple[str, ...] = ("geometric", "karras", "cosine", "vp", "linear")  # the first is the baseline
    n_steps: tuple[int, ...] = (8, 16, 32)  # network evaluations an image
    etas: tuple[float, ...] = (0.0, 1.0)  # of Euler
    samplers: tuple[str, ...] = ("heun", "dpm++2m")  # besides Euler
    sigma_max: float = 30.0
    sigma_min: float = 0.03


PRESETS = {
    "smoke": LadderGrid(
        train=TrainConfig(images_seen=640, warmup_images=320),
        n_samples=132,  # just above the dimension of the features
        ladders=("geometric", "karras"),
        n_steps=(4,),
        samplers=("heun",),
    ),
    "laptop": LadderGrid(),
    "gpu": LadderGrid(
        train=TrainConfig(data="mnist", images_seen=50 * 60_000),
        train_seeds=5,
        n_samples=10_000,
        ladders=(*SCHEDULES,),
        n_steps=(8, 16, 32, 64),
        etas=(0.0, 0.5, 1.0),
        samplers=("heun", "dpm++2m", "dpm++2m-sde", "accelerated"),
    ),
}


@dataclass(frozen=True)
class LadderOptions(Options):
    """The command line."""

    ladders: tuple[str, ...] | None = None
    """Ladders; the first is what the others are compared with. geometric, karras(rho=7), polyexponential(rho=1),
    linear, vp, cosine, ddpm-linspace, ddpm-leading, ddpm-trailing."""
    n_steps: tuple[int, ...] | None = None
    """Budgets: network evaluations an image. Samplers that take two evaluations a step take half as many steps."""
    etas: tuple[float, ...] | None = None
    """Euler's noise: 0 is DDIM (beta = 0), 1 is DDPM."""
    samplers: tuple[str, ...] | None = None
    """Samplers besides Euler: heun, euler-churn(s_churn=10), dpm++2m, dpm++2m-sde, accelerated, restart,
    kadkhodaie-simoncelli."""
    sigma_max: float | None = None
    """The level that all ladders but ddpm's start from, in data standard deviations."""
    sigma_min: float | None = None
    """The level at which they end."""


def main(options: Annotated[LadderOptions, tyro.conf.arg(name="")]) -> pd.DataFrame:
    """Which noise levels should sampling visit, and by which sampler, for a given number of network evaluations?

    Trains networks, samples from them down each ladder with each sampler at each budget, scores the samples against
    real images and writes a report. Interrupted, the same command goes on where it stopped. Returns the table.
    """
    names = ("ladders", "n_steps", "etas", "samplers", "sigma_max", "sigma_min")
    grid = options.apply(PRESETS[options.preset], *names)
    for name in names[:3]:
        if not getattr(grid, name):
            raise ValueError(f"{name}: at least one is needed")
    planned = list(runs(grid, options.data_std(grid)))
    explain = partial(write_levels, grid, options.data_std(grid))
    return run_experiment(
        "ladders", QUESTION, options, [cell for _, cell in planned], list(contrasts(grid, planned)), explain=explain
    )


Setting = tuple[str, str, str]  # mode (the budget), ladder, sampler


def runs(grid: LadderGrid, data_std: float) -> Iterator[tuple[Setting, Cell | Infeasible]]:
    """Every cell of the experiment with the setting it belongs to, for each network in turn."""
    schedules = {text: names.schedule(text, data_std) for text in grid.ladders}
    samplers: dict[str, Sampler] = {f"eta {eta:g}": Euler(eta) for eta in grid.etas}
    samplers |= {text: names.sampler(text) for text in grid.samplers}
    for seed in grid.seeds:
        model = grid.model(seed)
        for budget in grid.n_steps:
            mode = f"{budget} evaluations"
            for text, (schedule, options) in schedules.items():
                levels = Ladder(schedule, budget, grid.sigma_max, grid.sigma_min, options)
                for label, sampler in samplers.items():
                    ladder = within(budget, levels, sampler)
                    if ladder:
                        yield (mode, text, label), grid.cell("ladders", mode, model, ladder, sampler)
                    else:
                        yield (mode, text, label), grid.infeasible("ladders", mode, model, levels, sampler)
        text, label = _baseline(grid)
        schedule, options = schedules[text]
        levels = Ladder(schedule, grid.n_steps[-1], grid.sigma_max, grid.sigma_min, options)
        yield (("control", text, label), grid.cell("ladders", "control", model, levels, samplers[label], control=True))


def within(budget: int, ladder: Ladder, sampler: Sampler) -> Ladder | None:
    """The longest such ladder that takes the sampler at most `budget` evaluations, if any does."""
    for n_steps in range(budget, 0, -1):
        shorter = replace(ladder, n_steps=n_steps)
        try:
            if sampler.planned_nfe(shorter.sigmas()) <= budget:
                return shorter
        except ValueError:
            continue
    return None


def contrasts(grid: LadderGrid, planned: Sequence[tuple[Setting, Cell | Infeasible]]) -> Iterator[Contrast | Choice]:
    """At each budget: every ladder against the first, noise against none, and the best against all others."""
    groups = grouped(planned)
    modes = [mode for mode in dict.fromkeys(mode for mode, _, _ in groups) if mode != "control"]
    for mode in modes:
        here = {(ladder, sampler): group for (m, ladder, sampler), group in groups.items() if m == mode}
        for label in dict.fromkeys(sampler for _, sampler in here):
            for ladder, sampler in here:
                if sampler == label and ladder != grid.ladders[0] and (grid.ladders[0], label) in here:
                    pairs = tuple(zip(here[ladder, label], here[grid.ladders[0], label], strict=True))
                    yield Contrast("ladder", mode, f"{ladder}, {label}", f"{grid.ladders[0]}, {label}", pairs)
        for ladder in dict.fromkeys(ladder for ladder, _ in here):
            same = {f"{ladder}, {s}": group for (name, s), group in here.items() if name == ladder}
            yield from (c for c in against_first("sampler", mode, same) if isinstance(c, Contrast))
        yield Choice("best", mode, {f"{ladder}, {s}": group for (ladder, s), group in here.items()}, against_all=True)
    ladder, label = _baseline(grid)
    if control := groups.get(("control", ladder, label)):
        pairs = tuple(zip(control, groups[modes[-1], ladder, label], strict=True))
        yield Contrast("control", "control", f"{ladder}, {label}, other noise", f"{ladder}, {label}", pairs)


def _baseline(grid: LadderGrid) -> tuple[str, str]:
    return grid.ladders[0], f"eta {grid.etas[0]:g}"


def write_levels(
    grid: LadderGrid, data_std: float, directory: Path, store: Store, done: Sequence[Cell], console: Console
) -> None:
    """Writes levels.csv: where each ladder of the largest budget puts its levels."""
    lines = []
    for text in grid.ladders:
        schedule, options = names.schedule(text, data_std)
        ladder = Ladder(schedule, max(grid.n_steps), grid.sigma_max, grid.sigma_min, options)
        lines += [
            {"schedule": text, "n_steps": ladder.n_steps, "step": step, "sigma": sigma}
            for step, sigma in enumerate(ladder.sigmas())
        ]
    write_rows(directory / "levels.csv", lines, ("schedule", "n_steps", "step", "sigma"))
