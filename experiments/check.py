"""`python -m experiments check --network ...`: does a network from elsewhere denoise as it should, behind its adapter?

Prints its error at ten noise levels with what is doubtful, and writes a picture. Every experiment with a network from
elsewhere makes the same checks before it starts.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from PIL import Image, ImageDraw
from rich.table import Table

from diffusion_core.data import Images, load
from experiments.own import external
from experiments.own.behaviour import behaviour
from experiments.own.best_linear import SLACK, WORSE
from experiments.own.examine import NEARLY, CheckResult, examine
from experiments.own.files import write_json
from experiments.run.foreign import check_file
from experiments.run.hardware import check_threads, use_threads
from experiments.run.machine import Machine
from experiments.run.study import shown
from experiments.terminal import Terminal, said

ZOOM, TEXT = 2, 14  # of the picture: size of a pixel, and height of the line with the levels
CAPTION = "mean squared error of eps; predicting no noise has error 1"
VERDICTS = f"good: error below {{good}}; doubtful: above {WORSE:g} times best linear plus {SLACK:g}; fair: between"
TRAINED = f"{NEARLY:g} times that of a well-trained network"
LINEAR = "best linear, which is all that is known of these data"
FILES = ("check.png", "check.json")


@dataclass(frozen=True)
class Check:
    """Checks a network that was trained elsewhere: real noisy images at ten noise levels. Errors stop, doubts warn."""

    network: Annotated[str, tyro.conf.arg(metavar="KIND:WHERE")]
    """python:PACKAGE.MODULE:FUNCTION, diffusers:FOLDER or checkpoint:FILE."""
    label: Annotated[int | Literal["balanced"] | None, shown("CLASS|balanced", "none")] = None
    """The class that a class-conditional diffusers network samples. balanced: sample i has class i mod their number."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mnist5k"
    """The data set that it was trained on, as in the experiments."""
    data_root: Annotated[Path | None, shown("FOLDER", "$SIGMABENCH_DATA, else ~/.cache/sigmabench")] = None
    """Where downloaded data sets lie."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a CUDA device."""
    threads: Annotated[int | None, shown("N", "one per core")] = None
    """CPU threads."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/check")
    """Folder of check.png and check.json."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Runs the check with these arguments; tyro ends the program on --help.

    Returns 1 for a network without usable levels, else 0: doubts are no errors.
    """
    result = main(tyro.cli(Check, prog=prog, args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,)))
    return 0 if result.usable else 1


def main(options: Check) -> CheckResult:
    """Prints the table and the doubts, and writes the picture and the numbers.

    Raises:
        ValueError: there is no such device here, or the model cannot be used at all, see `external.load_foreign` and
            `behaviour`.
    """
    out = options.out.absolute()  # wherever the model's code goes
    image, numbers = (out / name for name in FILES)
    if image.exists() and not numbers.exists():
        raise ValueError(
            f"out={str(options.out)!r}: it holds {image.name}, which no check wrote; choose another folder"
        )
    check_threads(options.threads)
    machine = Machine.resolve(options.device, threads=options.threads)
    device = machine.device
    use_threads(machine.threads)
    check_file(options.network)
    name = external.describe(options.network, options.label)
    images = load(options.data, root=options.data_root)
    model = external.load_foreign(options.network, images, options.label, device)
    with said(Terminal(), lambda: f"checking {name}"):
        behaviour(model, images, device)
        result = examine(model, images, device)
    out.mkdir(parents=True, exist_ok=True)
    picture(result, images).save(image)
    verdict = {"doubts": result.doubts, "usable": result.usable}
    levels = [asdict(level) for level in result.levels]
    write_json(numbers, {"model": name, "data": images.name, "levels": levels} | verdict)
    _print(name, [*external.notes(options.network), *external.remarks(model)], result)
    print(f"picture: {image}")
    if not sys.stdout.isatty():
        print(json.dumps({"check": name} | verdict | {"out": str(options.out)}))
    return result


def _print(name: str, notes: Sequence[str], result: CheckResult) -> None:
    console = Terminal()
    table = Table(title=name, title_justify="left", caption=CAPTION, caption_justify="left")
    trained = result.levels[0].trained is not None
    for heading in ("sigma", "time", "error", "best linear", *["trained"] * trained):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for level in result.levels:
        verdict = "doubtful" if level.doubtful else "good" if level.good else "fair"
        errors = [f"{error:.3g}" for error in (level.error, level.linear, level.trained) if error is not None]
        numbers = (f"{level.sigma:.3g}", "" if level.time is None else f"{level.time:.4g}", *errors)
        table.add_row(*numbers, verdict if level.known else "beyond its times")
    console.print(table, soft_wrap=False)
    console.print(VERDICTS.format(good=TRAINED if trained else LINEAR))
    for note in notes:
        console.print(f"note: {note}")
    for doubt in result.doubts:
        console.print(f"doubt: {doubt}", style="yellow")
    doubtful = sum(level.doubtful for level in result.levels)
    verdict = f"of no use: its error is doubtful at {doubtful} of {sum(level.known for level in result.levels)} levels"
    if result.usable:
        low, high = result.usable
        verdict = f"{len(result.doubts) or 'no'} doubt{'s' * (len(result.doubts) != 1)}; "
        verdict += f"usable from sigma {high:.3g} to {low:.3g}"
    console.print(f"verdict: {verdict}", style="bold")


def picture(result: CheckResult, images: Images) -> Image.Image:
    """One column per level: the real image, the noisy one at unit variance, and the denoised one."""
    sigmas = torch.tensor([level.sigma for level in result.levels]).view(-1, 1, 1, 1)
    rows = (result.clean, result.noisy * (1 + sigmas.square()).rsqrt(), result.denoised)
    pixels = torch.cat([torch.cat(tuple(images.to_pixels(row)), dim=2) for row in rows], dim=1)
    tiles = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).convert("RGB")
    tiles = tiles.resize((tiles.width * ZOOM, tiles.height * ZOOM), Image.Resampling.NEAREST)
    whole = Image.new("RGB", (tiles.width, tiles.height + TEXT), "white")
    whole.paste(tiles, (0, TEXT))
    for column, level in enumerate(result.levels):
        place = (column * tiles.width // len(result.levels) + 2, 1)
        ImageDraw.Draw(whole).text(place, f"{level.sigma:.2g}", fill="black")
    return whole
