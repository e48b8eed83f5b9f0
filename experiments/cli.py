"""The command line of `python -m experiments`, read with tyro from the studies.

It imports no torch, so that --help appears at once and a wrong argument is refused at once.
"""

import ast
import inspect
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_args, get_type_hints

import tyro

from diffusion_core.registry import LazyRegistry
from diffusion_core.validation import one_of
from experiments.run.options import Options, RunOptions
from experiments.run.study import Study
from experiments.user.json_io import read_json

STUDIES: LazyRegistry[type[Study]] = LazyRegistry("experiments", {
    "beta": "beta.Beta",
    "schedules": "schedules.Schedules",
    "noise_levels": "noise_levels.NoiseLevels",
    "run": "sweep.OneSetting",
})  # fmt: skip
SWEEP = "Your own question: FILE.py says which settings to compare."
SYMBOLS = """One step from noise level sigma:  x <- x - alpha*sigma*eps + beta*sigma*z,  sigma <- r*sigma
  sigma  standard deviation of the noise in x, in standard deviations of the data
  alpha  share of the estimated noise (eps) that a step removes
  beta   fresh noise (z) that it puts back, as a share of sigma; 0 is the deterministic sampler (DDIM)
  eta    beta on a scale that does not depend on the step: 0 is DDIM, 1 is DDPM"""
TERMS = """eta: fresh noise in each step; 0 is none (DDIM), 1 is DDPM. A CUDA GPU is used if there is one. An
interrupted command continues. In brackets: the defaults."""
COMMON = ("preset", "dry_run", "out", "data", "network", "seeds", "n_samples", "workers")  # in every short --help
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
    from experiments import sweep

    files = [word for word in arguments if word.endswith(".py")]
    if not files and {"--vary", "--help-all"} & {*arguments}:
        return (*_parse(sweep.Vary, arguments, f"{prog} sweep"), "factors")
    if not arguments or arguments[0] in ("-h", "--help"):
        usage = f"usage: {prog} sweep FILE.py [options]\n       {prog} sweep --vary NAME=VALUE,VALUE ... [options]"
        print(f"{usage}\n\n{SWEEP}\n\n{(sweep.__doc__ or '').replace('python -m experiments', prog)}")
        raise SystemExit(0 if arguments else 2)
    file = Path(files[0] if files else arguments[0]).expanduser()
    rest = [word for word in arguments if Path(word).expanduser() != file]
    if network := typed_value("--network", rest):
        Study(network=network).check_typed(typed_names(rest))  # before FILE is imported, which takes long
    study_class = sweep.read_study(file)
    return (*_parse(study_class, rest, f"{prog} sweep {file}"), file.stem)


def _parse(study_class: type[Study], arguments: Sequence[str], prog: str) -> tuple[Study, Options]:
    config = read_config(study_class, typed_value("--config", arguments))
    preset = typed_preset(arguments, config.get("preset"))
    if {"-h", "--help"} & {*arguments}:
        print(short_help(prog, study_class, preset))
        raise SystemExit(0)
    arguments = ["--help" if word == "--help-all" else word for word in arguments]
    parsed: CommandLine[Study] = tyro.cli(
        CommandLine[study_class],  # type: ignore[valid-type]  # known when it runs
        prog=prog,
        description=description(prog, study_class, preset),
        default=CommandLine(study_class(**study_class.presets[preset]), RunOptions()),
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    typed = typed_names(arguments)
    if "preset" in typed & config.keys():
        raise ValueError("preset, config: the file has a preset; give one of them")
    stored = {name: value for name, value in config.items() if name not in typed}
    names = {field.name for field in fields(study_class)}
    study = replace(parsed.study, **{name: value for name, value in stored.items() if name in names})
    study.check()
    values: dict[str, Any] = {name: getattr(study, name) for name in names}
    values = {name: Path.cwd() / path.expanduser() for name, path in values.items() if isinstance(path, Path)}
    study = replace(study, **values)
    study.check_typed(typed)
    running = vars(parsed.running) | {name: value for name, value in stored.items() if name not in names}
    return study, Options(typed=typed, **running)


def read_config(study_class: type[Study], file: str) -> dict[str, Any]:
    """The options in a file, a run.json or JSON of options, without --config; none if there is no file name.

    ValueError if it cannot be read, or names what is no option of the study.
    """
    if not file:
        return {}
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"config={file}: there is no such file")
    content = read_json(path)
    options = dict(content.get("options", content))
    hints = get_type_hints(RunOptions) | get_type_hints(study_class)
    names = [field.name for field in (*fields(study_class), *fields(RunOptions))]
    for name, value in options.items():
        one_of(f"config={file!r}: option", name, names)
        if isinstance(value, str) and Path in (hints[name], *get_args(hints[name])):
            options[name] = Path(value)
    options.pop("config", None)
    return options


