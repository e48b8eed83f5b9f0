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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from diffusion_core.networks import build
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.noise import LogNormal
from diffusion_core.precision import PRECISIONS, computing_in
from diffusion_core.samplers import Model
from diffusion_core.samplers.sampling import at_samples, default_batch
from diffusion_core.training import train
from experiments.config.denoisers import Machine
from experiments.stages.hardware import cores, device_name, use_threads
from experiments.stages.memory import free, keep_freed
from experiments.store.cache import cache_root
from experiments.store.checksums import write_json

SAMPLING, TRAINING = STAGES = ("sampling", "training")
ROUNDS = 9  # at most; each round times every mode once, so that a busy moment hits all of them
SECONDS = 0.8  # from then on no further round is begun
HOPELESS = (3.0, 1.5)  # a mode so many times slower than the fastest is not timed again, after one round and later
COMPARABLE = 1.25  # compiled modes are timed in precisions that are at most so many times slower than the best
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")  # environment
Say = Callable[[str], object]
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


@dataclass(frozen=True)
class Timing:
    """The seconds of one forward pass or training step in a mode, the least of some rounds.

    `once`: seconds that compilation takes for each further network; the first one takes longer.
    """

    mode: Mode
    seconds: float
    once: float = 0.0

    @property
    def images_per_second(self) -> float:
        return self.mode.batch / self.seconds

    @property
    def called(self) -> str:
        """Precision and compilation in words."""
        return self.mode.precision + (", compiled" if self.mode.compiled else "")


@dataclass(frozen=True)
class Subject:
    """The network that is timed, and how it is used. `network`: name of a network that is trained here."""

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
        found = [Mode(SAMPLING, batch, self.threads, p) for batch in batches for p in PRECISIONS]
        return found + [Mode(TRAINING, self.training_batch, n, p) for n in fewer for p in PRECISIONS]


def folder() -> Path:
    """Where timings are kept."""
    return cache_root() / "timings"


def timings(subject: Subject, say: Say, network: Model | None = None) -> tuple[Timing, ...]:
    """The remembered timings of a subject, or new ones, in two to four seconds. Empty if plain fp32 cannot be timed.

    Args:
        subject: what is timed.
        say: is told when it is timed.
        network: times this network, in sampling only, instead of building `subject.network`.
    """
    found = _measured.get(subject) or read(subject.path, subject.key)
    if found is None:
        say(f"timing the network {subject.network} on this machine, once")
        found = measure(subject, network)
        _remember(subject, found)
    return found


def with_compiled(subject: Subject, found: tuple[Timing, ...], say: Say) -> tuple[Timing, ...]:
    """The timings, and those of compiled modes if this machine can compile. New ones take up to half a minute."""
    if not can_compile(subject.device) or any(timing.mode.compiled for timing in found):
        return found
    say(f"timing the network {subject.network}, compiled: half a minute, once on this machine")
    found += measure_compiled(subject, found)
    _remember(subject, found)
    return found


def measure_again(subject: Subject) -> tuple[Timing, ...]:
    """Times all modes anew, compiled ones too, and remembers the timings in place of earlier ones."""
    found = measure(subject)
    if found and can_compile(subject.device):
        found += measure_compiled(subject, found)
    _remember(subject, found)
    return found


