"""fp32 or bf16, and networks side by side or one after another: from one timing of a few seconds, kept in the store.

The choice is part of the identity of results, so it depends only on what is remembered and on the options.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.benchmark import Timer

from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Model
from diffusion_core.samplers.sampling import bind_index, default_batch
from diffusion_core.tensors import PRECISIONS, computing_in
from diffusion_core.training import train
from experiments.run.cache import Cache, TensorsAndFacts
from experiments.run.machine import Machine, cores, device_name, use_threads
from experiments.run.networks import Network, Trained
from experiments.user.memory import free_memory, keep_freed

SAMPLING, TRAINING = "sampling", "training"  # stages
ROUNDS = 5  # each times every mode once, so that a busy moment hits all of them
HOPELESS = 3.0  # a mode that takes this many times the first mode's thread seconds per image is timed once
MARGIN = 0.95  # plain fp32 is left only for a mode that takes at most this share of its time: noise must not decide
CONTENTION = 1.25  # trainings side by side share caches, memory and clock: 1.16 to 1.24 times slower (bench/LOG.md)
LONG = 20.0  # seconds per network from which trainings side by side repay the start of their processes


@dataclass(frozen=True)
class ComputeMode:
    """A way to compute. `batch`: images per forward pass or training step."""

    stage: str
    batch: int
    threads: int
    precision: str = "fp32"


@dataclass(frozen=True)
class BenchmarkKey:
    """The key of what is timed: a network on a machine. `network`: a name that differs for networks of other speed."""

    network: str
    shape: tuple[int, ...]
    machine: Machine
    training_batch: int  # 0 if it is not trained here
    processor: str
    cores: int
    isa_limit: str

    @classmethod
    def of(cls, network: Any, machine: Machine) -> "BenchmarkKey":
        trained = isinstance(network, Trained)
        name = f"{network.network} {network.parameterisation}" if trained else f"{network.name} {network.content}"
        if trained and network.architecture:  # the user's
            name += f" {network.architecture}"
        batch = network.batch_size if trained else 0
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
        return cls(name, network.shape, machine, batch, device_name(machine.device), cores(), limit)

    def modes(self, stage: str) -> list[ComputeMode]:
        """The modes that are timed, the plain one first."""
        device = self.machine.device
        threads = self.machine.threads
        if stage == SAMPLING:
            return [ComputeMode(stage, default_batch(device, threads), threads, name) for name in PRECISIONS]
        fewer = sorted({threads, 1}, reverse=True) if device == "cpu" else [threads]
        return [ComputeMode(stage, self.training_batch, n, name) for n in fewer for name in PRECISIONS]


@dataclass(frozen=True)
class TimedMachines:
    """The machines of training and of everything else, and why."""

    training: Machine
    sampling: Machine
    why: str = ""
    seconds: float = 0.0  # of sampling, per image and evaluation


def autotune(
    network: Network, plain: Machine, cache: Cache, n_networks: int, notify: Callable[[str], object]
) -> TimedMachines:
    """The machines for a network that is not exact. `n_networks`: trained side by side at most; 1 for never."""
    seconds = timings(network, plain, cache, notify).items()
    forwards = {mode: time for mode, time in seconds if mode.stage == SAMPLING}
    steps = {mode: time for mode, time in seconds if mode.stage == TRAINING}
    if not forwards or (isinstance(network, Trained) and not steps):
        return TimedMachines(plain, plain, "this machine could not be timed, so everything is in plain fp32")
    best = _best(forwards, lambda mode: forwards[mode])
    sampling = training = replace(plain, precision=best.precision)
    per_image = forwards[best] / best.batch
    words = [_in_words(best, forwards)]
    if isinstance(network, Trained):
        long = network.images_seen / network.batch_size * next(iter(steps.values())) >= LONG
        if not long or n_networks == 1:
            steps = {mode: time for mode, time in steps.items() if mode.threads == plain.threads}

        def cost(mode: ComputeMode) -> float:
            """Seconds of a step, shared by the networks that are trained side by side."""
            side_by_side = CONTENTION * mode.threads / plain.threads
            return steps[mode] * (side_by_side if mode.threads < plain.threads else 1)

        best = _best(steps, cost)
        training = replace(plain, precision=best.precision, threads=best.threads)
        words.append(_in_words(best, steps))
    return TimedMachines(training, sampling, f"timed on this machine: {'; '.join(words)}", per_image)


def _best(seconds: Mapping[ComputeMode, float], cost: Callable[[ComputeMode], float]) -> ComputeMode:
    """The cheapest mode, or the first, which is plain, unless another is clearly cheaper."""
    plain = next(iter(seconds))
    best = min(seconds, key=cost)
    return best if cost(best) <= MARGIN * cost(plain) else plain


def _in_words(best: ComputeMode, seconds: Mapping[ComputeMode, float]) -> str:
    plain = next(iter(seconds))
    rate = best.batch / seconds[best]
    rates = f"{rate:,.0f} images/s"
    if (at_a_time := plain.threads // best.threads) > 1:
        rates = f"{at_a_time} networks at a time, about {rate * at_a_time / CONTENTION:,.0f} images/s together"
    if best != plain:
        rates += f" against {plain.batch / seconds[plain]:,.0f} in plain fp32"
    return f"{best.stage} in {best.precision} ({rates})"


def timings(network: Any, machine: Machine, cache: Cache, notify: Callable[[str], object]) -> dict[ComputeMode, float]:
    """The seconds of a forward pass and a training step in each mode, remembered or measured now."""
    key = BenchmarkKey.of(network, machine)

    def make() -> TensorsAndFacts:
        notify(f"timing the network {key.network} on this machine, once")
        keep_freed()  # as in runs
        with torch.random.fork_rng(devices=[]):
            model = network.untrained()
            runs = {mode: forward_call(model, key.shape, machine.device, mode) for mode in key.modes(SAMPLING)}
            seconds = time_interleaved(runs)
            if key.training_batch:
                seconds |= time_interleaved({mode: _training_call(network, mode) for mode in key.modes(TRAINING)})
        use_threads(machine.threads)
        return {}, {"timings": [{"mode": vars(mode), "seconds": time} for mode, time in seconds.items()]}

    stored = cache.load_or_make("timings", key, make).facts["timings"]
    return {ComputeMode(**timing["mode"]): timing["seconds"] for timing in stored}


def time_interleaved(runs: Mapping[ComputeMode, Callable[[], object]]) -> dict[ComputeMode, float]:
    """The least seconds of each run over several rounds, without runs that fail; {} if the first, plain one fails."""
    least = dict.fromkeys(runs, math.inf)
    first = next(iter(runs))
    for round_index in range(ROUNDS):
        for mode in [*least]:
            if round_index and first in least and least[mode] * mode.threads > HOPELESS * least[first] * first.threads:
                continue
            try:
                least[mode] = min(time_call(runs[mode], mode.threads), least[mode])
            except (MemoryError, RuntimeError):
                del least[mode]
                free_memory()
    return least if first in least else {}


def time_call(run: Callable[[], object], threads: int) -> float:
    """The seconds of one run, after a warm-up."""
    return Timer("run()", globals={"run": run}, num_threads=threads).timeit(1).median


def forward_call(model: Model, shape: tuple[int, ...], device: str, mode: ComputeMode) -> Callable[[], object]:
    """A function that evaluates the model once, as sampling does, on one batch of images of this shape."""
    x = torch.randn(mode.batch, *shape, device=device)
    sigma = torch.ones(mode.batch, device=device)
    model = bind_index(model, torch.arange(mode.batch, device=device))

    def run() -> object:
        with torch.no_grad(), computing_in(mode.precision, device):
            return model(x, sigma)

    return run


def _training_call(network: Trained, mode: ComputeMode) -> Callable[[], object]:
    images = torch.randn(4 * mode.batch, *network.shape, device=network.machine.device)
    model = network.untrained()
    model.fit(images)
    steps = train(model, images, LogNormal(), n_images=10**12, batch_size=mode.batch, precision=mode.precision)
    return lambda: next(steps)
