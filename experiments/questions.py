"""A question of your own: FILE.py says which settings to compare, and `run` is one setting typed on the command line.

    python -m experiments sweep FILE.py --preset smoke
    python -m experiments sweep FILE.py --help
    python -m experiments sweep --vary eta=0,0.5,1 schedule=karras,vp train-noise=log-normal,edm2
    python -m experiments sweep --vary --help
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

Its fields are options. In each section, every setting is compared with the first, unless it has its own `pairs`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, ClassVar

from diffusion_core.registry import NOISE_DISTRIBUTIONS, PARAMETERISATIONS, SAMPLERS
from diffusion_core.schedules import OWN_ENDS, SCHEDULES
from diffusion_core.validation import one_of
from diffusion_core.weightings import WEIGHTINGS
from experiments.entrypoint import program_name
from experiments.run.grid import Grid, read_value
from experiments.run.options import Options, name_option, option_help
from experiments.run.setting import Setting, read_schedule
from experiments.run.study import ExploringStudy, Study
from experiments.user.imports import OWN, import_own, is_pretrained, user_code_errors
from experiments.user.parsing import SYNONYMS, parse_noise, parse_sampler

TRAIN_NOISE_HELP = (
    "Noise distribution of training: {names}; 'log-uniform(0.03, 100)'; your own class, 'my_file:Mine(2)'."
)
OUTPUTS = "Meaning of the network's output: {names}."
RECIPES = "that of --recipe"
SCHEDULES_HELP = "Noise schedule: {names}; your own class, 'my_file:Mine(2)'. With parameters: 'karras(rho=7)'."
KINDS = "Sampler: {names}; your own class, 'my_file:Mine(eta=0.5)'. With parameters: 'heun(s_churn=10)'."
TRAINING = ("train_noise", "weighting", "parameterisation", "stable_above", "stratified")


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
        yield Setting(
            f"{self.schedule}, {solver.name}", schedule, solver, self.schedule, training if self.trains else {},
            final_denoise=final or self.final_denoise,
        )  # fmt: skip


TRAINING_FACTORS = {  # factor -> field of the training, and its type
    "train_noise": ("noise", str),
    "weighting": ("weighting", str),
    "output": ("parameterisation", str),
    "lr": ("lr", float),
    "batch": ("batch_size", int),
    "ema_decay": ("ema_decay", float),
    "warmup_images": ("warmup_images", int),
    "train_images": ("images_seen", int),
}
OF_SAMPLING = ("eta", "sampler", "schedule", "evaluations", "shift", "sigma_min", "sigma_max", "final_denoise")


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
    known: ClassVar[Sequence[str]] = (*OF_SAMPLING, *TRAINING_FACTORS, "train_shift", "recipe", "network")

    def check(self) -> None:
        super().check()
        if networks := [*self.values.get("network", ())]:
            object.__setattr__(self, "network", networks[0])

    def setting(self, **values: str) -> Setting:
        impossible = list[str]()
        solver = parse_sampler(values.get("sampler", "euler(eta=1)"))
        if "eta" in values and hasattr(solver, "eta"):
            solver = replace(solver, eta=read_value("eta", values["eta"]))  # type: ignore[call-arg]
        elif "eta" in values:
            impossible.append(f"{solver.name.partition('(')[0]} has no eta")
        text = values.get("schedule", "flow(end=0)" if "shift" in values else "geometric")
        name = text.partition("(")[0].strip()
        if "shift" in values and "shift" in signature(SCHEDULES[one_of("schedule", name, SCHEDULES)]).parameters:
            text = _add_parameter(text, "shift", values["shift"])
        elif "shift" in values:
            impossible.append(f"{name} has no shift")
        ends = {name: read_value(name, values[name]) for name in ("sigma_max", "sigma_min") if name in values}
        if ends and name in OWN_ENDS:
            impossible.append(f"{name} sets its own ends")
        budget = read_value("evaluations", values.get("evaluations", "32"), int)
        schedule, final = read_schedule(text, budget, self.data_std, **ends)
        final = final or read_value("final_denoise", values.get("final_denoise", "false"), bool)
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
        for factor in values.keys() & TRAINING_FACTORS:
            name, value_class = TRAINING_FACTORS[factor]
            training[name] = read_value(factor, values[factor], value_class)
        if "train_shift" in values:
            training["noise"] = _add_parameter(values.get("train_noise", "sd3"), "shift", values["train_shift"])
        if isinstance(training.get("noise"), str):
            training["noise"] = parse_noise(training["noise"], self.data_std)
        return training


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