def typed_names(arguments: Sequence[str]) -> frozenset[str]:
    """The names of the options that are typed."""
    return frozenset(word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--"))


def typed_value(option: str, arguments: Sequence[str]) -> str:
    """The value that is typed for an option, the last one if there are several; "" if it is not typed."""
    pairs = pairwise([*arguments, ""])
    values = [word.partition("=")[2] or after for word, after in pairs if word.partition("=")[0] == option]
    return values[-1] if values else ""


def typed_preset(arguments: Sequence[str], stored: str | None = None) -> str:
    """The preset that is typed, otherwise `stored`, whose values are the defaults; laptop if there is no such one."""
    preset = typed_value("--preset", arguments) or stored or "laptop"
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
    return "\n\n".join(
        [*lines, SYMBOLS, *([f"Examples:\n{_examples(prog, study_class)}"] if study_class.examples else [])]
    )


def _examples(prog: str, study_class: type[Study]) -> str:
    return "\n".join(f"  # {meaning}\n  {prog} {words}".rstrip() for words, meaning in study_class.examples.items())


def short_help(prog: str, study_class: type[Study], preset: str) -> str:
    """--help: the options of this question and those that most people need, one line each."""
    width = shutil.get_terminal_size().columns
    of_question = [field.name for field in fields(study_class)[len(fields(Study)) :]]  # after those of all studies
    of_question = [name for name in of_question if not name.startswith(("explore_", "confirm_"))]  # sizes
    values = vars(RunOptions()) | vars(study_class(**study_class.presets[preset]))
    texts = {name: text for options in (RunOptions, study_class) for name, text in _options(options)}
    lines = [
        f"usage: {prog} [OPTIONS]",
        "",
        textwrap.fill(f"{study_class.question} {study_class.text.split('. ')[0].removesuffix('.')}. {TERMS}", width),
    ]
    for title, names in (("Options of this question:", of_question), ("Options that most people need:", COMMON)):
        names = [name for name in names if name in texts]
        lines += ["", *([title] if names else [])]
        for name in names:
            typed, text = texts[name]
            words = f"  --{typed.replace('_', '-')}"
            value = {"preset": f"{preset}: {study_class.minutes}", "out": "runs/NAME-PRESET"}.get(name, values[name])
            value = " ".join(map(str, value)) if isinstance(value, tuple) else value
            value = "" if value in (None, "", False) else f" ({value})"
            room = max(width - 22, 30)
            value = value if len(value) < 2 * room else " (--help-all lists the defaults)"
            text = textwrap.shorten(text, max(24, 2 * room - len(value) - 12), placeholder=" ...")
            wrapped = textwrap.wrap(f"{text}{value}", room)
            lines += [f"{words:21} {line}" if line is wrapped[0] else f"{'':21} {line}" for line in wrapped]
    examples = ["", "Examples:", _examples(prog, study_class)] if study_class.examples else []
    return "\n".join([*lines, *examples, "", f"{prog} --help-all: all options, in full, and the presets."])


def _options(study_class: type) -> Iterator[tuple[str, tuple[str, str]]]:
    """The fields of a dataclass, with what is typed and the first sentence of their help. Hidden ones are left out."""
    hints = get_type_hints(study_class, include_extras=True)
    for parent in reversed(study_class.__mro__[:-1]):
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(parent))).body[0]
        for field, after in pairwise([*tree.body, ast.Pass()]):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            name = field.target.id
            extras = getattr(hints.get(name), "__metadata__", ())
            texts = [extra.help for extra in extras if getattr(extra, "help", None)]
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                texts.append(after.value.value)
            if texts:
                typed = next((extra.name for extra in extras if getattr(extra, "name", None)), name)
                yield name, (typed, " ".join(texts[0].split()).split(". ")[0].rstrip("."))
