"""Times a network on this machine in each mode that may be the fastest, and remembers the times in the cache folder.

A mode is a precision, eager or compiled, a batch size and a number of threads. engine/calibrated.py chooses among the
timings. A choice is part of the identity of results, so it must not change from run to run: timings are measured once
per machine, PyTorch version, network, batch and threads. `python -m experiments machine` shows them and measures again.
"""

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

from diffusion_core.networks import build
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.networks.parameterisations import Parameterised
from diffusion_core.noise import LogNormal
from diffusion_core.precision import PRECISIONS, computing_in
from diffusion_core.samplers import Model
from diffusion_core.samplers.sampling import at_samples, default_batch
from diffusion_core.training import train
from experiments.config.denoisers import Machine
from experiments.own.memory import free, keep_freed
from experiments.run.hardware import cores, device_name, use_threads
from experiments.store.cache import cache_root
from experiments.store.checksums import write_json

SAMPLING, TRAINING = STAGES = ("sampling", "training")
ROUNDS = 5  # each times every mode once, so that a busy moment hits all of them
HOPELESS = 3.0  # a mode that takes so many times the plain mode's thread seconds per image is not timed again
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")  # environment
log = logging.getLogger(__name__)
_measured: dict["Subject", tuple["Timing", ...]] = {}  # in this process, in case that the cache folder is read-only


@dataclass(frozen=True)
class Mode:
    """A way to compute. `batch`: images per forward pass or training step."""

    stage: str
    batch: int
    threads: int
    precision: str = "fp32"
    compiled: bool = False

    @property
    def called(self) -> str:
        """Precision and compilation in words."""
        return self.precision + (", compiled" if self.compiled else "")


@dataclass(frozen=True)
class Timing:
    """The seconds of one forward pass or training step in a mode.

    `once`: seconds that compilation takes for each further network; the first one takes longer.
    """

    mode: Mode
    seconds: float
    once: float = 0.0

    @property
    def images_per_second(self) -> float:
        return self.mode.batch / self.seconds


@dataclass(frozen=True)
class Subject:
    """The network that is timed, and how it is used.

    `network`: one that is trained here, by its name and, if it is not "preconditioned", its parameterisation.
    """

    network: str
    shape: tuple[int, ...]  # of one image
    device: str
    threads: int  # of one run
    sampling_batch: int  # the machine's default
    training_batch: int

    @classmethod
    def of(cls, network: str, shape: tuple[int, ...], machine: Machine, training_batch: int) -> "Subject":
        batch = default_batch(machine.device, machine.threads)
        return cls(network, shape, machine.device, machine.threads, batch, training_batch)

    @property
    def key(self) -> dict[str, Any]:
        """What timings depend on, as JSON."""
        limits = {name: os.environ[name] for name in LIMITS if os.environ.get(name)}
        machine = {"processor": device_name(self.device), "cores": cores(), "limits": limits}
        return machine | {"torch": torch.__version__} | asdict(self) | {"shape": list(self.shape)}

    @property
    def path(self) -> Path:
        """The file of the timings."""
        text = json.dumps(self.key, sort_keys=True)
        return folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"

    @property
    def modes(self) -> list[Mode]:
        """The modes that need no compilation. The first of each stage is the plain one."""
        fewer = sorted({self.threads, 1}, reverse=True) if self.device == "cpu" else [self.threads]
        batches = (self.sampling_batch, 2 * self.sampling_batch)
        sampling = [Mode(SAMPLING, batch, self.threads, p) for batch in batches for p in PRECISIONS]
        return sampling + [Mode(TRAINING, self.training_batch, n, p) for n in fewer for p in PRECISIONS]

    def build(self) -> Parameterised:
        name, *parameterisation = self.network.split()
        return build(name, self.shape[0], *parameterisation).to(self.device).eval()


def folder() -> Path:
    """Where timings are kept."""
    return cache_root() / "timings"


def timings(
    subject: Subject,
    say: Callable[[str], object],
    network: Model | None = None,
    *,
    compiled: bool = False,
    again: bool = False,
) -> tuple[Timing, ...]:
    """The remembered timings of a subject, or new ones, in some seconds. Empty if plain fp32 cannot be timed.

    Args:
        subject: what is timed.
        say: is told when it is timed.
        network: times this network, in sampling only, instead of `subject.network`.
        compiled: also times compiled sampling, in up to half a minute, if this machine can compile.
        again: measures anew what is remembered.
    """
    measured = None if again else _measured.get(subject) or read(subject.path, subject.key)
    if measured is None:
        say(f"timing the network {subject.network} on this machine, once")
        measured = _remember(subject, measure(subject, network))
    if compiled and measured and can_compile(subject.device) and not any(timing.mode.compiled for timing in measured):
        say(f"timing the network {subject.network}, compiled: half a minute, once on this machine")
        measured = _remember(subject, measured + measure_compiled(subject, measured))
    return measured


