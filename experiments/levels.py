"""`python -m experiments levels SCHEDULE`: which noise levels does a sampler visit, in how many evaluations?

Prints the schedule in closed form for each number of steps, and writes a report. Exit status 1 if something is wrong.
"""

import json
import math
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.console import Terminal
from experiments.run.options import Folder, option_help

if TYPE_CHECKING:
    from experiments.conformance import Levels
    from reports.page import Page

HELP = """Which noise levels does a sampler visit? It runs once with an exact denoiser that writes them down.

It takes a few seconds; see docs/samplers.md. Prints, for each number of steps, the evaluations, the first and the last
level, and every schedule in closed form that fits to 0.1 %. `flow(shift=3, end=1/n)` has n levels, t from 1
to 1/n before the shift; then 0 follows. Says what is wrong ("shift 3 is applied twice") and where two schedules differ.

Schedules:
  my_file:Mine, "diffusers:NAME(...)", ...         what check-sampler takes; see its --help
  "karras(rho=7)", "flow(shift=3)", ...            a noise schedule, as it is typed in schedules or printed here
  scheduler_config.json                            a scheduler of diffusers

Examples:
  levels "diffusers:FlowMatchEulerDiscreteScheduler(shift=3)" --steps 4 8 28     # is its shift applied twice?
  levels my_file:Mine "diffusers:FlowMatchEulerDiscreteScheduler(shift=3)"       # do these two visit the same levels?
  levels my_file:Mine --expect "flow(shift=3, end=1/n)"                          # is it the schedule that I meant?
  levels "karras(rho=7)" --train-noise "log-normal(-0.507, 1.2)"                 # how often did training see them?

Exit status: 0 if nothing is wrong, 1 if something is or two schedules differ, 2 for invalid arguments."""
LevelsByName = dict[str, "list[Levels]"]
Row = dict[str, Any]


@dataclass(frozen=True)
class LevelsOptions:
    """Whose levels."""

    schedules: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SCHEDULE [SCHEDULE]")]
    """One schedule, or two to compare, spelt as above."""
    steps: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N [N ...]")] = (4, 8, 28)
    """Numbers of steps that are asked for."""
    expect: Annotated[str, option_help("SCHEDULE", "any")] = ""
    """Schedule that is meant, as it would be printed; what it leaves out may be anything."""
    train_noise: Annotated[str, option_help("DISTRIBUTION", "none")] = ""
    """Noise distribution of training, in the unit of the levels: prints the share between neighbouring levels."""
    out: Folder = Path("runs/levels")
    """Folder for the report."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Names schedules. Returns 0 if nothing is wrong, else 1. ValueError if there is no such schedule."""
    began = time.time()
    options = tyro.cli(LevelsOptions, prog=prog, description=HELP, args=list(arguments))
    by_name = read_schedules(options)
    gap = find_gap(*by_name.values()) if len(by_name) == 2 else ""
    from experiments.run import result_folder

    page = write(options, by_name, gap, began)
    result_folder.print_page(page, options.out / "report.html", f"{options.out}/report.html", False, Terminal())
    right = not gap and all(levels.right for runs in by_name.values() for levels in runs)
    if not sys.stdout.isatty():
        sentences = {name: {levels.n_steps: levels.sentence for levels in runs} for name, runs in by_name.items()}
        print(json.dumps({"levels": sentences, "right": right, "out": str(options.out)}))
    return int(not right)


def read_schedules(options: LevelsOptions) -> LevelsByName:
    """The levels of each schedule at each number of steps. ValueError if there is none, or it fails."""
    if not 1 <= len(options.schedules) <= 2:
        raise ValueError("schedules: name one, or two to compare; --help shows how they are spelt")
    options = replace(options, expect=spell(options.expect))
    return {name: run_schedule(name, options) for name in options.schedules}


def is_schedule(name: str) -> bool:
    """Whether it names a noise schedule, as it is typed or printed."""
    from diffusion_core.schedules import SCHEDULES

    return re.split(r"[(,]", name)[0] in SCHEDULES


def spell(text: str) -> str:
    """The name of a noise schedule as `levels` spells it; a name that only `levels` prints stays as it is."""

    from diffusion_core import spelling
    from diffusion_core.schedules import SCHEDULES
    from experiments import names
    from experiments.settings import ENDS

    try:
        name, options = names.parse_call("schedule", text, SCHEDULES, ("n_steps", *ENDS), ENDS)
    except ValueError:
        return text
    if options.get("data_std") == 1:
        del options["data_std"]
    return spelling.spell(name, options)


