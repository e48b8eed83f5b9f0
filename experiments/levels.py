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
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.console import Terminal
from experiments.run.options import Folder, option_help

if TYPE_CHECKING:
    from experiments.conformance import Levels
    from experiments.conformance.known_schedules import Array
    from reports.page import Page

HELP = """Which noise levels does a sampler visit? It runs once with an exact denoiser that writes them down.

It takes a few seconds; see docs/samplers.md. Prints, for each number of steps, the evaluations, the first and the last
level, and every schedule in closed form that fits to 0.1 %. `flow(shift=3, end=1/n)` has n levels, t from 1
to 1/n before the shift; then 0 follows. Says what is wrong ("shift 3 is applied twice") and where two schedules differ.

Schedules:
  my_file:Mine, "diffusers:NAME(...)", ...         what check-sampler takes; see its --help
  "karras(rho=7)", "flow(shift=3)", ...            a noise schedule, as it is typed in schedules or printed here
  levels.txt                                       a list of numbers: sigmas, times, log SNR, ..., separated by spaces,
                                                   commas or lines, in brackets or not
  scheduler_config.json                            a scheduler of diffusers

Examples:
  levels "diffusers:FlowMatchEulerDiscreteScheduler(shift=3)" --steps 4 8 28     # is its shift applied twice?
  levels my_file:Mine "diffusers:FlowMatchEulerDiscreteScheduler(shift=3)"       # do these two visit the same levels?
  levels levels.txt --expect "flow(shift=3, end=1/n)"                            # is it the schedule that I meant?
  levels "karras(rho=7)" --train-noise "log-normal(-0.507, 1.2)"                 # how often did training see them?

Exit status: 0 if nothing is wrong, 1 if something is or two schedules differ, 2 for invalid arguments."""
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf|infinity)", re.IGNORECASE)
HOW = "give the numbers alone, separated by spaces, commas or lines, in brackets or not"
LevelsByName = dict[str, "list[Levels]"]
Row = dict[str, Any]


@dataclass(frozen=True)
class LevelsOptions:
    """Whose levels."""

    schedules: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SCHEDULE [SCHEDULE]")]
    """One schedule, or two to compare, spelt as above."""
    steps: Annotated[
        tuple[int, ...],
        option_help("N [N ...]", "4 8 28; as many as a list has"),
    ] = ()
    """Numbers of steps that are asked for."""
    expect: Annotated[str, option_help("SCHEDULE", "any")] = ""
    """Schedule that is meant, as it would be printed; what it leaves out may be anything."""
    train_noise: Annotated[str, option_help("DISTRIBUTION", "none")] = ""
    """Noise distribution of training, in the unit of the levels: prints the share between neighbouring levels."""
    reading: Literal[
        "any", "sigma", "t", "1-t", "time", "table", "log-snr", "half-log-snr", "log-sigma", "c-noise", "alpha-bar"
    ] = "any"
    """Meaning of the numbers in a list: sigma; t of a flow from 1 to 0; 1-t, with data at 1; time from 1000 to 0; times
    of a table of betas; ln(a^2/s^2); ln(a/s); ln(s/a), a quarter of it; or alpha-bar."""
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
    """The levels of each schedule at each number of steps. ValueError if there is none, or it is not clear what it is.

    A list is read as the schedule that it is compared with, or that is meant.
    """
    if not 1 <= len(options.schedules) <= 2:
        raise ValueError("schedules: name one, or two to compare; --help shows how they are spelt")
    options = replace(options, expect=spell(options.expect))
    others = [spell(name) for name in options.schedules if is_schedule(name)]
    for_lists = replace(options, expect=options.expect or "".join(others[:1]))
    lists = {name: read_list(Path(name), for_lists) for name in options.schedules if is_list(name)}
    steps = options.steps or tuple(levels.n_steps for levels in lists.values())[:1] or (4, 8, 28)
    if lists and len(steps) > 1:
        raise ValueError(f"steps={steps}: a list has one number of steps; give one")
    return {name: [lists[name]] if name in lists else run_schedule(name, options, steps) for name in options.schedules}


