"""`python -m experiments machine`: how fast this machine is in each precision, compiled or not, and what runs choose.

    python -m experiments machine                 shows the timings that runs use
    python -m experiments machine --measure       times again what is remembered, or first times the network small

Runs with precision "auto" time their network once and remember the result (run/calibration.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.run.options import Device
from experiments.run.study import shown

if TYPE_CHECKING:
    from experiments.run.cache import Cache

HELP = """How fast this machine computes, and what runs choose for that reason.

A run with --precision auto, which is the default, first times its network here: training and sampling, fp32 and bf16,
eager and, on a CPU, compiled. It takes the fastest and leaves plain fp32 only for a gain of 5 percent and more. The
timings are remembered, because the choice is part of a run's identity: the same command must find its results in the
store again. They are kept for each processor, PyTorch version, network, batch and number of threads, and for limits on
the instruction set such as ONEDNN_MAX_CPU_ISA.

Times depend on other programs that run at the time. If they were measured on a busy machine, measure again on a quiet
one; runs that then choose differently start anew, and earlier results stay in the store.

--precision fp32 or bf16 chooses without timing, and SIGMABENCH_PRECISION=fp32 does so for all commands.

Examples:
  {prog}
  {prog} --measure"""


@dataclass(frozen=True)
class Options:
    """What is shown or timed."""

    store: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/store")
    """The store in which timings are remembered, as that of the runs."""
    measure: bool = False
    """Time again what is remembered, or first the network small; compiled too: about half a minute each."""
    network: Literal["small", "paper"] = "small"
    """The network that --measure times if nothing is remembered."""
    device: Device = "auto"
    """The device on which --measure times that network."""
    threads: Annotated[int | None, shown("N", "one per core")] = None
    """CPU threads per run, for --measure."""
    json: bool = False
    """Print the timings as JSON."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Shows the timings, or measures them again. Returns the exit status."""
    options = tyro.cli(
        Options,
        prog=prog,
        description=HELP.replace("{prog}", prog),
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from experiments.run.artifact import header_of
    from experiments.run.cache import Cache
    from experiments.terminal import Terminal

    console, cache = Terminal(), Cache(options.store.expanduser())
    if options.measure:
        with console.status("measuring, for about half a minute"):
            _measure(options, cache)
    files = {path: header_of(path) for path in sorted((cache.root / "timings").glob("*.safetensors"))}
    if options.json:
        print(json.dumps([dict(subject) | dict(facts) for subject, facts in files.values() if subject]))
        return 0
    if not files:
        console.print(f"nothing is remembered in {cache.root} yet; --measure times this machine now")
    for path, (subject, facts) in files.items():
        if subject:
            _show(subject, facts, console)
        else:
            console.print(f"{path}: damaged, so the next run that needs it times again")
    return 0


def _measure(options: Options, cache: Cache) -> None:
    """Times a network that is trained here again, compiled too."""
    from diffusion_core.networks.compiled import can_compile
    from experiments.run.hardware import check_threads
    from experiments.run.machine import Machine
    from experiments.run.networks import RECIPES, Trained
    from experiments.run.timings import Subject, timings

    check_threads(options.threads)
    machine = Machine.resolve(options.device, threads=options.threads)
    network = Trained(network=options.network, machine=machine, **RECIPES["fast"])
    subject = Subject.of(network, machine)
    both = (subject, replace(subject, compiled=True))
    for one in both:
        cache.path("timings", one).unlink(missing_ok=True)
    eager = timings(subject, network, cache, print)
    if can_compile(machine.device):
        timings(both[1], network, cache, print, eager)


def _show(subject: Mapping[str, Any], facts: Mapping[str, Any], console: Any) -> None:
    """Prints the subject of some timings, and a table of them."""
    from rich.table import Table

    limits = "".join(f", {limit}" for limit in subject["limits"])
    shape = "x".join(map(str, subject["shape"]))
    console.print(
        f"\nnetwork {subject['network']}, images {shape}, on {subject['processor']}, {subject['threads']} of "
        f"{subject['cores']} threads{limits}, PyTorch {subject['torch']}, measured {facts['finished_at']}",
    )
    table = Table(box=None, caption="ms: one forward pass or training step; compile s: per further network")
    table.add_column("mode", no_wrap=True)
    for name in ("batch", "threads", "ms", "images/s", "speed-up", "compile s"):
        table.add_column(name, justify="right")
    plain: dict[str, float] = {}
    for timing in facts["timings"]:
        mode, rate = timing["mode"], timing["mode"]["batch"] / timing["seconds"]
        ratio = rate / plain.setdefault(mode["stage"], rate)  # the plain mode comes first
        numbers = [f"{mode['batch']}", f"{mode['threads']}", f"{1e3 * timing['seconds']:.1f}", f"{rate:,.0f}"]
        numbers += [f"{ratio:.2f}" if not mode["compiled"] else "", f"{timing['once']:.1f}" if mode["compiled"] else ""]
        table.add_row(f"{mode['stage']}, {mode['precision']}{', compiled' * mode['compiled']}", *numbers)
    console.print(table, soft_wrap=False)