def read(path: Path, key: Mapping[str, Any] | None = None) -> tuple[Timing, ...] | None:
    """The timings in a file; None if there is none, if it is damaged, or if it is about something else than `key`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != key and key is not None:
            return None
        found = tuple(Timing(Mode(**one["mode"]), one["seconds"], one["once"]) for one in content["timings"])
        return found if found and all(map(_sensible, found)) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _sensible(timing: Timing) -> bool:
    mode, numbers = timing.mode, (timing.seconds, timing.once, timing.mode.batch, timing.mode.threads)
    if not all(type(number) in (int, float) and 0 <= number < math.inf for number in numbers):
        return False
    known = mode.stage in STAGES and mode.precision in PRECISIONS and isinstance(mode.compiled, bool)
    return known and timing.seconds > 0 and mode.batch >= 1 and mode.threads >= 1


def _remember(subject: Subject, found: tuple[Timing, ...]) -> None:
    _measured[subject] = found
    content = {"key": subject.key, "timings": [asdict(timing) for timing in found]}
    content["measured_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        subject.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(subject.path, content)
    except OSError as error:
        log.warning("%s: %s; so the next run times again, and may choose another precision", folder(), error)


def measure(subject: Subject, network: Model | None = None) -> tuple[Timing, ...]:
    """Times all modes that need no compilation."""
    keep_freed()  # as in runs
    modes = [mode for mode in subject.modes if network is None or mode.stage == SAMPLING]
    with torch.random.fork_rng(devices=[]):
        model = network if network is not None else _network(subject)
        found: list[Timing] = []
        for stage in STAGES:
            here = [mode for mode in modes if mode.stage == stage]
            runs = {
                mode: forward(model, subject.shape, subject.device, mode) if stage == SAMPLING else _step(subject, mode)
                for mode in here
            }
            seconds = interleaved(runs, subject.device)
            if here and here[0] not in seconds:  # nothing to compare with
                return ()
            found += [Timing(mode, least) for mode, least in seconds.items()]
    use_threads(subject.threads)
    return tuple(found)


def measure_compiled(subject: Subject, eager: Iterable[Timing]) -> tuple[Timing, ...]:
    """Times the compiled forward pass in each precision that is not hopeless, at its fastest batch size.

    Two networks are compiled per mode: the first also fills TorchInductor's cache on disk, the second shows what each
    further network takes.
    """
    keep_freed()
    sampling = [timing for timing in eager if timing.mode.stage == SAMPLING]
    best = max(timing.images_per_second for timing in sampling)
    found = []
    for precision in PRECISIONS:
        here = [timing for timing in sampling if timing.mode.precision == precision]
        fastest = max(here, key=lambda timing: timing.images_per_second, default=None)
        if fastest is None or fastest.images_per_second * COMPARABLE < best:
            continue
        mode = replace(fastest.mode, compiled=True)
        with torch.random.fork_rng(devices=[]):
            for _ in range(2):
                run = forward(Compiled(_network(subject), mode.batch), subject.shape, subject.device, mode)
                once = _timed(run, subject.device)
            if seconds := interleaved({mode: run}, subject.device):
                found.append(Timing(mode, seconds[mode], once))
    return tuple(found)


def interleaved(runs: Mapping[Mode, Callable[[], object]], device: str) -> dict[Mode, float]:
    """The least seconds of each run, in rounds that time one after the other. A mode that fails is left out."""
    least: dict[Mode, float] = {}
    start = time.perf_counter()
    for number in range(ROUNDS + 1):
        if number > 2 and time.perf_counter() - start > SECONDS:
            break
        for mode, run in runs.items():
            if number > 0 and (mode not in least or _slowness(least, mode) > HOPELESS[number > 1]):
                continue
            use_threads(mode.threads)
            try:
                seconds = _timed(run, device)
                if number == 0:  # the first call also allocates; after it, every call counts
                    seconds = _timed(run, device)
            except (MemoryError, RuntimeError) as error:
                log.info("%s: %s; left out", mode, " ".join(str(error).split())[:200])
                least.pop(mode, None)
                free()
                continue
            least[mode] = min(seconds, least.get(mode, math.inf))
    return least


def _slowness(least: Mapping[Mode, float], mode: Mode) -> float:
    """The seconds per image of a mode, in units of the fastest with as many threads."""
    fastest = min(seconds / other.batch for other, seconds in least.items() if other.threads == mode.threads)
    return least[mode] / mode.batch / fastest


def _timed(run: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _network(subject: Subject) -> torch.nn.Module:
    return build(subject.network, subject.shape[0]).to(subject.device).eval()


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
    steps = train(
        _network(subject), images, LogNormal(), n_images=10**12, batch_size=mode.batch, precision=mode.precision
    )
    return lambda: next(steps)
