"""`python -m experiments levels LADDER`: which noise levels does a sampler visit, in how many evaluations?

Prints the ladder in closed form for each number of steps, and writes a report. Exit status 1 if something is wrong.
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
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.console import Terminal

if TYPE_CHECKING:
    from diffusion_core.conformance import Levels
    from reports.page import Page

HELP = """Which noise levels does a sampler visit? It runs once with an exact denoiser that writes them down.

It takes a few seconds; see docs/samplers.md. Prints, for each number of steps, the evaluations, the first and the last
level, and every ladder in closed form that fits to 0.1 % at all levels. `flow(shift=3, end=1/n)` has n levels, t from 1
to 1/n before the shift; then 0 follows. Says what is wrong ("shift 3 is applied twice"), and where two ladders differ.

Ladders:
  my_file:Mine, "diffusers:NAME(...)", ...         what check-sampler takes; see its --help
  "karras(rho=7)", "flow(shift=3)", ...            a noise schedule of this package
  log.txt, levels.json                             a printed list: sigmas, times of flow matching from 1 or 1000 to 0,
                                                   or pairs [a, s] of x = a x0 + s z

Examples:
  levels "diffusers:FlowMatchEulerDiscreteScheduler(shift=3)" --steps 4 8 28     # is its shift applied twice?
  levels my_file:Mine "diffusers:FlowMatchEulerDiscreteScheduler(shift=3)"       # do these two visit the same levels?
  levels log.txt --expect "flow(shift=3, end=1/n)"                               # is it the ladder that I meant?
  levels "karras(rho=7)" --law "log-normal(-0.507, 1.2)"                         # how often did training see them?

Exit status: 0 if nothing is wrong, 1 if something is or two ladders differ, 2 for invalid arguments."""
NUMBER = r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
UNITS = {"sigma": 1, "t": 1, "time": 1000}  # of a list: sigma, or t from `UNITS` to 0
Found = dict[str, "list[Levels]"]


@dataclass(frozen=True)
class LevelsOptions:
    """Whose levels."""

    ladders: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LADDER [LADDER]")]
    """One ladder, or two to compare, spelt as above."""
    steps: Annotated[
        tuple[int, ...],
        tyro.conf.arg(metavar="N [N ...]", help_behavior_hint="(default: 4 8 28; as many as a list has)"),
    ] = ()
    """Numbers of steps that are asked for."""
    expect: Annotated[str, tyro.conf.arg(metavar="LADDER", help_behavior_hint="(default: any)")] = ""
    """Ladder that is meant, as it would be printed; what it leaves out may be anything."""
    law: Annotated[str, tyro.conf.arg(metavar="LAW", help_behavior_hint="(default: none)")] = ""
    """Noise distribution of training, in the unit of the levels: prints the share between neighbouring levels."""
    reading: Literal["any", "sigma", "t", "time"] = "any"
    """Meaning of the numbers in a list: sigma, t from 1 to 0, or time from 1000 to 0."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/levels")
    """Folder for the report."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Names ladders. Returns 0 if nothing is wrong, else 1. ValueError if there is no such ladder."""
    began, options = time.time(), tyro.cli(LevelsOptions, prog=prog, description=HELP, args=list(arguments))
    if not 1 <= len(options.ladders) <= 2:
        raise ValueError("ladders: name one, or two to compare; --help shows how they are spelt")
    lists = {name: read_list(Path(name), options) for name in options.ladders if is_list(name)}
    steps = options.steps or tuple(levels.n_steps for levels in lists.values())[:1] or (4, 8, 28)
    if lists and len(steps) > 1:
        raise ValueError(f"steps={steps}: a list has one number of steps; give one")
    found = {name: [lists[name]] if name in lists else run_ladder(name, options, steps) for name in options.ladders}
    gap = find_gap(*found.values()) if len(found) == 2 else ""
    from experiments.run import result_folder

    page = write(options, found, gap, began)
    result_folder.print_page(page, options.out / "report.html", f"{options.out}/report.html", False, Terminal())
    right = not gap and all(levels.right for each in found.values() for levels in each)
    if not sys.stdout.isatty():
        names = {name: {levels.n_steps: levels.sentence for levels in each} for name, each in found.items()}
        print(json.dumps({"levels": names, "right": right, "out": str(options.out)}))
    return int(not right)


