"""A sweep of your own: FILE.py says what to try; engine, store, statistics and report are those of every experiment.

    python -m experiments sweep FILE.py --preset smoke
    python -m experiments sweep FILE.py --dry-run

FILE.py has QUESTION, a text, and runs(), which yields one `Try` for each setting. In each mode the first is what the
others are compared with. It may have PRESETS, a Study for each of smoke, laptop and gpu; else those of `run` hold.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from diffusion_core.samplers import Sampler
from experiments.command_line import Sweep
from experiments.config.comparison import BestOf, Contrast, against_first, by_setting, control
from experiments.config.config import OWN, SOURCE, AlphaBetaLadder, Ladder, TrainConfig
from experiments.config.study import Study
from experiments.config.trial import Infeasible, Trial
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.run import PRESETS


@dataclass(frozen=True)
class Setting:
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
    runs: Callable[[], Iterable[Setting]]
    presets: Mapping[str, Study]


def main(question: Sweep, options: Options) -> pd.DataFrame:
    """A sweep of your own: FILE.py says what to try, and networks, scores, intervals and report come with it.

    Each setting that runs() yields is run with each network; in each mode the first setting is what the others are
    compared with. Interrupted, the same command goes on where it stopped. Returns the table.
    """
    own = read(question.file)
    study = options.apply(own.presets[options.preset])
    planned = list(trials(own, study))
    return run_experiment(
        Experiment("sweep", own.question, planned, list(contrasts(planned)), folder=own.name), options
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


def trials(own: OwnFile, study: Study) -> Iterator[Trial | Infeasible]:
    """Every trial, for each network in turn; the first setting also as an A/A control."""
    settings = list(own.runs())
    for number, one in enumerate(settings):
        if not isinstance(one, Setting):
            raise ValueError(f"runs(): number {number + 1} is {one!r}; it must yield experiments.sweep.Setting")
        if one.mode == "control":
            raise ValueError(f"mode='control' of {one.label!r}: the A/A control of the first setting is called so")
    keys = [(one.mode, one.label) for one in settings]
    if repeated := {key for key in keys if keys.count(key) > 1}:
        raise ValueError(f"runs(): {sorted(repeated)} more than once; labels of one mode must differ")
    for seed in study.seeds:
        for number, one in enumerate(settings):
            model = study.model(seed)
            if one.training:
                if not isinstance(model, TrainConfig):
                    raise ValueError(
                        f"training={dict(one.training)} of {one.label!r}: --model brings a trained network"
                    )
                model = replace(model, **one.training)
            what, final = (one.label, model, one.ladder, one.sampler), one.final_denoise
            yield study.trial("sweep", one.mode, *what, final_denoise=final)
            if number == 0:
                yield study.trial("sweep", "control", *what, final_denoise=final, control=True)


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestOf]:
    """In each mode every setting against the first, and the best of them; then the control."""
    modes = by_setting(planned)
    controls = modes.pop("control", {})
    for mode, here in modes.items():
        yield from against_first("setting", mode, here, against_all=True)
    for setting, trials in controls.items():
        yield control(setting, trials, next(iter(modes.values()))[setting])
