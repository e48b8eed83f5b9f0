"""`python -m experiments machine`: how fast this machine is in each precision, compiled or not, and what runs choose.

    python -m experiments machine                 shows the timings that runs use
    python -m experiments machine --measure       times again what is remembered, or first times the network small

Runs with precision "auto" time their network once and remember the result (stages/calibration.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from experiments.stages.calibration import Timing

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


def main(
    measure: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    network: Literal["small", "paper"] = "small",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: one per core)")] = None,
    json_: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="json")] = False,
) -> int:
    """Shows the timings, or measures them again.

    Args:
        measure: time the network again, compiled modes too: about half a minute.
        network: the network that --measure times.
        device: the device that --measure times.
        threads: CPU threads per run, for --measure.
        json_: print the timings as JSON.
    """
    from experiments.run.hardware import check_threads
    from experiments.stages import calibration
    from reports.terminal import Terminal

    console = Terminal()
    if measure:
        check_threads(threads)
        subject = _subject(network, device, threads)
        with console.status("measuring, for about half a minute"):
            calibration.timings(subject, lambda text: None, compiled=True, again=True)
    files = sorted(calibration.folder().glob("*.json"))
    if json_:
        print(json.dumps([json.loads(path.read_text(encoding="utf-8")) for path in files if calibration.read(path)]))
        return 0
    if not files:
        console.print(f"nothing is remembered in {calibration.folder()} yet; --measure times this machine now")
    for path in files:
        if measured := calibration.read(path):
            _show(json.loads(path.read_text(encoding="utf-8")), measured, console)
        else:
            console.print(f"{path}: damaged, so the next run that needs it times again", soft_wrap=True)
    return 0


def _subject(network: str, device: str, threads: int | None) -> Any:
    from experiments.config.denoisers import Machine
    from experiments.config.trained import RECIPES, TrainConfig
    from experiments.stages.calibration import Subject
    from experiments.stages.common import images_of

    machine, train = Machine.resolve(device, threads=threads), TrainConfig(network=network, **RECIPES["fast"])
    return Subject.of(train.speed_key, images_of(train.data, None).shape, machine, train.batch_size)


def _show(content: dict[str, Any], measured: Sequence[Timing], console: Any) -> None:
    """Prints the subject of some timings, a table of them, and what runs choose."""
    from rich.table import Table

    key = content["key"]
    limits = "".join(f", {name}={value}" for name, value in key["limits"].items())
    shape = "x".join(map(str, key["shape"]))
    console.print(
        f"\nnetwork {key['network']}, images {shape}, on {key['processor']}, {key['threads']} of {key['cores']} threads"
        f"{limits}, PyTorch {key['torch']}, measured {content['measured_at']}",
        soft_wrap=True,
    )
    table = Table(box=None, caption="ms: one forward pass or training step; compile s: per further network")
    table.add_column("mode", no_wrap=True)
    for name in ("batch", "threads", "ms", "images/s", "speed-up", "compile s"):
        table.add_column(name, justify="right")
    plain: dict[str, float] = {}
    for timing in measured:
        mode, rate = timing.mode, timing.images_per_second
        ratio = rate / plain.setdefault(mode.stage, rate)  # the plain mode comes first
        once = f"{timing.once:.1f}" if mode.compiled else ""
        numbers = (
            f"{mode.batch}",
            f"{mode.threads}",
            f"{1e3 * timing.seconds:.1f}",
            f"{rate:,.0f}",
            f"{ratio:.2f}",
            once,
        )
        table.add_row(f"{mode.stage}, {mode.called}", *numbers)
    console.print(table)


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses the arguments and runs the command. Returns the exit status."""
    return tyro.cli(main, prog=prog, description=HELP.replace("{prog}", prog), args=list(arguments))
