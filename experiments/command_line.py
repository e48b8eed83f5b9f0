"""The command line of `python -m experiments`, read with tyro from the studies.

This module and the studies import only fast modules, so that --help appears at once.
"""

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules
from typing import Annotated, Any, Generic

import tyro

from experiments import studies
from experiments.config.study import AnyStudy, Command, Study
from experiments.engine.options import Cluster, ModelAndScores, Options, Result, Running

SYMBOLS = """One step from noise level sigma:  x <- x - alpha*sigma*eps + beta*sigma*z,  sigma <- r*sigma
  sigma  standard deviation of the noise in x, in standard deviations of the data
  alpha  share of the estimated noise (eps) that a step removes
  beta   fresh noise (z) that it puts back, as a share of sigma; 0 is the deterministic sampler (DDIM)
  eta    beta on a scale that does not depend on the step: 0 is DDIM, 1 is DDPM"""


@cache
def commands() -> Mapping[str, Command[Any]]:
    """The experiments by name: one per file of `studies`."""
    ours = sorted(module.name for module in iter_modules(studies.__path__))
    return {name: import_module(f"experiments.studies.{name}").COMMAND for name in ours}


@dataclass(frozen=True)
class Form(Generic[AnyStudy]):
    """What can be typed; each field is a box in --help."""

    study: Annotated[AnyStudy, tyro.conf.OmitArgPrefixes]
    result: Annotated[Result, tyro.conf.OmitArgPrefixes]
    model_and_scores: Annotated[ModelAndScores, tyro.conf.OmitArgPrefixes]
    running: Annotated[Running, tyro.conf.OmitArgPrefixes]
    cluster: Annotated[Cluster, tyro.conf.OmitArgPrefixes]


def parse(name: str, arguments: Sequence[str], prog: str) -> tuple[Any, Options]:
    """The study and the options of an experiment. On --help and on invalid arguments tyro ends the program."""
    command = commands()[name]
    preset = asked_preset(arguments, command.presets)
    usual = Form(command.presets[preset], Result(), ModelAndScores(), Running(), Cluster())
    kind: Any = Form[type(usual.study)]  # type: ignore[misc]  # known when it runs
    form: Form[Study] = tyro.cli(
        kind,
        prog=f"{prog} {name}",
        description=description(f"{prog} {name}", command, preset),
        default=usual,
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    shared = (form.result, form.model_and_scores, form.running, form.cluster)
    return form.study, Options(
        given=given(arguments), **{key: value for part in shared for key, value in vars(part).items()}
    )


def asked_preset(arguments: Sequence[str], presets: Mapping[str, Study]) -> str:
    """The preset that is typed, whose values are the defaults; laptop if none or an unknown one is."""
    typed = [
        word.partition("=")[2] or after
        for word, after in pairwise([*arguments, ""])
        if word.partition("=")[0] == "--preset"
    ]
    return typed[-1] if typed and typed[-1] in presets else "laptop"


def given(arguments: Sequence[str]) -> frozenset[str]:
    """The names of the options that are typed."""
    typed = {word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--")}
    return frozenset({"train_seeds" if name == "seeds" else name for name in typed})


def description(prog: str, command: Command[Any], preset: str) -> str:
    """The text above the options."""
    sizes = {kind: study.size for kind, study in command.presets.items()}
    sizes["smoke"] = "8 to 21 seconds on two cores, proves nothing"
    sizes["laptop"] += f", {command.minutes}"
    presets = "; ".join(f"{kind}: {size}" for kind, size in sizes.items())
    examples = "\n".join(f"  {prog}{' ' * bool(line)}{line}" for line in command.examples)
    width = shutil.get_terminal_size().columns
    default = f"The defaults below are those of --preset {preset}."
    paragraphs = (command.question, command.text, f"Presets: {presets}. {default}")
    lines = [
        textwrap.fill(text, width, subsequent_indent="  ") for text in paragraphs
    ]  # tyro joins lines without indent
    return "\n\n".join([*lines, SYMBOLS, f"Examples:\n{examples}"])
