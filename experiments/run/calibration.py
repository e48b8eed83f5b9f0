"""How a network is computed on this machine: precision, batch, compilation and threads, timed once and remembered.

A mode is left for another one only if it is clearly faster. The choice is part of the identity of results, so it must
not change from run to run: timings lie in the cache (`timings/`), and the choice depends on the whole plan, not on what
is left to do. `python -m experiments machine` shows them and measures again.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch.utils.benchmark import Timer

from diffusion_core.networks.compiled import Compiled, can_compile
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
from experiments.run.plan import Run

SAMPLING, TRAINING = "sampling", "training"
ROUNDS = 5  # each times every mode once, so that a busy moment hits all of them
HOPELESS = 3.0  # a mode that takes so many times the plain mode's thread seconds per image is not timed again
MARGIN = 0.95  # plain fp32 is left only for a mode that takes at most this share of its time: noise must not decide
CONTENTION = 1.25  # trainings side by side share caches, memory and clock: 1.16 to 1.24 times slower (bench/LOG.md)
LONG = 20.0  # seconds per network from which trainings side by side repay the start of their processes
WORTH_COMPILING = 600.0  # seconds of a plan from which the half minute is worth it in which compilation is timed
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


@dataclass(frozen=True)
class Machines:
    """The machines of training and of everything else, samples per evaluation (0: the default), and why."""

    training: Machine
    sampling: Machine
    batch: int = 0
    why: str = ""

    @classmethod
    def alike(cls, machine: Machine) -> "Machines":
        return cls(machine, machine)


def chosen(runs: Sequence[Run], plain: Machine, cache: Cache, alone: bool, say: Callable[[str], object]) -> Machines:
    """The fastest machines for the work of all runs, which are planned in plain fp32.

    Args:
        alone: whether networks are never trained side by side here, since workers or threads are given.
        say: is told when something is timed.
    """
    samplings = {run.samples_id: run for run in runs if not run.impossible}
    networks = {run.network: run for run in samplings.values() if run.network.cost or run.network.foreign}
    if not networks:
        return Machines.alike(plain)
    longest = max(networks, key=lambda network: network.cost)
    evaluations = sum(run.n * run.nfe for run in samplings.values()) / len(networks)
    subject = Subject.of(longest, plain)
    measured = timings(subject, longest, cache, say)
    if not measured:
        return Machines(plain, plain, why="this machine could not be timed, so everything is in plain fp32")
    eager, sampling = measured, best_sampling(measured, evaluations)
    if not isinstance(longest, Trained):
        machine = replace(plain, precision=sampling.mode.precision)
        return Machines(machine, machine, sampling.mode.batch, _why(eager, sampling))
    step = best_training(eager, plain.threads, 1 if alone else len(networks), longest.images_seen)
    together = 1.0 if step.mode.threads == plain.threads else CONTENTION * step.mode.threads / plain.threads
    seconds = evaluations / sampling.rate + together * longest.images_seen / step.rate
    if plain.device == "cpu" and len(networks) * seconds > WORTH_COMPILING and can_compile(plain.device):
        measured = [*measured, *timings(replace(subject, compiled=True), longest, cache, say, measured)]
        sampling = best_sampling(measured, evaluations)
    training = replace(plain, precision=step.mode.precision, threads=step.mode.threads)
    machine = replace(plain, precision=sampling.mode.precision, compiled=sampling.mode.compiled)
    return Machines(training, machine, sampling.mode.batch, _why(eager, sampling, step))


def best_sampling(measured: Sequence[Timing], evaluations: float) -> Timing:
    """The timing with the least time for so many evaluations of one network, compilation included."""
    return _best(_of(measured, SAMPLING), lambda timing: timing.once + evaluations / timing.rate)


def best_training(measured: Sequence[Timing], threads: int, n_networks: int, images: int) -> Timing:
    """The timing with the least time per network, if as many are trained side by side as there are threads for.

    Whether there is more than one network counts, but not how many: else adding one would change the identity of all.
    """
    steps = _of(measured, TRAINING)
    if n_networks == 1 or images / steps[0].rate < LONG:
        steps = [step for step in steps if step.mode.threads == threads]
    side = CONTENTION / threads
    return _best(steps, lambda it: it.seconds * (side * it.mode.threads if it.mode.threads < threads else 1))


def _best(measured: list[Timing], cost: Callable[[Timing], float]) -> Timing:
    """The cheapest timing. The first, which is the plain one, unless another is clearly cheaper."""
    best = min(measured, key=cost)
    return best if cost(best) <= MARGIN * cost(measured[0]) else measured[0]


def _of(measured: Sequence[Timing], stage: str) -> list[Timing]:
    return [timing for timing in measured if timing.mode.stage == stage]


def _why(eager: Sequence[Timing], *best: Timing) -> str:
    return f"timed on this machine: {'; '.join(_in_words(one, _of(eager, one.mode.stage)[0]) for one in best)}"


def _in_words(best: Timing, plain: Timing) -> str:
    rates = f"{best.rate:,.0f} images/s"
    if best.mode.batch != plain.mode.batch:
        rates += f" in batches of {best.mode.batch}"
    if (at_a_time := plain.mode.threads // best.mode.threads) > 1:
        rates = f"{at_a_time} networks at a time, about {best.rate * at_a_time / CONTENTION:,.0f} images/s together"
    if best.mode != plain.mode:
        rates += f" against {plain.rate:,.0f} in plain fp32"
    return f"{best.mode.stage} in {best.mode.called} ({rates})"


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
    mode, seconds = replace(max(_of(eager, SAMPLING), key=lambda timing: timing.rate).mode, compiled=True), 0.0
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

    for number in range(ROUNDS):
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