def is_list(name: str) -> bool:
    """Whether it is a file that lists levels."""
    return Path(name).suffix in (".txt", ".json", ".csv", ".log") or Path(name).is_file()


def run_ladder(name: str, options: LevelsOptions, steps: Sequence[int]) -> "list[Levels]":
    """The levels of a sampler or a noise schedule at each number of steps. ValueError if there is none, or it fails."""
    from diffusion_core.conformance import find_levels
    from diffusion_core.schedules import SCHEDULES
    from experiments.user import parsing, sampler_specs
    from experiments.user.imports import user_code_errors

    if name.partition("(")[0] not in SCHEDULES:
        sampler, _ = sampler_specs.load_sampler(name)
    else:
        kind, own = parsing.parse_schedule(name, data_std=1.0)
        own = {"sigma_max": 160.0, "sigma_min": 0.004} | {key: value for key, value in own.items() if key != "end"}

        def sampler(denoiser: Any, n_steps: int, noise: Any) -> Any:
            return [denoiser.eps(noise, sigma) for sigma in SCHEDULES[kind](n_steps - 1, **own)][-1]

    with user_code_errors(name):
        return [find_levels(sampler, n_steps, options.expect) for n_steps in steps]


def read_list(path: Path, options: LevelsOptions) -> "Levels":
    """The levels that a file lists, in the reading that fits best. ValueError if there are fewer than two numbers."""
    from diffusion_core.conformance.levels import name_levels

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: it cannot be read: {error}") from None
    inside = text[text.find("[") : text.rfind("]") + 1] or text  # a printed tensor also says its device
    numbers = [(float(number), _half_unit(number)) for number in re.findall(NUMBER, inside)]
    if len(numbers) < 2:
        raise ValueError(f"{path}: it lists {len(numbers)} numbers; it must list the levels, as they were printed")
    if re.match(r"\[\s*[\[(]", inside):  # pairs (a, s)
        numbers = [(s / a if a else math.inf, 0.0) for (a, _), (s, _) in zip(numbers[::2], numbers[1::2], strict=False)]
    values = [value for value, _ in numbers]
    backwards, zeros = values[1] > values[0], values.count(0)
    if backwards:
        numbers.reverse()
    likely = ("t", "sigma") if max(values) <= 1 else ("time", "sigma") if max(values) <= 1000 else ("sigma",)
    faults = ["the levels rise: it runs backwards"] * backwards
    faults += ["no 0 follows: the last step is missing"] if not zeros else [f"0 is there {zeros} times"] * (zeros > 1)
    found = []
    for kind in likely if options.reading == "any" else (options.reading,):
        read = [_read(value / UNITS[kind], half / UNITS[kind], kind) for value, half in numbers if value > 0]
        log_sigmas, rounding = zip(*read, strict=True)
        n_steps = options.steps[0] if options.steps else len(read)
        levels = name_levels(log_sigmas, n_steps, expect=options.expect, rounding=rounding)
        note = f"the list is read as {kind if kind == 'sigma' else f't from {UNITS[kind]} to 0'}"
        found.append(replace(levels, faults=(*faults, *levels.faults), notes=(note, *levels.notes)))
    return min(found, key=lambda levels: (bool(levels.nearest), len(levels.faults)))


def _half_unit(printed: str) -> float:
    """Half a unit of the last digit of a printed number; 0 of a whole one."""
    mantissa, _, exponent = printed.lower().partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])) if "." in mantissa or exponent else 0.0


