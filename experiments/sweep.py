"""A sweep of your own: FILE.py says what to try; engine, store, statistics and report are those of every experiment.

    python -m experiments sweep FILE.py --preset smoke
    python -m experiments sweep FILE.py --dry-run

FILE.py has QUESTION, a text, and runs(), which yields one `Try` for each setting. In each mode the first is what the
others are compared with. It may have PRESETS, a Grid for each of smoke, laptop and gpu; else those of `run` hold.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pandas as pd
import tyro

from diffusion_core.samplers import Sampler
from experiments.config.config import OWN, SOURCE, AlphaBetaLadder, Ladder, TrainConfig
from experiments.config.study import Grid
from experiments.config.trial import Cell, Infeasible
from experiments.engine.options import Options
from experiments.engine.runner import run_experiment
from experiments.results.contrasts import Choice, Contrast, against_first, grouped
from experiments.run import PRESETS


@dataclass(frozen=True)
class Try:
    """One setting, run with each network.

    Args:
        label: its name in the report.
        mode: settings of one mode are compared with the first of it.
        training: fields of TrainConfig that differ from the preset's, such as {"noise": LogUniform()}.
        final_denoise: whether sampling ends with x - sigma eps.
    """

    label: str
    ladder: Ladder | AlphaBetaLadder
    sampler: Sampler
    mode: str = "all"
    training: Mapping[str, Any] = field(default_factory=dict)
    final_denoise: bool = False


@dataclass(frozen=True)
class OwnFile:
    """What FILE.py says."""

    name: str
    question: str
    runs: Callable[[], Iterable[Try]]
    presets: Mapping[str, Grid]


Setting = tuple[str, str]  # mode, label


@dataclass(frozen=True)
class OwnOptions(Options):
    """The command line."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.py")] = tyro.MISSING
    """Python file with QUESTION, a text, and runs(), which yields an experiments.sweep.Try for each setting."""


def main(options: Annotated[OwnOptions, tyro.conf.arg(name="")]) -> pd.DataFrame:
    """A sweep of your own: FILE.py says what to try, and networks, scores, intervals and report come with it.

    Each setting that runs() yields is run with each network; in each mode the first setting is what the others are
    compared with. Interrupted, the same command goes on where it stopped. Returns the table.
    """
    own = read(options.file)
    grid = options.apply(own.presets[options.preset])
    planned = list(cells(own, grid))
    return run_experiment(
        "sweep", own.question, options, [cell for _, cell in planned], list(contrasts(planned)), folder=own.name
    )


def read(path: Path) -> OwnFile:
    """Imports FILE.py. Raises ValueError if it is not what the engine needs, with what is missing."""
    spec = importlib.util.spec_from_file_location(OWN, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"file={str(path)!r}: there is no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[OWN] = module
    spec.loader.exec_module(module)
    source = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == OWN:
            setattr(value, SOURCE, source)  # part of the identity of what it configures
    question, runs = _have(path, module, "QUESTION", str), _have(path, module, "runs", Callable)
    return OwnFile(path.stem, question, runs, PRESETS | getattr(module, "PRESETS", {}))


def _have(path: Path, module: ModuleType, name: str, kind: Any) -> Any:
    value = getattr(module, name, None)
    if not isinstance(value, kind):
        what = "QUESTION, a text" if name == "QUESTION" else "runs(), which yields what to try"
        raise ValueError(f"file={str(path)!r}: it needs {what}; see `python -m experiments sweep --help`")
    return value


def cells(own: OwnFile, grid: Grid) -> Iterator[tuple[Setting, Cell | Infeasible]]:
    """Every cell with its mode and label, for each network in turn; the first setting also as an A/A control."""
    tries = list(own.runs())
    for number, one in enumerate(tries):
        if not isinstance(one, Try):
            raise ValueError(f"runs(): number {number + 1} is {one!r}; it must yield experiments.sweep.Try")
        if one.mode == "control":
            raise ValueError(f"mode='control' of {one.label!r}: the A/A control of the first setting is called so")
    if repeated := {key for key in map(_key, tries) if [_key(one) for one in tries].count(key) > 1}:
        raise ValueError(f"runs(): {sorted(repeated)} more than once; labels of one mode must differ")
    for seed in grid.seeds:
        for number, one in enumerate(tries):
            model = grid.model(seed)
            if one.training:
                if not isinstance(model, TrainConfig):
                    raise ValueError(
                        f"training={dict(one.training)} of {one.label!r}: --model brings a trained network"
                    )
                model = replace(model, **one.training)
            more = {"final_denoise": one.final_denoise}
            yield _key(one), grid.cell("sweep", one.mode, model, one.ladder, one.sampler, **more)
            if number == 0:
                control = grid.cell("sweep", "control", model, one.ladder, one.sampler, control=True, **more)
                yield ("control", one.label), control


def contrasts(planned: Sequence[tuple[Setting, Cell | Infeasible]]) -> Iterator[Contrast | Choice]:
    """In each mode every setting against the first, and the best of them; then the control."""
    groups = grouped(planned)
    for mode in dict.fromkeys(mode for mode, _ in groups if mode != "control"):
        here = {label: group for (m, label), group in groups.items() if m == mode}
        yield from against_first("setting", mode, here, against_all=True)
    for (mode, label), control in groups.items():
        if mode == "control":
            main = next(group for (m, other), group in groups.items() if m != "control" and other == label)
            pairs = tuple(zip(control, main, strict=True))
            yield Contrast("control", "control", f"{label}, other noise", label, pairs)


def _key(one: Try) -> Setting:
    return one.mode, one.label
