"""Options that all experiments share: where they run and where their results go. It imports no torch."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffusion_core.validation import check_fields, check_range, one_of

if TYPE_CHECKING:
    from experiments.run.machine import Machine

PRECISIONS = ("auto", "fp32", "bf16")
Device = Literal["auto", "cpu", "cuda", "mps"]
Names = tuple[str, ...]
Folder = Annotated[Path, tyro.conf.arg(metavar="FOLDER")]


def option_help(metavar: str, default: str = "") -> Any:
    """How --help shows an option that is None unless given: its placeholder, and its default if that is a text."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=default and f"(default: {default})")


def name_option(what: str, names: Iterable[str], default: str | None = None) -> Any:
    """How --help shows an option that takes a name; `default` if it is None unless given."""
    hint = default and f"(default: {default})"
    return tyro.conf.arg(metavar="NAME", help=what.format(names=", ".join(names)), help_behavior_hint=hint)


def names_option(what: str, names: Iterable[str]) -> Any:
    """How --help shows an option that takes several names."""
    return tyro.conf.arg(metavar="[NAME [NAME ...]]", help=what.format(names=", ".join(names)))


@dataclass(frozen=True)
class RunOptions:
    """How large the run is, where its result goes and data lie, on which device, and which part is run."""

    preset: Literal["smoke", "laptop", "gpu"] = "laptop"
    """Size: smoke (20 seconds), laptop or gpu."""
    out: Annotated[Path | None, option_help("FOLDER", "runs/NAME-PRESET")] = None
    """Folder of the result."""
    store: Folder = Path("runs/store")
    """Folder where networks, samples and scores are kept; nothing in it is computed again. Machines may share it."""
    data_root: Annotated[Path | None, option_help("FOLDER", "$SIGMABENCH_DATA, else ~/.cache/sigmabench")] = None
    """Where downloaded data sets lie."""
    device: Device = "auto"
    """auto: CUDA if there is a CUDA device. mps (Apple) is untested. It has no float64, which adapters and --recipe
    fast need."""
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], tyro.conf.arg(help_behavior_hint="(default: $SIGMABENCH_PRECISION, else auto)")
    ] = "auto"
    """auto: the faster one, as timed on this machine once; the plan says which, and why."""
    measure: bool = False
    """Time this machine again, for some seconds, and remember that. Runs that then choose differently start anew."""
    threads: Annotated[int | None, option_help("N", "$OMP_NUM_THREADS, else one per core, or its share")] = None
    """CPU threads per run. They are part of a run's identity."""
    dry_run: bool = False
    """Print the plan and run nothing. It says how many trainings and samplings are left, and how long they take."""
    only: Annotated[tuple[str, ...], option_help("[KEY=VALUE ...]", "all")] = ()
    """Part to run, by the columns of table.csv that are known before: --only seed=1,2 section=primary."""
    fresh: bool = False
    """Make all that this command needs anew, and replace what is stored."""
    compile: bool = False
    """Compile the network for sampling: about a minute per network, then 1.1 to 2 times faster. Without this option
    --precision auto does so where sampling takes more than ten minutes, if there is a compiler."""
    no_compile: bool = False
    """Never compile."""
    quiet: bool = False
    """Print errors, warnings and the verdict only."""
    json: bool = False
    """End with a summary as one line of JSON. Where the output is no terminal, it always does."""

    workers: Annotated[int | None, option_help("N", "one run after another, in this process")] = None
    """Runs at a time on this machine. Its cards are shared out evenly."""
    ray_address: Annotated[str | None, option_help("ADDRESS", "none")] = None
    """Run on a Ray cluster (pip install -e '.[cluster]'): auto, host:port or ray://host:port. All nodes need this
    package and see the store. local: a cluster on this machine."""
    gpus_per_run: Annotated[float | None, option_help("SHARE", "1")] = None
    """With --ray-address: share of a card per run, such as 0.25 for four small networks on one card."""


@dataclass(frozen=True)
class Options(RunOptions):
    """All options above. ValueError for options that do not go together, or a value outside its range."""

    typed: frozenset[str] = frozenset()  # names of the options that were typed, also of the study's
    home: Path = field(default_factory=Path.cwd)  # at which relative paths start, whatever a user's code does later

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("out", "data_root", "store"):
            if (path := getattr(self, name)) is not None:
                if re.match(r"\w+:/", str(path)):  # Path makes one slash of two
                    raise ValueError(f"{name}={str(path)!r}: it must be a folder; copy one that lies elsewhere")
                object.__setattr__(self, name, self.home / Path(path).expanduser())
        for first, second in (("workers", "ray_address"), ("compile", "no_compile")):
            if getattr(self, first) and getattr(self, second):
                raise ValueError(f"{first}, {second}: give one of them")
        if self.workers is not None:
            check_range("workers", self.workers, 1)
        if self.gpus_per_run is not None and self.ray_address is None:
            raise ValueError(f"gpus_per_run={self.gpus_per_run}: it needs --ray-address")

    def machine(self) -> "Machine":
        """The machine in plain fp32, or in the chosen precision."""
        from experiments.run.machine import Machine, cores, default_threads

        threads = self.threads
        if threads is None and (self.workers or self.ray_address):  # several runs at a time
            threads = default_threads(cores() // self.workers if self.workers else 1)
        precision = self.chosen_precision
        return Machine.resolve(self.device, "fp32" if precision == "auto" else precision, threads)

    @property
    def chosen_precision(self) -> str:
        """--precision, or what SIGMABENCH_PRECISION says in place of auto. Raises ValueError for an unknown name."""
        usual = os.environ.get("SIGMABENCH_PRECISION") or "auto"
        one_of("SIGMABENCH_PRECISION", usual, PRECISIONS)
        usual = "fp32" if (usual, self.device) == ("auto", "mps") else usual  # nothing else is tried there
        return usual if self.precision == "auto" else self.precision

    def directory(self, name: str) -> Path:
        return self.out or self.home / "runs" / f"{name}-{self.preset}"

    def resolve(self, study: Any) -> dict[str, Any]:
        """All options and their values as JSON has them, for run.json."""
        values = {part.name: getattr(owner, part.name) for owner in (study, self) for part in fields(owner)}
        del values["typed"], values["home"]
        return dict(json.loads(json.dumps(values, default=self.relative)))

    def relative(self, path: Path | str) -> str:
        """A path as the terminal shows it: relative, if it lies in the working folder of the command."""
        return str(path).removeprefix(f"{self.home}{os.sep}")
