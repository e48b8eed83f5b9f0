"""How fast a network is on this machine in each mode that may be the fastest: timed once, and kept in the cache.

A mode is a precision, eager or compiled, a batch size and a number of threads. calibration.py chooses among them.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch.utils.benchmark import Timer

from diffusion_core.networks.compiled import Compiled
from diffusion_core.noise import LogNormal
from diffusion_core.precision import PRECISIONS, computing_in
from diffusion_core.samplers import Model
from diffusion_core.samplers.sampling import at_samples, default_batch
from diffusion_core.training import train
from experiments.own.memory import free, keep_freed
from experiments.run.cache import Cache, Made
from experiments.run.hardware import cores, device_name, use_threads
from experiments.run.machine import Machine
from experiments.run.networks import Trained

SAMPLING, TRAINING = "sampling", "training"
ROUNDS = 5  # each times every mode once, so that a busy moment hits all of them
ENOUGH = 10.0  # seconds after which no other round begins: a slow pass varies less
HOPELESS = 3.0  # a mode that takes so many times the plain mode's thread seconds per image is not timed again
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")  # environment


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
    """The seconds of one forward pass or training step. `once`: what compilation takes for each further network."""

    mode: Mode
    seconds: float
    once: float = 0.0

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.mode.batch / self.seconds


@dataclass(frozen=True)
class Subject:
    """What is timed: a network as it is used, on this machine. Timings are kept under all of that.

    `network`: the trunk and parameterisation of one that is trained here, or what tells another one apart.
    """

    network: str
    shape: tuple[int, ...]  # of one image
    device: str
    threads: int  # of one run
    sampling_batch: int  # the machine's default
    training_batch: int = 0  # 0 if it is not trained here
    compiled: bool = False  # what is timed besides, in up to half a minute
    processor: str = ""
    cores: int = field(default_factory=cores)
    torch: str = str(torch.__version__)
    limits: tuple[str, ...] = field(
        default_factory=lambda: tuple(f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name))
    )

    @classmethod
    def of(cls, network: Any, machine: Machine) -> "Subject":
        """The subject that a network of a run is."""
        batch, trained = default_batch(machine.device, machine.threads), isinstance(network, Trained)
        name = f"{network.network} {network.parameterisation}" if trained else f"{network.name} {network.content}"
        own = {"training_batch": network.batch_size} if trained else {}
        processor = device_name(machine.device)
        return cls(name, network.shape, machine.device, machine.threads, batch, processor=processor, **own)

    @property
    def modes(self) -> list[Mode]:
        """The modes that need no compilation. The first of each stage is the plain one."""
        batches = (self.sampling_batch, 2 * self.sampling_batch)
        sampling = [Mode(SAMPLING, batch, self.threads, p) for batch in batches for p in PRECISIONS]
        fewer = sorted({self.threads, 1}, reverse=True) if self.device == "cpu" else [self.threads]
        training = [Mode(TRAINING, self.training_batch, n, p) for n in fewer for p in PRECISIONS]
        return sampling + (training if self.training_batch else [])


def of(measured: Sequence[Timing], stage: str) -> list[Timing]:
    """The timings of a stage. The first is the plain one."""
    return [timing for timing in measured if timing.mode.stage == stage]


def timings(
    subject: Subject, network: Any, cache: Cache, say: Callable[[str], object], eager: Sequence[Timing] = ()
) -> list[Timing]:
    """The remembered timings of a network, or new ones. Empty if plain fp32 cannot be timed.

    `eager`: timings without compilation, if it is compiled that is to be timed.
    """

    def make() -> Made:
        say(f"timing the network {subject.network} on this machine, once{', compiled' * subject.compiled}")
        measured = _compiled(subject, network, eager) if subject.compiled else _eager(subject, network)
        return {}, {"timings": [asdict(timing) for timing in measured]}

    stored = cache.cached("timings", subject, make).facts["timings"]
    return [Timing(Mode(**each["mode"]), each["seconds"], each["once"]) for each in stored]


def _eager(subject: Subject, network: Any) -> list[Timing]:
    keep_freed()  # as in runs
    measured = list[Timing]()
    with torch.random.fork_rng(devices=[]):
        model = network.untrained()
        for stage in (SAMPLING, TRAINING):
            modes = [mode for mode in subject.modes if mode.stage == stage]
            seconds = interleaved({
                mode: forward(model, subject.shape, subject.device, mode) if stage == SAMPLING else _step(network, mode)
                for mode in modes
            })  # fmt: skip
            if modes and modes[0] not in seconds:  # nothing to compare with
                return []
            measured += [Timing(mode, least) for mode, least in seconds.items()]
    use_threads(subject.threads)
    return measured


def _compiled(subject: Subject, network: Any, eager: Sequence[Timing]) -> list[Timing]:
    """The compiled forward pass in the precision and batch that are fastest without compilation.

    Two networks are compiled: the first also fills TorchInductor's cache on disk, the second is as each further one.
    """
    mode, seconds = replace(max(of(eager, SAMPLING), key=lambda timing: timing.rate).mode, compiled=True), 0.0
    use_threads(mode.threads)
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            run = forward(Compiled(network.untrained(), mode.batch), subject.shape, subject.device, mode)
            start = time.perf_counter()
            run()
            seconds = time.perf_counter() - start
        return [Timing(mode, least, seconds) for least in interleaved({mode: run}).values()]


def interleaved(runs: Mapping[Mode, Callable[[], object]]) -> dict[Mode, float]:
    """The least seconds of each run, in rounds that time one after the other.

    A mode that fails is left out. One that is hopeless in comparison with the first mode is timed once.
    """
    least: dict[Mode, float] = {}

    def thread_seconds(mode: Mode) -> float:
        return least.get(mode, math.inf) * mode.threads / mode.batch

    start = time.perf_counter()
    for number in range(ROUNDS):
        if time.perf_counter() - start > ENOUGH:
            break
        for mode, run in runs.items():
            if number > 0 and not thread_seconds(mode) <= HOPELESS * thread_seconds(next(iter(runs))):
                continue
            try:
                least[mode] = min(timed(run, mode.threads), least.get(mode, math.inf))
            except (MemoryError, RuntimeError):
                least.pop(mode, None)
                free()
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


def _step(network: Trained, mode: Mode) -> Callable[[], object]:
    images = torch.randn(4 * mode.batch, *network.shape, device=network.machine.device)
    model = network.untrained()
    model.fit(images)
    steps = train(model, images, LogNormal(), n_images=10**12, batch_size=mode.batch, precision=mode.precision)
    return lambda: next(steps)