def is_list(name: str) -> bool:
    """Whether it is a file that lists levels: not the config of a scheduler of diffusers."""
    path = Path(name)
    if not path.is_file():
        return path.suffix in (".txt", ".json", ".csv", ".log")
    return '"_class_name"' not in path.read_text(encoding="utf-8", errors="replace")


def is_schedule(name: str) -> bool:
    """Whether it names a noise schedule, as it is typed or printed."""
    from diffusion_core.schedules import SCHEDULES

    return re.split(r"[(,]", name)[0] in SCHEDULES


def spell(text: str) -> str:
    """The name of a noise schedule as `levels` spells it; a name that only `levels` prints stays as it is."""
    from experiments.user import parsing

    try:
        name, options = parsing.parse_schedule(text, data_std=1.0)
    except ValueError:
        return text
    if options.get("data_std") == 1:
        del options["data_std"]
    return parsing.format_call(name, options.items())


def run_schedule(name: str, options: LevelsOptions, steps: Sequence[int]) -> "list[Levels]":
    """The levels of a sampler or a noise schedule at each number of steps. ValueError if there is none, or it fails."""
    from experiments.conformance import find_levels, sampler_specs
    from experiments.conformance.known_schedules import make_levels
    from experiments.conformance.levels import name_levels
    from experiments.user.imports import user_code_errors

    if is_schedule(name):
        spelling = spell(name)
        return [name_levels(make_levels(spelling, n), n, expect=options.expect or spelling) for n in steps]
    sampler, _ = sampler_specs.load_sampler(name)
    with user_code_errors(name):
        return [find_levels(sampler, n_steps, options.expect) for n_steps in steps]


def read_list(path: Path, options: LevelsOptions) -> "Levels":
    """The levels that a file lists, in the reading that fits best. ValueError if it is not clear what is listed."""
    from experiments.conformance.printed_levels import name_list

    try:
        values, half_units = read_numbers(path.read_text(encoding="utf-8"))
        n_steps = options.steps[0] if options.steps else 0
        return name_list(values, half_units, n_steps, options.expect, options.reading)
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_numbers(text: str) -> "tuple[Array, Array]":
    """The numbers (E,) of a text, and half a unit of their last digit. ValueError for anything else in it.

    Programs leave out zeros at the end of a number, so decimals and digits are those of the longest number.
    """
    import numpy as np

    words = re.split(r"[,\s]+", text.strip().removeprefix("[").removesuffix("]").strip(" ,\n"))
    if other := next((word for word in words if not NUMBER.fullmatch(word)), None):
        raise ValueError(f"{other[:40]!r} is not a number: {HOW}")
    if len(words) < 2:
        raise ValueError(f"{text.strip()[:40]!r}: two numbers or more are needed: {HOW}")
    numbers = [Decimal(word) for word in words]
    for at, value in enumerate(numbers, 1):
        if not value.is_finite():
            raise ValueError(f"number {at} is {value}, which is no level")
    unit = min(int(value.as_tuple().exponent) for value in numbers)
    digits = max(len(value.as_tuple().digits) for value in numbers)
    units = [10.0 ** max(unit, value.adjusted() + 1 - digits) if unit < 0 else 0.0 for value in numbers]
    return np.array(numbers, float), np.array(units) / 2


def find_gap(first: "Sequence[Levels]", second: "Sequence[Levels]") -> str:
    """Where two schedules differ first, and by how much; "" if they agree at all levels."""
    from experiments.conformance.levels import ALMOST_PURE, TOLERANCE

    for levels, other in zip(first, second, strict=True):
        for step, (a, b) in enumerate(zip(levels.bounds.T, other.bounds.T, strict=False), 1):
            if max(a[0] - b[1], b[0] - a[1]) > TOLERANCE and min(a[0], b[0]) < ALMOST_PURE:
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

    from experiments.user.parsing import parse_noise

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
