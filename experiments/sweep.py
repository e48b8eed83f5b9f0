"""A sweep of your own: FILE.py says which settings to compare. The rest is as in the other experiments.

    python -m experiments sweep FILE.py --preset smoke
    python -m experiments sweep FILE.py --dry-run

FILE.py has QUESTION, a text, and runs(), which yields one `Setting` per setting. In each mode, every setting is
compared with the first. FILE.py may have PRESETS, a Study for each of smoke, laptop and gpu. Missing presets are those
of `studies/sweep.py`.
"""

import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from diffusion_core.samplers import Sampler
from experiments.config.comparison import BestSet, Contrast, against_first, by_setting, control
from experiments.config.config import AlphaBetaLadder, Ladder
from experiments.config.identity import identity
from experiments.config.study import Study
from experiments.config.trained import TrainConfig
from experiments.config.trial import Infeasible, Trial
from experiments.engine.calibrated import calibrated
from experiments.engine.options import Options
from experiments.engine.runner import Experiment, run_experiment
from experiments.own.source import check_told_apart, import_own
from experiments.own.user_code import of_user
from experiments.studies.sweep import PRESETS as SIZES
from experiments.studies.sweep import SweepStudy
from reports.edge import program

MAX_SETTINGS = 100_000


@dataclass(frozen=True)
class Setting:
    """One setting, run with each network.

    Args:
        label: its name in the report.
        mode: name of a group of settings. Each setting is compared with the first of its group.
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
    """The contents of FILE.py."""

    path: Path
    question: str
    runs: Callable[[], Iterable[Setting]]
    presets: Mapping[str, Study]


def main(study: SweepStudy, options: Options) -> pd.DataFrame:
    """Runs the sweep and writes its report. Returns the table."""
    own = read(study.file)
    usual = own.presets.get(options.preset, study)  # the file's preset, changed by what was typed
    typed = {field.name: getattr(study, field.name) for field in fields(Study) if field.name in options.given}
    sized = calibrated(options.apply(replace(usual, **typed)), partial(trials, own), options)
    planned = list(trials(own, sized))
    return run_experiment(
        Experiment("sweep", own.question, planned, list(contrasts(planned)), folder=own.path.stem), options
    )


def read(path: Path) -> OwnFile:
    """Imports FILE.py, which may import modules next to it.

    Raises:
        ValueError: QUESTION or runs() is missing, or the import fails. The message names the line, if known.
    """
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"file={str(path)!r}: there is no such Python file")
    with of_user(f"file={str(path)!r}", ValueError, file=path):
        module = import_own(path)
    question, runs = _have(path, module, "QUESTION", str), _have(path, module, "runs", Callable)
    presets = getattr(module, "PRESETS", {})
    if not isinstance(presets, Mapping) or not all(isinstance(study, Study) for study in presets.values()):
        raise ValueError(f"file={str(path)!r}: PRESETS must be a dict of names and experiments.config.Study")
    if unknown := [name for name in presets if name not in SIZES]:
        raise ValueError(f"file={str(path)!r}: PRESETS has {unknown[0]!r}; its names are {', '.join(SIZES)}")
    return OwnFile(path, question, runs, dict(presets))


def _have(path: Path, module: ModuleType, name: str, kind: Any) -> Any:
    value = getattr(module, name, None)
    if not isinstance(value, kind):
        what = "QUESTION, a text" if name == "QUESTION" else "runs(), which yields what to try"
        raise ValueError(f"file={str(path)!r}: it needs {what}; see {program()} sweep --help")
    return value


def trials(own: OwnFile, study: Study) -> Iterator[Trial | Infeasible]:
    """Every trial, for each network in turn. The first setting also runs as an A/A control."""
    settings = _settings(own)
    for number, one in enumerate(settings):
        with of_user(f"runs(): number {number + 1}"):
            _check(number, one)
    keys = [(one.mode, " ".join(one.label.split())) for one in settings]
    if repeated := sorted(key for key, count in Counter(keys).items() if count > 1):
        raise ValueError(f"runs(): {repeated} more than once; labels of one mode must differ")
    first = {mode: number for number, (mode, _) in reversed(list(enumerate(keys)))}
    for seed in study.seeds:
        for number, one in enumerate(settings):
            model = study.model(seed)
            if one.training:
                if not isinstance(model, TrainConfig):
                    raise ValueError(
                        f"training={dict(one.training)} of {one.label!r}: --model brings a trained network"
                    )
                if unknown := sorted(map(str, one.training.keys() - {part.name for part in fields(TrainConfig)})):
                    raise ValueError(f"training of {one.label!r}: a TrainConfig has no {', '.join(unknown)}")
                with of_user(f"training of {one.label!r}"):
                    model = replace(model, **one.training)
            what, final = (one.label, model, one.ladder, one.sampler), one.final_denoise
            trial = study.trial("sweep", one.mode, *what, final_denoise=final)
            if isinstance(trial, Infeasible) and number == first[one.mode]:
                raise ValueError(
                    f"{one.label!r} is the first setting of mode {one.mode!r}, so all others are compared with it, but "
                    f"it cannot be run: {trial.why}"
                )
            yield trial
            if number == 0:
                yield study.trial("sweep", "control", *what, final_denoise=final, control=True)


def _check(number: int, one: Any) -> None:
    """Raises ValueError unless what runs() yielded is a setting that can be planned and has an identity."""
    if not isinstance(one, Setting):
        raise ValueError(f"runs(): number {number + 1} is {one!r}; it must yield experiments.sweep.Setting")
    if type(one.ladder) not in (Ladder, AlphaBetaLadder) or isinstance(one.sampler, type):
        raise ValueError(
            f"{one.label!r}: ladder={one.ladder!r}, sampler={one.sampler!r}: they must look like "
            "Ladder(n_steps=66) and Euler(0.5)"
        )
    if not isinstance(one.sampler, Sampler):
        raise ValueError(f"sampler of {one.label!r}: make its class a subclass of diffusion_core.samplers.Sampler")
    if not isinstance(one.training, Mapping):
        raise ValueError(f"training={one.training!r} of {one.label!r}: it must be a dict of TrainConfig's fields")
    for what, value in {"sampler": one.sampler, "ladder": one.ladder, **one.training}.items():
        if not isinstance(value, str | int | float | bool | tuple | None):
            check_told_apart(value)
        with of_user(f"{what} of {one.label!r}: it has no identity"):
            identity(value)
    for what, value in {"sampler": one.sampler, **one.training}.items():
        if what in ("sampler", "noise") and inspect.getattr_static(value, "name", None) is not None:
            with of_user(f"name of the {what} of {one.label!r}", ValueError):
                name = value.name
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"name of the {what} of {one.label!r}: {name!r}: it must be a text that is not empty")
    _check_planned_nfe(one)
    if fixed := sorted({"data", "machine", "seed"} & one.training.keys()):
        raise ValueError(
            f"training={fixed[0]!r} of {one.label!r}: all settings of a sweep share it, since they are scored "
            "against the same images; use --data, --seeds and the other options"
        )
    if not all(isinstance(text, str) and text.strip() and text.isprintable() for text in (one.mode, one.label)):
        raise ValueError(f"mode={one.mode!r}, label={one.label!r}: both must be texts that can be printed in a line")
    if not isinstance(one.final_denoise, bool):
        raise ValueError(f"final_denoise={one.final_denoise!r} of {one.label!r}: it must be True or False")
    if one.mode == "control":
        raise ValueError(f"mode='control' of {one.label!r}: the A/A control of the first setting is called so")


def _check_planned_nfe(one: Setting) -> None:
    """Raises ValueError if planned_nfe fails or gives no number. An unsuitable ladder becomes a row that says so."""
    with of_user(f"planned_nfe of the sampler of {one.label!r}"):
        try:
            planned = one.sampler.planned_nfe(one.ladder.sigmas())
        except ValueError:
            return
    if not isinstance(planned, int) or planned < 0:
        raise ValueError(f"sampler of {one.label!r}: planned_nfe is {planned!r}; it must be a whole number")


def _settings(own: OwnFile) -> list[Any]:
    """The settings that runs() yields. Raises ValueError if there are more than MAX_SETTINGS."""
    with of_user(f"file={str(own.path)!r}: runs()", ValueError, file=own.path):
        found = list(itertools.islice(own.runs(), MAX_SETTINGS + 1))
    if len(found) > MAX_SETTINGS:
        raise ValueError(f"runs(): it yields more than {MAX_SETTINGS:,} settings, or does not end")
    return found


def contrasts(planned: Sequence[Trial | Infeasible]) -> Iterator[Contrast | BestSet]:
    """In each mode: every setting against the first, and the best setting against all others. Then the control."""
    modes = by_setting(planned)
    controls = modes.pop("control", {})
    for mode, here in modes.items():
        yield from against_first("setting", mode, here, family="setting")
        yield BestSet(mode, here)
    for setting, trials in controls.items():
        yield control(setting, trials, next(iter(modes.values()))[setting])
