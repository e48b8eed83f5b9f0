"""A question of your own: FILE.py says which settings to compare, and `run` is one setting typed on the command line.

    python -m experiments sweep FILE.py --preset smoke
    python -m experiments sweep FILE.py --help
    python -m experiments sweep --vary eta=0,0.5,1 schedule=karras,vp train-noise=log-normal,edm2
    python -m experiments sweep --vary --help
    python -m experiments run "karras(30, 0.03, end=0), heun, 36"
    python -m experiments run "geometric(30, 0.03), euler(eta=1), 32; train_noise=log-normal(0, 1), weighting=unit-eps"

FILE.py has a class like those of the experiments that ship, such as beta.py:

    from dataclasses import dataclass
    from experiments import Euler, Schedule, Setting, Study

    @dataclass(frozen=True)
    class Mine(Study):
        question = "Does karras beat geometric?"
        etas: tuple[float, ...] = (0.0, 1.0)
        \"\"\"Noise of the sampler.\"\"\"

        def settings(self):
            for eta in self.etas:
                for rule in ("geometric", "karras"):
                    yield Setting(rule, Schedule(rule, n_steps=16), Euler(eta), section=f"eta {eta:g}")

Its fields are options. In each section, every setting is compared with the first, unless it has its own `pairs`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from diffusion_core.schedules import SCHEDULES
from diffusion_core.validation import one_of
from experiments import names
from experiments.entrypoint import program_name
from experiments.run.grid import Grid
from experiments.run.options import Options, option_help
from experiments.run.study import ExploringStudy, Study
from experiments.settings import (
    ENDS,
    FACTORS,
    USUAL_ENDS,
    OwnLevels,
    Setting,
    brings_levels,
    read_schedule,
    read_training,
    read_value,
)
from experiments.user.imports import OWN, import_own, is_pretrained, user_code_errors


@dataclass(frozen=True)
class OneSetting(Study):
    """The setting."""

    question = "How good is this one setting?"
    text = "Trains, samples, scores and times one setting, without a comparison."
    page = "run"
    minutes = "about 4 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        '"karras(30, 0.03, end=0), heun(s_churn=10), 36"': "one setting, scored against real images",
        '"geometric(30, 0.03), euler(eta=1), 32; train_noise=edm2, lr=0.001"': "and how its network is trained",
        "--network diffusers:FOLDER --data mnist": "a network of the library diffusers",
    }

    setting: Annotated[str, tyro.conf.Positional, option_help("SETTING")] = "geometric(30, 0.03), euler(eta=1), 32"
    """SCHEDULE(FIRST LEVEL, LAST LEVEL), SAMPLER, EVALUATIONS, as reports print it. end=0 in the schedule is a last
    step to 0. After a semicolon: what is special in training, FACTOR=VALUE. Names: see schedules, noise_levels and
    sweep --vary --help."""

    def settings(self) -> Iterator[Setting]:
        setting = Setting.parse(self.setting, self.data_std)
        if setting.training and not self.trains:
            raise ValueError(
                f"setting={self.setting!r}: what stands after ';' is only for training; remove it, or --network"
            )
        yield replace(setting, section=setting.schedule.name)


OF_SCHEDULES = ("schedule", "shift", "sigma_min", "sigma_max", "final_denoise")
OF_SAMPLING = ("eta", "sampler", "evaluations", *OF_SCHEDULES)


@dataclass(frozen=True)
class Vary(Grid):
    """A grid that is typed: each factor is a part of a setting or of the training."""

    text = (
        "Runs every combination of the values on the same networks: main effects, interactions, and the best "
        "combination, confirmed on further networks. What is not varied is as in run, with 32 evaluations."
    )
    examples: ClassVar[Mapping[str, str]] = {
        "--vary eta=0,0.5,1 schedule=karras,vp train-noise=log-normal,edm2": "three factors",
        "--vary lr=1e-3,3e-3 batch=64,128 --network build:my_model:unet": "of the training of your architecture",
        "--vary train-shift=1,3 shift=1,3,5": "must the shift of sampling follow that of training?",
    }
    known: ClassVar[Sequence[str]] = (*OF_SAMPLING, *FACTORS, "train_shift", "recipe", "network")

    def check(self) -> None:
        super().check()
        if networks := [*self.values.get("network", ())]:
            object.__setattr__(self, "network", networks[0])

    def setting(self, **values: str) -> Setting:
        impossible = list[str]()
        solver = names.parse_sampler(values.get("sampler", "euler(eta=1)"), self.data_std)
        if "eta" in values and hasattr(solver, "eta"):
            solver = replace(solver, eta=read_value("eta", values["eta"]))  # type: ignore[call-arg]
        elif "eta" in values:
            impossible.append(f"{solver.name.partition('(')[0]} has no eta")
        if brings_levels(solver) and (typed := [name for name in OF_SCHEDULES if name in values]):
            impossible.append(f"{solver.name.partition('(')[0]} has its own levels, so no {typed[0]}")
        text = values.get("schedule", "flow(end=0)" if "shift" in values else "geometric")
        name = text.partition("(")[0].strip()
        if "shift" in values and "shift" in signature(SCHEDULES[one_of("schedule", name, SCHEDULES)]).parameters:
            text = _add_parameter(text, "shift", values["shift"])
        elif "shift" in values:
            impossible.append(f"{name} has no shift")
        ends = {name: read_value(name, values[name]) for name in ENDS if name in values}
        budget = read_value("evaluations", values.get("evaluations", "32"), int)
        usual = tuple(ends.get(name, end) for name, end in zip(ENDS, USUAL_ENDS, strict=True))
        schedule, said = read_schedule(text, budget, self.data_std, usual)
        if ends and schedule.sets_ends:
            impossible.append(f"{name} sets its own ends")
        final = "end" in said or read_value("final_denoise", values.get("final_denoise", "false"), bool)
        if brings_levels(solver):
            schedule, final = OwnLevels(n_steps=budget, sampler=solver), False
        ready = values.get("network", "") if is_pretrained(self.network) else ""
        return Setting(
            "", schedule.fit(budget - final, solver), solver, training=self.training(values), final_denoise=final,
            network=ready or None, impossible="; ".join(impossible),
        )  # fmt: skip

    def training(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Returns the fields of `Trained` that are special in the training of a combination."""
        training: dict[str, Any] = {}
        if "recipe" in values:
            from experiments.run.networks import RECIPES, Trained

            training = {name: getattr(Trained(), name) for name in RECIPES["fast"]}
            training |= RECIPES[one_of("recipe", values["recipe"], RECIPES)]
        if "network" in values and not is_pretrained(self.network):
            training["network"] = values["network"]
        factors = {name: text for name, text in values.items() if name in FACTORS}
        if "train_shift" in values:
            noise = factors.get("train_noise", "sd3")
            factors["train_noise"] = _add_parameter(noise, "shift", values["train_shift"])
        return training | read_training(factors, self.data_std)


