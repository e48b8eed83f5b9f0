"""`python -m experiments score REAL A B ...`: which images are nearest to real ones, with intervals?

Exit status: 0; 1 with --fail-if-worse if a set is worse than the first one; 2 for invalid arguments. With --margin: 0
harmless, 1 harmful, 3 not decided.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.run.study import shown
from experiments.terminal import Terminal

if TYPE_CHECKING:
    from experiments.distances.intervals import Estimate
    from experiments.run.cache import Cache
    from experiments.scoring.compare import Weights

HELP = """How far are images from real ones? Of several sets, is one better? Each answer has a 95 % interval.

REAL and the sets A, B, ... may be
  a folder of image files        any sizes, grey or colour; all files below it
  FILE.npz                       uint8 images (n, H, W), (n, H, W, C) or (n, C, H, W)
  FILE.npy                       uint8 images, or your own features (n, d): then no images are needed
  a result folder of `run`, or samples:ID          samples in the store
  mnist5k, mnist, fashion-mnist, cifar10           a data set

Every extractor resizes images itself; those of torch-fidelity (inception-v3-compat, ...) as torch-fidelity does, so the
numbers equal those of its command `fidelity`. Transparent pixels are laid over black. Images of 16 bits are refused.

Examples:
  score photos/ model-a/ model-b/
  score photos/ model-a/ --features inception-v3-compat
  score real.npy before.npy after.npy --pairs order --fail-if-worse

Is a faster pipeline harmless? With --margin the images after a change are compared with those before; REAL may be none:
  score none before/ after/ --margin 0.02
prints "harmless: as if at most 1.2 % of the images were destroyed (limit 2 %)". Exit status: 0 harmless, 1 harmful, 2
invalid arguments, 3 not decided. See docs/harmless.md."""
SETS = tyro.conf.arg(metavar="A [B ...]", help_behavior_hint="(required)")


@dataclass(frozen=True)
class Score:
    """What to score."""

    real: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REAL")]
    """Real images."""
    sets: Annotated[tuple[str, ...], tyro.conf.Positional, SETS] = ()
    """Sets of images. Each is compared with the first."""
    features: Annotated[tuple[str, ...], shown("NAME [NAME ...]", "digits for MNIST, else natural")] = ()
    """Feature spaces: digits, natural, torch-fidelity's, or your own, python:MODULE:FUNCTION. The first decides."""
    feature_weights: Annotated[
        tuple[str, ...], shown("[NAME=]FILE", "downloaded if needed"), tyro.conf.UseAppendAction
    ] = ()
    """Weights of the feature extractor. With several feature spaces: NAME=FILE, once for each."""
    pairs: Literal["auto", "names", "order", "none"] = "auto"
    """Images from the same noise: those of one name, or at one place. auto: names, if all sets have the same."""
    margin: Annotated[float | None, shown("SHARE", "none: sets are only compared")] = None
    """Is a change harmless? Of two sets, before and after it: is it as if less than this share were destroyed?"""
    groups: Annotated[str | None, shown("SPEC", "every image alone")] = None
    """The prompt of each image, unit of intervals: folder; names such as "{prompt}-{seed}.png"; FILE.csv[:COLUMN]."""
    crops: int = 0
    """With --margin: so many crops of each image in full resolution are compared too; features see it reduced."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/score")
    """Folder of the result."""
    store: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/store")
    """Where features are kept for the next time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a CUDA device."""
    fail_if_worse: bool = False
    """Exit status 1 if a set is worse than the first, for continuous integration."""
    json: bool = False
    """End with distances and differences as one line of JSON. Where the output is no terminal, it always does."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Scores the images and writes the report. tyro ends the program on --help."""
    options = tyro.cli(Score, prog=prog, description=HELP, args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,))
    return main(options)


