"""`python -m experiments machine`: how fast this machine is in each precision, and what runs choose.

python -m experiments machine                 shows the timings that runs use
python -m experiments machine --measure       times again what is remembered, or first times the network small
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.run.options import Device, Folder, option_help

HELP = """How fast this machine computes, and what runs choose for that reason.

A run with --precision auto, which is the default, first times its network here: training and sampling, in fp32 and
bf16. It takes the faster one and leaves plain fp32 only for a gain of 5 percent and more. Where sampling would take
more than ten minutes it compiles the network, if there is a compiler. The timings are remembered, because the choice is
part of a run's identity: the same command must find its results in the store again. They are kept for each processor,
PyTorch version, network, batch and number of threads, and for limits on the instruction set such as ONEDNN_MAX_CPU_ISA.

Times depend on other programs that run at the time. If they were measured on a busy machine, measure again on a quiet
one; runs that then choose differently start anew, and earlier results stay in the store.

--precision fp32 or bf16 chooses without timing, and SIGMABENCH_PRECISION=fp32 does so for all commands.

Examples:
  {prog}
  {prog} --measure"""


@dataclass(frozen=True)
class MachineOptions:
    store: Folder = Path("runs/store")
    """The store in which timings are remembered, as that of the runs."""
    measure: bool = False
    """Time again what is remembered, or first the network small: some seconds each."""
    network: Annotated[str, tyro.conf.arg(metavar="NAME|build:MODULE:FUNCTION")] = "small"
    """The network that --measure times if nothing is remembered, as in the experiments."""
    device: Device = "auto"
    """The device on which --measure times that network."""
    threads: Annotated[int | None, option_help("N", "one per core")] = None
    """CPU threads per run, for --measure."""
    json: bool = False
    """Print the timings as JSON."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Shows the timings, or measures them again. Returns the exit status."""
    options = tyro.cli(
        MachineOptions,
        prog=prog,
        description=HELP.replace("{prog}", prog),
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from experiments.console import Terminal
    from experiments.run.autotune import BenchmarkKey, timings
    from experiments.run.cache import Cache, read_header
    from experiments.run.machine import Machine
    from experiments.run.plan import make_network
    from experiments.run.study import Study

    console = Terminal()
    cache = Cache(options.store.expanduser())
    if options.measure:
        machine = Machine.resolve(options.device, threads=options.threads)
        study = Study(network=options.network)
        study.check()
        if not study.trains:
            raise ValueError(f"network={options.network!r}: it must be trained here")
        network = make_network(study, study.data, machine)
        cache.path("timings", BenchmarkKey.of(network, machine)).unlink(missing_ok=True)
        with console.status("measuring, for some seconds"):
            timings(network, machine, cache, print)
    headers = [read_header(path) for path in sorted((cache.root / "timings").glob("*.safetensors"))]
    remembered = [json.loads(key) | facts for key, facts in headers]
    if options.json:
        print(json.dumps(remembered))
        return 0
    if not remembered:
        console.print(f"nothing is remembered in {cache.root} yet; --measure times this machine now")
    for timing in remembered:
        _print_timing(timing, console)
    return 0


def _print_timing(timing: Mapping[str, Any], console: Any) -> None:
    from rich.table import Table

    machine = timing["machine"]
    limit = timing["isa_limit"]
    shape = "x".join(map(str, timing["shape"]))
    console.print(
        f"\nnetwork {timing['network']}, images {shape}, on {timing['processor']}, {machine['threads']} of "
        f"{timing['cores']} threads{limit and f', {limit}'}, PyTorch {machine['torch_minor']}, measured "
        f"{timing['finished_at']}"
    )
    table = Table(box=None, caption="ms: one forward pass or training step")
    table.add_column("mode", no_wrap=True)
    for name in ("batch", "threads", "ms", "images/s", "speed-up"):
        table.add_column(name, justify="right")
    plain: dict[str, float] = {}
    for timed in timing["timings"]:
        mode = timed["mode"]
        rate = mode["batch"] / timed["seconds"]
        ratio = rate / plain.setdefault(mode["stage"], rate)  # the plain mode comes first
        numbers = [f"{1e3 * timed['seconds']:.1f}", f"{rate:,.0f}", f"{ratio:.2f}"]
        table.add_row(f"{mode['stage']}, {mode['precision']}", f"{mode['batch']}", f"{mode['threads']}", *numbers)
    console.print(table, soft_wrap=False)