def read(path: Path, key: Mapping[str, Any] | None = None) -> tuple[Timing, ...] | None:
    """The timings in a file; None if there is none, if it is damaged, or if it is about something else than `key`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        measured = tuple(Timing(Mode(**entry.pop("mode")), **entry) for entry in content["timings"])
        whole = all(
            t.mode.precision in PRECISIONS and t.mode.batch > 0 and math.inf > t.seconds > 0 <= t.once < math.inf
            for t in measured
        )
        return measured if whole and measured and key in (None, content["key"]) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _remember(subject: Subject, measured: tuple[Timing, ...]) -> tuple[Timing, ...]:
    _measured[subject] = measured
    content = {"key": subject.key, "timings": [asdict(timing) for timing in measured]}
    content["measured_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        subject.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(subject.path, content)
    except OSError as error:
        log.warning("%s: %s; so the next run times again, and may choose another precision", folder(), error)
    return measured


def measure(subject: Subject, network: Model | None = None) -> tuple[Timing, ...]:
    """Times all modes that need no compilation."""
    keep_freed()  # as in runs
    measured: list[Timing] = []
    with torch.random.fork_rng(devices=[]):
        model = subject.build() if network is None else network
        for stage in STAGES if network is None else (SAMPLING,):
            modes = [mode for mode in subject.modes if mode.stage == stage]
            seconds = interleaved({
                mode: forward(model, subject.shape, subject.device, mode) if stage == SAMPLING else _step(subject, mode)
                for mode in modes
            })  # fmt: skip
            if modes[0] not in seconds:  # nothing to compare with
                return ()
            measured += [Timing(mode, least) for mode, least in seconds.items()]
    use_threads(subject.threads)
    return tuple(measured)


def measure_compiled(subject: Subject, eager: tuple[Timing, ...]) -> tuple[Timing, ...]:
    """Times the compiled forward pass in the precision and batch size that are fastest without compilation.

    Two networks are compiled: the first also fills TorchInductor's cache on disk, the second shows what each further
    network takes.
    """
    fastest = max((timing for timing in eager if timing.mode.stage == SAMPLING), key=lambda t: t.images_per_second)
    mode = replace(fastest.mode, compiled=True)
    use_threads(mode.threads)
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            run = forward(Compiled(subject.build(), mode.batch), subject.shape, subject.device, mode)
            start = time.perf_counter()
            run()
            once = time.perf_counter() - start
        return tuple(Timing(mode, seconds, once) for seconds in interleaved({mode: run}).values())


def interleaved(runs: Mapping[Mode, Callable[[], object]]) -> dict[Mode, float]:
    """The least seconds of each run, in rounds that time one after the other.

    A mode that fails is left out. One that is hopeless in comparison with the first mode is timed once.
    """
    least: dict[Mode, float] = {}

    def thread_seconds(mode: Mode) -> float:
        return least.get(mode, math.inf) * mode.threads / mode.batch

    for number in range(ROUNDS):
        for mode, run in runs.items():
            if number > 0 and not thread_seconds(mode) <= HOPELESS * thread_seconds(next(iter(runs))):
                continue
            try:
                seconds = timed(run, mode.threads)
            except (MemoryError, RuntimeError) as error:
                log.info("%s: %s; left out", mode, " ".join(str(error).split())[:200])
                least.pop(mode, None)
                free()
                continue
            least[mode] = min(seconds, least.get(mode, math.inf))
    return least


def timed(run: Callable[[], object], threads: int) -> float:
    """The seconds of one run, after a warm-up."""
    return Timer("run()", globals={"run": run}, num_threads=threads).timeit(1).median


def forward(model: Model, shape: tuple[int, ...], device: str, mode: Mode) -> Callable[[], object]:
    """A function that evaluates the model once, as sampling does, on one batch of images of this shape."""
    x, sigma = torch.randn(mode.batch, *shape, device=device), torch.ones(mode.batch, device=device)
    model = at_samples(model, torch.arange(mode.batch, device=device))

    def run() -> object:
        with torch.no_grad(), computing_in(mode.precision, device):
            return model(x, sigma)

    return run


def _step(subject: Subject, mode: Mode) -> Callable[[], object]:
    images = torch.randn(4 * mode.batch, *subject.shape, device=subject.device)
    network = subject.build()
    network.fit(images)
    steps = train(network, images, LogNormal(), n_images=10**12, batch_size=mode.batch, precision=mode.precision)
    return lambda: next(steps)
