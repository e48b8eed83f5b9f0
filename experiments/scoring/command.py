"""`python -m experiments score REAL A B ...`: which images are nearest to real ones, with intervals?

Exit status: 0; 1 with --fail-if-worse if a set is worse than the first one; 2 for invalid arguments. With --margin: 0
harmless, 1 harmful, 3 not decided (with --margin auto always, unless it is harmful).
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffusion_core.data import DATA_SETS
from experiments.console import Terminal
from experiments.run.options import Folder, option_help

HELP = f"""How far are images from real ones? Of several sets, is one better? Each answer has a 95 % interval.
MMD decides, and FD (FID) stands beside it: distances of generated images to real ones, lower is better.

REAL and the sets A, B, ... may be
  a folder of image files     any sizes, grey or colour; all files below it
  FILE.npz, FILE.npy          uint8 images (n, H, W), (n, H, W, C) or (n, C, H, W); or your own features (n, d);
                              .npy also clips (n, T, H, W, C), and with --margin latents (n, C, H, W)
  a result folder of `run`, or samples:ID; {", ".join(DATA_SETS)}

Examples:
  score photos/ model-a/ model-b/                                        # is model-b better than model-a?
  score photos/ model-a/ --features inception-v3-compat                  # the FID that `fidelity` computes
  score real.npy before.npy after.npy --pairs order --fail-if-worse      # for continuous integration
  score none before/ after/ --margin 0.02                                # is a faster pipeline harmless?

Exit status: 0, 1 with --fail-if-worse, 2 for invalid arguments. With --margin: 0 harmless, 1 harmful, 3 not decided;
with --margin auto 1 or 3.
docs/score.md says more."""
QUIET = tyro.conf.arg(help_behavior_hint="")
SETS = tyro.conf.arg(metavar="A [B ...]", help_behavior_hint="(required)")


@dataclass(frozen=True)
class ScoreOptions:
    """Options of `score`."""

    real: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REAL")]
    """Real images."""
    sets: Annotated[tuple[str, ...], tyro.conf.Positional, SETS] = ()
    """Sets of images. Each is compared with the first."""
    features: Annotated[str | None, option_help("NAME", "digits for MNIST, else natural")] = None
    """Feature space: digits, natural, one of torch-fidelity's, or python:MODULE:FUNCTION."""
    feature_weights: Annotated[Path | None, option_help("FILE", "downloaded if needed")] = None
    """Weights of the feature extractor."""
    pairs: Literal["auto", "names", "order", "none"] = "auto"
    """Images from the same noise: of one name, or at one place. auto: names, if all sets have the same."""
    margin: Annotated[float | Literal["auto"] | None, option_help("SHARE|auto", "none: sets are only compared")] = None
    """Is a change harmless: is the difference of two sets smaller than replacing this share of the images could cause?
    auto: what that many images can show, and whether it is harmful."""
    groups: Annotated[str | None, option_help("SPEC", "every image alone")] = None
    """Images that can fail together, such as a prompt: folder, "{prompt}-{seed}.png", or FILE.csv[:COLUMN].
    clips: folders of frames."""
    out: Folder = Path("runs/score")
    """Folder for the result."""
    store: Folder = Path("runs/store")
    """Folder where features are kept."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a CUDA device."""
    fail_if_worse: Annotated[bool, QUIET] = False
    """Exit status 1 if a set is worse than the first, or repeats its images more."""
    json: Annotated[bool, QUIET] = False
    """End with one line of JSON, as where the output is not a terminal."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Scores the images and writes the report. tyro ends the program on --help."""
    config = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(ScoreOptions, prog=prog, description=HELP, args=list(arguments), config=config)
    return main(options)


def main(options: ScoreOptions) -> int:
    """Prints the verdict and writes the result folder. Returns the exit status. ValueError as in `compare`."""
    start = time.time()
    logging.basicConfig(format="note: %(message)s")
    logging.getLogger("experiments.scoring").setLevel(logging.INFO)  # what that many images can show, before the work
    out = options.out.absolute()  # wherever code of the user's goes
    from experiments.run.cache import Cache
    from experiments.run.result_folder import existing_results, lock_folder, print_page
    from experiments.scoring import compare, equivalence

    _check(options, out)
    existing_results(options.out)  # raises ValueError if others wrote there
    store = Cache(options.store)
    names = ("pairs", "device", "groups", "features", "feature_weights")
    typed: dict[str, Any] = {name: getattr(options, name) for name in names} | {"store": store}
    if options.margin is None:
        output = compare.make_output(compare.compare(options.real, *options.sets, **typed))
    else:
        typed["margin"] = None if options.margin == "auto" else options.margin
        typed["reference"] = None if options.real == "none" else options.real
        before, after = options.sets
        output = equivalence.make_output(equivalence.harmless(before, after, **typed))
    console = Terminal()
    with lock_folder(out):
        page = output.write(out, time.time() - start)
        aside = [] if console.is_terminal else output.aside  # a terminal shows it below the numbers
        for note in (*aside, *output.notes):
            if not any(text.startswith(note) for text in page.caveats):  # which are printed with the page
                console.print(f"note: {note}")
        print_page(page, out / "report.html", str(options.out / "report.html"), False, console)
    if options.json or not console.is_terminal:
        print(json.dumps({"experiment": output.name, **output.summary, "out": str(options.out)}))
    return output.status if options.margin is not None or options.fail_if_worse else 0


def _check(options: ScoreOptions, out: Path) -> None:
    """ValueError if options do not suit each other."""
    if not options.sets:
        raise ValueError("sets: there is none; type REAL, then one set of images or more")
    if options.margin is None:
        if options.real == "none":
            raise ValueError("real='none': only --margin needs no real images")
        if options.fail_if_worse and len(options.sets) < 2:
            raise ValueError(f"fail_if_worse: {options.sets[0]} is the only set; at least two are compared")
    elif len(options.sets) != 2 or options.fail_if_worse:
        typed = "fail_if_worse: it" if options.fail_if_worse else f"sets: {len(options.sets)}"
        raise ValueError(f"{typed} does not suit --margin, which compares two sets, before and after")
    for source in (options.real, *options.sets):
        if (folder := Path(source).expanduser()).is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"out={str(options.out)!r}: it lies in {source}, whose images are scored; choose another folder"
            )