def main(options: Score) -> int:
    """Prints the verdict and writes the result folder. Returns the exit status. ValueError as in `compare`."""
    start = time.time()
    logging.basicConfig(format="note: %(message)s")
    if not options.sets:
        raise ValueError("sets: none is given; type REAL, then one set of images or more")
    from experiments.distances.intervals import WORSE
    from experiments.run.cache import Cache
    from experiments.run.conclusion import show
    from experiments.run.folder import earlier, held
    from experiments.scoring.compare import measure
    from experiments.scoring.tables import NAME, write

    out = options.out.absolute()  # wherever code of the user's goes
    earlier(options.out)  # raises ValueError if others wrote there
    if options.real == "none" and options.margin is None:
        raise ValueError("real='none': only --margin needs no real images")
    if options.real == "none" and Path("none").exists():
        raise ValueError("real='none': it means no real images, but there is a folder or file none; rename it")
    for source in (options.real, *options.sets):
        if (place := Path(source).expanduser()).is_dir() and out.resolve().is_relative_to(place.resolve()):
            raise ValueError(
                f"out={str(options.out)!r}: it lies in {source}, whose images are scored; choose another folder"
            )
    store, features = Cache(options.store), options.features or None
    sources = (options.real, *options.sets)
    weights = _weights(options)
    if options.margin is not None:
        return _harmless(options, weights, store, out, start)
    if options.crops:
        raise ValueError("crops: they need --margin")
    compared = measure(sources, features, options.pairs, weights, options.device, store, options.groups)
    scores, first = compared.scores, compared.scores.spaces[0]
    differences = first.differences
    if options.fail_if_worse and not differences:
        raise ValueError(f"fail_if_worse: {compared.inputs[1].name} is the only set; at least two are compared")
    console = Terminal()
    with held(out):
        page = write(out, compared, time.time() - start)
        paired = [] if console.is_terminal else [scores.pairing]  # a terminal shows it below the numbers
        for note in filter(None, [*paired, *scores.notes]):
            console.print(f"note: {note}")
        show(page, out / "report.html", str(options.out / "report.html"), False, console)
    if options.json or not console.is_terminal:
        summary = {
            "experiment": NAME,
            "features": first.features,
            "n": scores.n,
            "pairs": scores.pairs,
            "verdicts": {pair.a: pair.verdict for pair in differences},
            "scores": {side.name: _with_limits(side.values) for side in first.sides},
            "differences": {pair.a: _with_limits(pair.values) for pair in differences},
            "best": list(first.best),
            "notes": scores.notes,
            "warnings": scores.warnings,
            "out": str(options.out),
        }
        print(json.dumps(summary))
    return int(options.fail_if_worse and any(pair.verdict == WORSE for pair in differences))


def _harmless(options: Score, weights: "Weights", store: "Cache", out: Path, start: float) -> int:
    """Prints whether the change is harmless, and writes the result folder. Returns the exit status."""
    if len(options.sets) != 2 or options.fail_if_worse:
        given = "fail_if_worse: it" if options.fail_if_worse else f"sets: {len(options.sets)}"
        raise ValueError(f"{given} does not suit --margin, which compares two sets, before and after")
    from experiments.run.conclusion import show
    from experiments.run.folder import held
    from experiments.scoring.harmless import measure
    from experiments.scoring.harmless_tables import NAME, write

    before, after = options.sets
    reference = None if options.real == "none" else options.real
    compared = measure(
        (before, after), reference, options.features or None, options.pairs, weights, options.device, store,
        options.margin, options.groups, options.crops,
    )  # fmt: skip
    answer, console = compared.answer, Terminal()
    with held(out):
        page = write(out, compared, time.time() - start)
        for note in answer.notes:
            console.print(f"note: {note}")
        show(page, out / "report.html", str(options.out / "report.html"), False, console)
    if options.json or not console.is_terminal:
        checks = {
            one.name: {name: value for name, value in vars(one).items() if value == value} for one in answer.checks
        }
        summary = {
            "experiment": NAME, "verdict": answer.verdict, "sentence": answer.sentence, "margin": answer.margin,
            "n": answer.n, "prompts": answer.n_units, "pairs": answer.pairs, "needed": answer.needed, "checks": checks,
            "worst": [list(pair) for pair in answer.worst], "notes": answer.notes, "out": str(options.out),
        }  # fmt: skip
        print(json.dumps(summary))
    return {"harmless": 0, "harmful": 1, "not decided": 3}[answer.verdict]


def _with_limits(values: "Mapping[str, Estimate]") -> dict[str, list[float]]:
    """Each value with the limits of its interval."""
    return {metric: [value.difference, value.low, value.high] for metric, value in values.items()}


def _weights(options: Score) -> str | dict[str, str] | None:
    """The option --feature-weights as `compare` takes it."""
    files = dict[str, str]()
    for text in options.feature_weights:
        name, sign, file = text.partition("=")
        if not sign or Path(text).is_file():
            if len(options.feature_weights) > 1:
                raise ValueError(f"feature_weights={text!r}: for which feature space? Write NAME={text}")
            return text
        if name in files or not file:
            raise ValueError(f"feature_weights={text!r}: write NAME=FILE once for each feature space")
        files[name] = file
    return files or None