def _read(value: float, half: float, kind: str) -> tuple[float, float]:
    """log_sigma of sigma or of t, and how far it is from that of a number that is printed in the same way."""
    if kind == "sigma":
        return math.log(value), half / value
    t = min(value, 1 - 1e-12)
    return math.log(t / (1 - t)), half / (t * max(1 - t, 1e-9))


def find_gap(first: "Sequence[Levels]", second: "Sequence[Levels]") -> str:
    """Where two ladders differ first, and by how much; "" if they agree at all levels."""
    from diffusion_core.conformance.levels import ALMOST_PURE, TOLERANCE

    for one, other in zip(first, second, strict=True):
        for step, (a, b) in enumerate(zip(one.log_sigmas, other.log_sigmas, strict=False), 1):
            if abs(a - b) > TOLERANCE and min(a, b) < ALMOST_PURE:
                sigmas = f"sigma {one.sigmas[step - 1]:.4g} and {other.sigmas[step - 1]:.4g}"
                return f"with {one.n_steps} steps they differ first at step {step}: {sigmas}"
        if (counts := [len(one.log_sigmas), len(other.log_sigmas)])[0] != counts[1]:
            return f"with {one.n_steps} steps they take {counts[0]} and {counts[1]} evaluations"
    return ""


def measure_shares(law: str, sigmas: Sequence[float]) -> list[float]:
    """The shares of training noise above falling levels, from each down to the next, and below the last one."""
    import torch

    from experiments.user.parsing import parse_noise

    grid = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    below = torch.cumulative_trapezoid(parse_noise(law, data_std=1.0).log_density(grid).exp(), grid)
    places = ((torch.tensor(sigmas).log().clamp(-19.99, 19.99) + 20) * 1000).round().long() - 1
    edges = [1.0, *(below / below[-1])[places].tolist(), 0.0]
    return [above - under for above, under in pairwise(edges)]


def describe_shares(shares: Sequence[float]) -> str:
    """What training saw of the levels. Levels that are visited twice have nothing between them."""
    inner = ", ".join(f"{100 * share:.2g}" for share in shares[1:-1] if share)
    ends = f"{100 * shares[0]:.2g} % above the first level, {100 * shares[-1]:.2g} % below the last one"
    return f"of the training noise {ends}; between neighbours, in per cent: {inner}"


def write(options: LevelsOptions, found: Found, gap: str, began: float) -> "Page":
    """Writes the tables, run.json and the report. Returns its page. ValueError if others wrote into the folder."""
    from experiments.run import result_folder

    rows, visited = list[dict[str, Any]](), list[dict[str, Any]]()
    for name, levels in ((name, levels) for name, each in found.items() for levels in each):
        steps = {"ladder": name, "n_steps": levels.n_steps}
        sigmas = levels.sigmas
        falling = sorted(range(len(sigmas)), key=lambda at: -sigmas[at])
        shares = measure_shares(options.law, [sigmas[at] for at in falling]) if options.law else []
        notes = [*levels.notes, *([describe_shares(shares)] if shares else [])]
        share_below = dict(zip(falling, shares[1:], strict=False))  # down to the next lower level
        rows.append(steps | {
            "evaluations": len(sigmas), "first_sigma": sigmas[0], "last_sigma": sigmas[-1],
            "form": levels.form, "faults": "; ".join(levels.faults),
            "nearest": levels.nearest, "note": "; ".join(notes),
        })  # fmt: skip
        visited += [
            {"step": at + 1, "sigma": sigma, "t": sigma / (1 + sigma), "log_snr": -2 * math.log(sigma)}
            | steps | {"share": share_below.get(at)}
            for at, sigma in enumerate(sigmas)
        ]  # fmt: skip
    names = " and ".join(found)
    question = ("Which noise levels does {} visit?", "Do {} visit the same noise levels?")[len(found) - 1].format(names)
    info = {"experiment": "levels", "question": question, "notes": [gap] if gap else []}
    tables = {"ladders.csv": rows, "levels.csv": visited}
    with result_folder.lock_folder(options.out):
        return result_folder.write_finished(options.out, info, tables, time.time() - began)