def run_schedule(name: str, options: LevelsOptions) -> "list[Levels]":
    """The levels of a sampler or a noise schedule at each number of steps. ValueError if there is none, or it fails."""
    from experiments.conformance import find_levels, sampler_specs
    from experiments.conformance.known_schedules import make_levels
    from experiments.conformance.levels import name_levels
    from experiments.user.imports import user_code_errors

    if is_schedule(name):
        spelling = spell(name)
        return [name_levels(make_levels(spelling, n), n, expect=options.expect or spelling) for n in options.steps]
    sampler, _ = sampler_specs.load_sampler(name)
    with user_code_errors(name):
        return [find_levels(sampler, n_steps, options.expect) for n_steps in options.steps]


def find_gap(first: "Sequence[Levels]", second: "Sequence[Levels]") -> str:
    """Where two schedules differ first, and by how much; "" if they agree at all levels."""
    from experiments.conformance.levels import ALMOST_PURE, TOLERANCE

    for levels, other in zip(first, second, strict=True):
        for step, (a, b) in enumerate(zip(levels.log_sigmas, other.log_sigmas, strict=False), 1):
            if abs(a - b) > TOLERANCE and min(a, b) < ALMOST_PURE:
                sigmas = f"sigma {levels.sigmas[step - 1]:.4g} and {other.sigmas[step - 1]:.4g}"
                return f"with {levels.n_steps} steps they differ first at step {step}: {sigmas}"
        n = len(levels.log_sigmas)
        n_other = len(other.log_sigmas)
        if n != n_other:
            return f"with {levels.n_steps} steps they take {n} and {n_other} evaluations"
    return ""


def measure_shares(train_noise: str, sigmas: Sequence[float]) -> list[float]:
    """The shares of training noise above falling levels, from each down to the next, and below the last one."""
    import torch

    from experiments.names import parse_noise

    grid = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    below = torch.cumulative_trapezoid(parse_noise(train_noise, data_std=1.0).log_density(grid).exp(), grid)
    places = ((torch.tensor(sigmas).log().clamp(-19.99, 19.99) + 20) * 1000).round().long() - 1
    edges = [1.0, *(below / below[-1])[places].tolist(), 0.0]
    return [above - under for above, under in pairwise(edges)]


def describe_shares(shares: Sequence[float]) -> str:
    """Says which shares of the training noise lie around the levels. Levels visited twice have nothing between them."""
    inner = ", ".join(f"{100 * share:.2g}" for share in shares[1:-1] if share)
    ends = f"{100 * shares[0]:.2g} % above the first level, {100 * shares[-1]:.2g} % below the last one"
    return f"of the training noise {ends}; between neighbours, in per cent: {inner}"


def write(options: LevelsOptions, by_name: LevelsByName, gap: str, began: float) -> "Page":
    """Writes the tables, run.json and the report. Returns its page. ValueError if others wrote into the folder."""
    from experiments.run import result_folder

    runs = [tabulate(name, levels, options.train_noise) for name, found in by_name.items() for levels in found]
    names = " and ".join(by_name)
    question = f"Which noise levels does {names} visit?"
    if len(by_name) == 2:
        question = f"Do {names} visit the same noise levels?"
    info = {"experiment": "levels", "question": question, "notes": [gap] if gap else []}
    visited = [row for _, rows in runs for row in rows]
    tables = {"schedules.csv": [row for row, _ in runs], "levels.csv": visited}
    with result_folder.lock_folder(options.out):
        return result_folder.write_finished(options.out, info, tables, time.time() - began)


def tabulate(name: str, levels: "Levels", train_noise: str) -> tuple[Row, list[Row]]:
    """The row of a schedule at a number of steps, and those of its levels."""
    steps = {"schedule": name, "n_steps": levels.n_steps}
    sigmas = levels.sigmas
    falling = sorted(range(len(sigmas)), key=lambda at: -sigmas[at])
    shares = measure_shares(train_noise, [sigmas[at] for at in falling]) if train_noise else []
    share_below = dict(zip(falling, shares[1:], strict=False))  # down to the next lower level
    notes = [*levels.notes, describe_shares(shares)] if shares else levels.notes
    row = steps | {
        "evaluations": len(sigmas), "first_sigma": sigmas[0], "last_sigma": sigmas[-1], "form": levels.form,
        "faults": "; ".join(levels.faults), "nearest": levels.nearest, "note": "; ".join(notes),
    }  # fmt: skip
    visited = [
        {"step": at + 1, "sigma": sigma, "t": sigma / (1 + sigma), "log_snr": -2 * math.log(sigma)}
        | steps | {"share": share_below.get(at)}
        for at, sigma in enumerate(sigmas)
    ]  # fmt: skip
    return row, visited