def _add_parameter(text: str, name: str, value: str) -> str:
    """A call with one more parameter: "flow" or "flow(data_std=0.5)" with shift=3."""
    start = f"{text.strip().removesuffix(')')}, " if "(" in text else f"{text.strip()}("
    return f"{start}{name}={value})"


def read_study(path: Path) -> type[Study]:
    """The study in FILE.py, which may import modules next to it, with the presets of all.

    ValueError, with the line if it is known, if there is no such file, its import fails, or it has not one study.
    """
    subject = f"file={str(path)!r}"
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"{subject}: there is no such Python file")
    import_module("experiments.run.networks")  # so that its tables are known as we ship them, before FILE changes them
    with user_code_errors(subject, ValueError, file=path):
        module = import_own(path)
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == OWN]
    studies = [one for one in classes if issubclass(one, Study) and not one.__subclasses__()]
    if len(studies) != 1:
        count = f"{len(studies)} studies" if studies else "no class of the kind `class Mine(Study)`"
        raise ValueError(f"{subject}: it has {count}; one is needed; see {program_name()} sweep --help")
    (study,) = studies
    if "__dataclass_params__" not in vars(study):
        raise ValueError(
            f"{subject}: write @dataclass(frozen=True) above class {study.__name__}, so that its fields count"
        )
    if common := {field.name for field in fields(study)} & {field.name for field in fields(Options)}:
        raise ValueError(f"{subject}: {min(common)} is an option of all experiments; give the field another name")
    if unknown := study.presets.keys() - Study.presets.keys():
        raise ValueError(f"{subject}: presets has {min(unknown)!r}; its names are {', '.join(Study.presets)}")
    base = next(study_class for study_class in (Grid, ExploringStudy, Study) if issubclass(study, study_class))
    if base is Study and "explore" in vars(study):
        raise ValueError(
            f"{subject}: class {study.__name__} has explore(): write class {study.__name__}(ExploringStudy)"
        )
    study.presets = {**base.presets, **study.presets}
    for values in study.presets.values():
        study(**values).check()
    return study
