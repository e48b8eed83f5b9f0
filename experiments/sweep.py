"""A question of your own: FILE.py says which settings to compare, and `run` is one setting typed on the command line.

    python -m experiments sweep FILE.py --preset smoke
    python -m experiments sweep FILE.py --help
    python -m experiments run --schedule "karras(rho=7)" --n-steps 18 --sampler heun
    python -m experiments run --train-noise "log-normal(0, 1)" --weighting unit-eps --sampler "euler(eta=1)"

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

Its fields are options. In each section, every setting is compared with the first, unless it has its own `compare`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from diffusion_core.registry import NOISE_DISTRIBUTIONS, PARAMETERISATIONS, SAMPLERS
from diffusion_core.schedules import SCHEDULES
from diffusion_core.weightings import WEIGHTINGS
from experiments.entrypoint import program_name
from experiments.run.options import Options, name_option, option_help
from experiments.run.setting import Setting, read_schedule
from experiments.run.study import ExploringStudy, Study
from experiments.user.imports import OWN, import_own, user_code_errors
from experiments.user.parsing import SYNONYMS, parse_noise, parse_sampler

TRAIN_NOISE_HELP = "Noise distribution of training: {names}. With parameters: 'log-uniform(0.03, 100)'."
OUTPUTS = "Meaning of the network's output: {names}."
RECIPES = "that of --recipe"
SCHEDULES_HELP = "Noise schedule: {names}. With parameters: 'karras(rho=7)'."
KINDS = "Sampler: {names}; your own class, 'my_file:Mine(eta=0.5)'. With parameters: 'heun(s_churn=10)'."
TRAINING = ("train_noise", "weighting", "parameterisation", "stable_above", "stratified")
RENAMED = {"then": "follow_up_settings", "more": "extra_tables", "finish": "after_write", "limit": "time_limit"}


@dataclass(frozen=True)
class OneSetting(Study):
    """The setting."""

    question = "How good is this one setting?"
    text = "Trains, samples, scores and times one setting, without a comparison."
    page = "run"
    minutes = "about 4 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        '--schedule karras --n-steps 18 --sampler "heun(s_churn=10)"': "one setting, scored against real images",
        "--network diffusers:FOLDER --data mnist": "a network of the library diffusers",
    }
    of_training: ClassVar[Sequence[str]] = (*Study.of_training, *TRAINING)

    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=KIND:WHERE ...]")] = ()
    """Further ready networks, each compared with that of --network, image by image: before=python:my_model:old."""
    train_noise: Annotated[str | None, name_option(TRAIN_NOISE_HELP, NOISE_DISTRIBUTIONS, RECIPES)] = None
    weighting: Annotated[str, name_option("Weights of the loss: {names}.", WEIGHTINGS)] = "karras"
    parameterisation: Annotated[str | None, name_option(OUTPUTS, PARAMETERISATIONS, RECIPES)] = None
    stable_above: Annotated[float | None, option_help("SIGMA", RECIPES)] = None
    """Noise level above which the target is the mean of the noises that could have made the image. inf: nowhere."""
    stratified: Annotated[bool | None, option_help("{True,False}", RECIPES)] = None
    """Spread the noise levels of a batch evenly over the noise distribution."""
    schedule: Annotated[str, name_option(SCHEDULES_HELP, SCHEDULES)] = "geometric"
    n_steps: int = 32
    """Steps of the schedule."""
    sigma_max: float = 30.0
    """First level, in standard deviations of the data."""
    sigma_min: float = 0.03
    """Last level."""
    sampler: Annotated[str, name_option(KINDS, [*SAMPLERS, *SYNONYMS])] = "euler(eta=1)"
    final_denoise: bool = False
    """End with x - sigma*eps at the last level: one more evaluation."""

    def settings(self) -> Iterator[Setting]:
        training: dict[str, Any] = {name: value for name in TRAINING if (value := getattr(self, name)) is not None}
        if "train_noise" in training:
            training["noise"] = parse_noise(training.pop("train_noise"), self.data_std)
        schedule, final = read_schedule(self.schedule, self.n_steps, self.data_std, self.sigma_max, self.sigma_min)
        solver = parse_sampler(self.sampler)
        first = Setting(
            f"{self.schedule}, {solver.name}", schedule, solver, self.schedule, training if self.trains else {},
            final_denoise=final or self.final_denoise,
        )  # fmt: skip
        yield replace(first, label=self.network) if self.against else first
        for text in self.against:
            name, _, source = text.partition("=")
            if not name or not source:
                raise ValueError(f"against={text!r}: it must be a name and a network, such as new=python:my_model:eps")
            yield replace(first, label=name, network=source)


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
    studies = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Study) and kind.__module__ == OWN and not kind.__subclasses__()
    ]
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
    if old := [old for old in RENAMED if old in vars(study) and old not in study.__annotations__]:
        raise ValueError(f"{subject}: {old[0]} of class {study.__name__}: it is called {RENAMED[old[0]]} now")
    base = ExploringStudy if issubclass(study, ExploringStudy) else Study
    if base is Study and "explore" in vars(study):
        raise ValueError(
            f"{subject}: class {study.__name__} has explore(): write class {study.__name__}(ExploringStudy)"
        )
    study.presets = {**base.presets, **study.presets}
    for values in study.presets.values():
        study(**values).check()
    return study
