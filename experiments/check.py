"""`python -m experiments check --network ...`: does a pretrained network, behind its adapter, denoise as it should?

Every experiment with a pretrained network makes the same checks before it starts.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.console import ProgressCallback, Terminal, silent, status_line
from experiments.run.options import Device, Folder, option_help

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from diffusion_core.data.dataset import DataSet
    from diffusion_core.samplers import Model
    from experiments.user.denoising_check import CheckResult

ZOOM = 2  # size of a pixel of the picture
TEXT = 14  # height of its line with the levels
CAPTION = "mean squared error of eps; predicting no noise has error 1"
LINEAR = "best linear, which is all that is known of these data"


@dataclass(frozen=True)
class CheckOptions:
    """Checks a network that was trained elsewhere: real noisy images at ten noise levels. Errors stop, doubts warn."""

    network: Annotated[str, tyro.conf.arg(metavar="KIND:WHERE")]
    """python:PACKAGE.MODULE:FUNCTION, diffusers:FOLDER or checkpoint:FILE."""
    label: Annotated[int | Literal["balanced"] | None, option_help("CLASS|balanced", "none")] = None
    """The class that a class-conditional diffusers network samples. balanced: sample i has class i mod their number."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mnist5k"
    """The data set that it was trained on, as in the experiments."""
    data_root: Annotated[Path | None, option_help("FOLDER", "$SIGMABENCH_DATA, else ~/.cache/sigmabench")] = None
    """Where downloaded data sets lie."""
    device: Device = "auto"
    """auto: CUDA if there is a CUDA device. mps (Apple) is untested. It has no float64, which adapters need."""
    threads: Annotated[int | None, option_help("N", "one per core")] = None
    """CPU threads."""
    out: Folder = Path("runs/check")
    """Folder of check.png and check.json."""
    fail_on_doubt: bool = False
    """Exit status 1 for any doubt, for scripts."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Returns the exit status: 1 for a network without usable levels, and for a doubt if that is asked; else 0."""
    options = tyro.cli(CheckOptions, prog=prog, args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,))
    result = main(options)
    return int(not result.usable or (options.fail_on_doubt and bool(result.doubts)))


def check_network(
    model: "Model", data: "DataSet", device: str = "cpu", progress: ProgressCallback = silent
) -> "CheckResult":
    """The errors and the doubts of a model on the data that it was trained on.

    ValueError if the model cannot be used at all, see `network_fingerprint`.
    """
    from experiments.user.denoising_check import check_denoising
    from experiments.user.network_io import network_fingerprint

    network_fingerprint(model, data, device)
    return check_denoising(model, data, device, progress)


def main(options: CheckOptions) -> "CheckResult":  # the command from its options to its last line
    """Prints the table and the doubts, and writes the picture and the numbers.

    ValueError if there is no such device here, or no such model, or if it cannot be used at all.
    """
    from diffusion_core.data.dataset import Images
    from diffusion_core.data.load import load
    from experiments.run.machine import Machine, use_threads
    from experiments.user import pretrained
    from experiments.user.json_io import write_json
    from experiments.user.network_io import decode, has_decode

    out = options.out.absolute()  # wherever the model's code goes
    image = out / "check.png"
    numbers = out / "check.json"
    machine = Machine.resolve(options.device, threads=options.threads)
    device = machine.device
    use_threads(machine.threads)
    name = pretrained.describe(options.network, options.label)
    images = load(options.data, root=options.data_root)
    model = pretrained.load_network(options.network, images, options.label, device)
    shares = [0.0]
    text = f"checking {name}; other readings of it tried: "
    with status_line(
        Terminal(), lambda: f"{text}{100 * shares[-1]:.0f} %", lambda: int(10 * shares[-1]), lambda: shares[-1]
    ):
        result = check_network(model, images, device, shares.append)
    out.mkdir(parents=True, exist_ok=True)
    image.unlink(missing_ok=True)  # of an earlier check
    picture = None
    if has_decode(model) or isinstance(images, Images):
        picture = draw_levels(result, lambda x: decode(model, images, x.to(device)))
    if picture is not None:
        picture.save(image)
    verdict = {"doubts": result.doubts, "usable": result.usable}
    levels = [asdict(level) for level in result.levels]
    write_json(numbers, {"model": name, "data": images.name, "levels": levels} | verdict)
    print_levels(name, [*pretrained.notes(options.network), *pretrained.network_notes(model)], result)
    if picture is not None:
        print(f"picture: {image}")
    if not sys.stdout.isatty():
        print(json.dumps({"check": name} | verdict | {"out": str(options.out)}))
    return result


def print_levels(name: str, notes: Sequence[str], result: "CheckResult") -> None:
    from rich.table import Table

    from experiments.user.denoising_check import NEARLY, SLACK, WORSE, low_levels_of_no_use

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
    good = f"{NEARLY:g} times that of a well-trained network" if trained else LINEAR
    doubtful = f"above {WORSE:g} times best linear plus {SLACK:g}"
    console.print(f"good: error below {good}; doubtful: {doubtful}; fair: between")
    for note in notes:
        console.print(f"note: {note}")
    for doubt in result.doubts:
        console.print(f"doubt: {doubt}", style="yellow")
    n_known = sum(level.known for level in result.levels)
    n_doubtful = sum(level.doubtful for level in result.levels) + len(low_levels_of_no_use(result.levels))
    verdict = f"of no use: its error is doubtful at {n_doubtful} of {n_known} levels"
    if result.usable:
        low, high = result.usable
        n = len(result.doubts)
        verdict = f"{n or 'no'} {'doubt' if n == 1 else 'doubts'}; usable from sigma {high:.3g} to {low:.3g}"
    console.print(f"verdict: {verdict}", style="bold")


def draw_levels(result: "CheckResult", decode: Callable[["Tensor"], "Tensor"]) -> "Image.Image | None":
    """One column per level: the real image, the noisy one at unit variance, and the denoised one; None of points."""
    import torch
    from PIL import Image, ImageDraw

    from diffusion_core.tensors import broadcast_like

    sigmas = broadcast_like(result.noisy, torch.tensor([level.sigma for level in result.levels]))
    rows = [decode(row) for row in (result.clean, result.noisy * (1 + sigmas.square()).rsqrt(), result.denoised)]
    if rows[0].ndim != 4:
        return None
    pixels = torch.cat([torch.cat(tuple(row), dim=2) for row in rows], dim=1)
    tiles = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).convert("RGB")
    tiles = tiles.resize((tiles.width * ZOOM, tiles.height * ZOOM), Image.Resampling.NEAREST)
    picture = Image.new("RGB", (tiles.width, tiles.height + TEXT), "white")
    picture.paste(tiles, (0, TEXT))
    for column, level in enumerate(result.levels):
        place = (column * tiles.width // len(result.levels) + 2, 1)
        ImageDraw.Draw(picture).text(place, f"{level.sigma:.2g}", fill="black")
    return picture
