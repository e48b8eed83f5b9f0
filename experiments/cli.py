"""The command line of `python -m experiments`, read with tyro from the studies.

It imports no torch, so that --help appears at once and a wrong argument is refused at once.
"""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from diffusion_core.registry import LazyRegistry
from experiments.run.options import Options, RunOptions
from experiments.run.study import Study

STUDIES: LazyRegistry[type[Study]] = LazyRegistry("experiments", {
    "beta": "beta.Beta",
    "schedules": "schedules.Schedules",
    "noise_levels": "noise_levels.NoiseLevels",
    "run": "questions.OneSetting",
})  # fmt: skip
SWEEP = "Your own question: FILE.py says which settings to compare."
SYMBOLS = """One step from noise level sigma:  x <- x - alpha*sigma*eps + beta*sigma*z,  sigma <- r*sigma
  sigma  standard deviation of the noise in x, in standard deviations of the data
  alpha  share of the estimated noise (eps) that a step removes
  beta   fresh noise (z) that it puts back, as a share of sigma; 0 is the deterministic sampler (DDIM)
  eta    beta on a scale that does not depend on the step: 0 is DDIM, 1 is DDPM"""
AnyStudy = TypeVar("AnyStudy", bound=Study)


@dataclass(frozen=True)
class CommandLine(Generic[AnyStudy]):
    """The options of a command that runs a study; each field is a box in --help."""

    study: Annotated[AnyStudy, tyro.conf.OmitArgPrefixes]
    running: Annotated[RunOptions, tyro.conf.OmitArgPrefixes]


def parse(name: str, arguments: Sequence[str], prog: str) -> tuple[Study, Options, str]:
    """The study, its options, and the name of its result. On --help and on invalid arguments tyro ends the program."""
    if name != "sweep":
        return (*_parse(STUDIES[name], arguments, f"{prog} {name}"), name)
    from experiments import questions

    files = [word for word in arguments if word.endswith(".py")]
    if not files and "--vary" in arguments:
        return (*_parse(questions.Vary, arguments, f"{prog} sweep"), "factors")
    if not arguments or arguments[0] in ("-h", "--help"):
        usage = f"usage: {prog} sweep FILE.py [options]\n       {prog} sweep --vary NAME=VALUE,VALUE ... [options]"
        print(f"{usage}\n\n{SWEEP}\n\n{(questions.__doc__ or '').replace('python -m experiments', prog)}")
        raise SystemExit(0 if arguments else 2)
    file = Path(files[0] if files else arguments[0]).expanduser()
    rest = [word for word in arguments if Path(word).expanduser() != file]
    if network := typed_value("--network", rest):
        Study(network=network).check_typed(typed_names(rest))  # before FILE is imported, which takes long
    study_class = questions.read_study(file)
    return (*_parse(study_class, rest, f"{prog} sweep {file}"), file.stem)


def _parse(study_class: type[Study], arguments: Sequence[str], prog: str) -> tuple[Study, Options]:
    preset = typed_preset(arguments)
    parsed: CommandLine[Study] = tyro.cli(
        CommandLine[study_class],  # type: ignore[valid-type]  # known when it runs
        prog=prog,
        description=description(prog, study_class, preset),
        default=CommandLine(study_class(**study_class.presets[preset]), RunOptions()),
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    typed = typed_names(arguments)
    study = parsed.study
    study.check()
    paths: dict[str, Any] = {name: path for name, path in vars(study).items() if isinstance(path, Path)}
    study = replace(study, **{name: Path.cwd() / path.expanduser() for name, path in paths.items()})
    study.check_typed(typed)
    return study, Options(typed=typed, **vars(parsed.running))


def typed_names(arguments: Sequence[str]) -> frozenset[str]:
    """The names of the options that are typed."""
    return frozenset(word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--"))


def typed_value(option: str, arguments: Sequence[str]) -> str:
    """The value that is typed for an option, the last one if there are several; "" if it is not typed."""
    pairs = pairwise([*arguments, ""])
    values = [word.partition("=")[2] or after for word, after in pairs if word.partition("=")[0] == option]
    return values[-1] if values else ""


def typed_preset(arguments: Sequence[str]) -> str:
    """The preset that is typed, whose values are the defaults; laptop if there is no such one."""
    preset = typed_value("--preset", arguments)
    return preset if preset in Study.presets else "laptop"


def description(prog: str, study_class: type[Study], preset: str) -> str:
    sizes = {name: study_class(**values).size for name, values in study_class.presets.items()}
    sizes["smoke"] = "17 to 21 seconds on two cores, proves nothing"
    sizes["laptop"] += f", {study_class.minutes}"
    presets = "; ".join(f"{name}: {size}" for name, size in sizes.items())
    default = f"The defaults below are those of --preset {preset}."
    paragraphs = filter(None, (study_class.question, study_class.text, f"Presets: {presets}. {default}"))
    width = shutil.get_terminal_size().columns
    lines = [textwrap.fill(text, width, subsequent_indent="  ") for text in paragraphs]  # tyro joins lines without
    examples = [f"  # {meaning}\n  {prog} {words}".rstrip() for words, meaning in study_class.examples.items()]
    return "\n\n".join([*lines, SYMBOLS, *(["\n".join(["Examples:", *examples])] if examples else [])])
