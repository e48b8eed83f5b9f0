"""`python -m experiments check --network ...`: does a network from elsewhere denoise as it should, behind its adapter?

Prints its error at ten noise levels with what is doubtful, and writes a picture. Every experiment with a network from
elsewhere makes the same checks before it starts.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.console import ProgressCallback, Terminal, silent, status_line
from experiments.run.options import Device, option_help

if TYPE_CHECKING:
    from diffusion_core.data.dataset import DataSet
    from diffusion_core.samplers import Model
    from experiments.user.denoising_check import CheckResult

FILES = ("check.png", "check.json")


@dataclass(frozen=True)
class Check:
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
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/check")
    """Folder of check.png and check.json."""
    fail_on_doubt: bool = False
    """Exit status 1 for any doubt, for scripts."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Runs the check with these arguments; tyro ends the program on --help.

    Returns 1 for a network without usable levels, and for a doubt if that is asked; else 0.
    """
    options = tyro.cli(Check, prog=prog, args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,))
    result = main(options)
    return int(not result.usable or (options.fail_on_doubt and bool(result.doubts)))


def check_network(
    model: "Model", data: "DataSet", device: str = "cpu", progress: ProgressCallback = silent
) -> "CheckResult":
    """The errors and the doubts of a model that keeps the contract, on the data that it was trained on.

    Raises:
        ValueError: the model cannot be used at all, see `behaviour`.
    """
    from experiments.user.denoising_check import check_denoising
    from experiments.user.network_io import network_fingerprint

    network_fingerprint(model, data, device)
    return check_denoising(model, data, device, progress)


def main(options: Check) -> "CheckResult":  # noqa: PLR0915  # the command from its options to its last line
    """Prints the table and the doubts, and writes the picture and the numbers.

    Raises:
        ValueError: there is no such device here, or the model cannot be used at all, see `external.load_foreign` and
            `behaviour`.
    """
    from diffusion_core.data.dataset import Images
    from diffusion_core.data.load import load
    from experiments.run.machine import Machine, busy_note, use_threads
    from experiments.user import external
    from experiments.user.check_display import picture, show
    from experiments.user.json_io import read_json, write_json
    from experiments.user.network_io import decoded, has_decode

    out = options.out.absolute()  # wherever the model's code goes
    image, numbers = (out / name for name in FILES)
    if image.exists() and not numbers.exists():
        raise ValueError(
            f"out={str(options.out)!r}: it holds {image.name}, which no check wrote; choose another folder"
        )
    replaced = read_json(numbers).get("model") if numbers.exists() else None
    machine = Machine.resolve(options.device, threads=options.threads)
    device = machine.device
    use_threads(machine.threads)
    name = external.describe(options.network, options.label)
    images = load(options.data, root=options.data_root)
    model = external.load_foreign(options.network, images, options.label, device)
    shares = [0.0]
    text = f"checking {name}; other readings of it tried: "
    if note := busy_note(machine.threads):
        print(f"note: {note}")
    with status_line(Terminal(), lambda: f"{text}{100 * shares[-1]:.0f} %", lambda: int(10 * shares[-1])):
        result = check_network(model, images, device, shares.append)
    out.mkdir(parents=True, exist_ok=True)
    if replaced not in (None, name):
        print(f"note: it replaces the check of {replaced} in {options.out}")
    image.unlink(missing_ok=True)  # of an earlier check
    shown = None
    if has_decode(model) or isinstance(images, Images):
        shown = picture(result, lambda x: decoded(model, images, x.to(device)))
    if shown is not None:
        shown.save(image)
    verdict = {"doubts": result.doubts, "usable": result.usable}
    levels = [asdict(level) for level in result.levels]
    write_json(numbers, {"model": name, "data": images.name, "levels": levels} | verdict)
    show(name, [*external.notes(options.network), *external.network_notes(model)], result)
    if shown is not None:
        print(f"picture: {image}")
    if not sys.stdout.isatty():
        print(json.dumps({"check": name} | verdict | {"out": str(options.out)}))
    return result
