"""Makes what runs need, here, in processes or on Ray, and shows how far it is."""

import math
import multiprocessing
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.run.artifact import Busy, CacheError, disk_errors, locked
from experiments.run.cache import Cache
from experiments.run.cluster import on_ray
from experiments.run.hardware import visible_cards
from experiments.run.identity import identity
from experiments.run.plan import Run, check_plan
from experiments.run.steps import reference, score
from experiments.run.work import Begin, Failed, Make, advance_in, in_processes, network, work
from experiments.terminal import Terminal, duration, said

PARTS = 10  # of real images: after each, a line says how many are done
NOTES, OLD = ".notes-", 7 * 86_400  # of a running command; seconds without a note after which it is taken for dead


@dataclass(frozen=True)
class Worked:
    """How the work on runs ended. The scores of all others are in the cache, unless it was interrupted, or out of time.

    `evaluations`: network evaluations of the files that it made, a training image counted as `TRAIN_COST`.
    """

    failed: Failed
    interrupted: bool = False
    evaluations: float = 0.0


def execute(
    runs: Sequence[Run],
    cache: Cache,
    console: Terminal,
    *,
    workers: int = 1,
    ray_address: str | None = None,
    gpus_per_run: float = 1.0,
    until: float = math.inf,
    seen: Callable[[Sequence[Run], Failed], None] | None = None,
    make: Make = score,
) -> Worked:
    """Runs the loop where the options say, and shows how far it is. No run is begun after the time `until`.

    Networks that train on fewer threads than there are for a run are trained side by side. In this process the work
    goes network by network if `seen` is given, and after each one `seen` gets the runs that are done, and failures.
    `make`: what is made of each run, see `work`; not on Ray.

    Raises:
        ValueError: runs whose configs have no identity or share one; a Ray cluster that does not answer.
        CacheError: the cache cannot be read or written.
    """
    check_plan(runs)
    cache.spot, cache.mixed = due(runs, cache)
    cache.crowded = _crowded(runs[0].machine.device, workers, ray_address, gpus_per_run)
    left = missing(runs, cache)
    beside = side_by_side(runs, left) if workers == 1 and not ray_address else []
    together = min(runs[0].machine.threads // beside[0].network.machine.threads, len(beside)) if beside else 1
    made = multiprocessing.RawArray("d", max(workers, together))
    with disk_errors(cache.root):
        cache.root.mkdir(parents=True, exist_ok=True)
        _forget_killed(cache.root)
        notes = TemporaryDirectory(prefix=NOTES, dir=cache.root, ignore_cleanup_errors=True)
    with notes as folder:
        cache.notes = Path(folder)
        try:
            if not ray_address:
                real_images(runs, cache, console)
            with shown(left, console, lambda: sum(made), until) as begin:
                if ray_address:
                    failed = on_ray(runs, cache, ray_address, gpus_per_run, until)
                elif workers > 1:
                    failed = in_processes(runs, cache, workers, made, make=make, until=until)
                else:
                    condemned, failed, done = len(cache.condemned), Failed(), list[Run]()
                    for part in by_network(runs, together) if seen else [list(runs)]:
                        training = [run for run in beside if run in part]
                        if together > 1 and len(training) > 1:
                            in_processes(training, cache, together, made, make=network)  # a failure is met again below
                        failed |= work(part, cache, advance_in(made, 0), begin, make=make, until=until)
                        done += part
                        if seen:
                            seen(done, failed)
                    if len(cache.condemned) > condemned:  # parts before that were believed too soon
                        failed = work(runs, cache, advance_in(made, 0), begin, make=make, until=until)
        except KeyboardInterrupt:
            return Worked({}, True, _made(left))
        finally:
            cache.notes = None
    return Worked(failed, False, _made(left))


def real_images(runs: Sequence[Run], cache: Cache, console: Terminal) -> None:
    """Makes the files of real images that are missing, which every score needs. A failure is met again by the runs.

    They are made first, so that how long the rest takes is known from its own pace.
    """
    for run in {run.reference: run for run in runs if not run.impossible}.values():
        if not cache.path("references", run.reference).exists():
            _real_images(run, cache, console)


def _real_images(run: Run, cache: Cache, console: Terminal) -> None:
    done, total = [0.0], run.reference.n

    def text() -> str:
        what = f"{done[0]:,.0f} of {total:,}" if done[0] < total else f"{total:,}, compared with each other"
        return f"features of real images: {what}"

    def make(run: Run, cache: Cache, advance: Callable[[float], None]) -> None:
        reference(run.reference, cache, advance)

    with said(console, text, lambda: PARTS * done[0] // total):
        work([run], cache, advance_in(done, 0), make=make)


def by_network(runs: Sequence[Run], together: int) -> list[list[Run]]:
    """The runs of the first networks, so many at a time, then those of the next, in their order."""
    numbers = list(dict.fromkeys(run.number for run in runs))
    parts = [set(numbers[first : first + together]) for first in range(0, len(numbers), together)]
    return [[run for run in runs if run.number in part] for part in parts]


def _forget_killed(root: Path) -> None:
    """Removes what commands that were killed could not: their notes, and locks beside files that are finished."""
    for folder in root.glob(f"{NOTES}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > OLD:
                shutil.rmtree(folder, ignore_errors=True)
    for lock in root.glob("*/*.lock"):
        with suppress(Busy, CacheError), locked(lock.with_suffix(".safetensors")):
            pass  # nobody held it; it is removed here


def _crowded(device: str, workers: int, ray_address: str | None, gpus_per_run: float) -> bool:
    """Whether several runs share a device at a time."""
    if ray_address:
        return device != "cuda" or gpus_per_run < 1
    return workers > (max(len(visible_cards()), 1) if device == "cuda" else 1)


def _made(left: Mapping[str, Mapping[Path, float]]) -> float:
    """Network evaluations of the files that were missing and are there now."""
    return sum(cost for paths in left.values() for path, cost in paths.items() if path.exists())


def side_by_side(runs: Sequence[Run], left: Mapping[str, Mapping[Path, float]]) -> list[Run]:
    """A run of each missing network, if there are several, and several of them can be trained at a time."""
    first = {run.network: run for run in runs if not run.impossible and run.network.cost}
    todo = {path.stem for path in left["networks"]}
    alone = (run for network, run in first.items() if network.machine.threads < run.machine.threads)
    several = [run for run in alone if identity(run.network) in todo]
    return several if len(several) > 1 else []


def due(runs: Iterable[Run], cache: Cache) -> tuple[frozenset[str], frozenset[str]]:
    """`Cache.spot` and `Cache.mixed` for these runs.

    Checked are samples of each network and of each class of samplers, chosen anew each time. Runs with a user's
    code are always checked; all runs are once a check has found a difference.
    """
    possible = {run.samples_id: run for run in runs if not run.impossible}
    stored = {name: run for name, run in possible.items() if cache.path("samples", run).exists()}
    new = {maker for name in possible.keys() - stored.keys() for maker in _makers(possible[name])}
    spot, seen = set[str](), set[Any]()
    for name in random.SystemRandom().sample(list(stored), len(stored)):
        if not seen.issuperset(makers := _makers(stored[name])):
            seen |= makers
            spot.add(name)
    return frozenset(spot), frozenset(name for name, run in stored.items() if new & _makers(run))


def _makers(run: Run) -> set[Any]:
    return {run.network, type(run.setting.sampler)}


def missing(runs: Sequence[Run], cache: Cache) -> dict[str, dict[Path, float]]:
    """The files that runs need and that are not there."""
    every = needed(runs, cache)
    return {kind: {path: cost for path, cost in paths.items() if not path.exists()} for kind, paths in every.items()}


def needed(runs: Sequence[Run], cache: Cache) -> dict[str, dict[Path, float]]:
    """The files that runs need, by kind, with the network evaluations that making them takes."""
    out: dict[str, dict[Path, float]] = {kind: {} for kind in ("networks", "references", "samples", "scores")}
    for run in runs:
        if run.impossible:
            continue
        needs = {"references": (run.reference, 0.0), "samples": (run, float(run.n * run.nfe))}
        needs |= {"scores": (run.scored, 0.0)}
        if run.network.cost:
            needs["networks"] = (run.network, run.network.cost)
        for kind, (config, cost) in needs.items():
            out[kind][cache.path(kind, config)] = cost
    return out


@contextmanager
def shown(
    left: Mapping[str, Mapping[Path, float]], console: Terminal, made: Callable[[], float], until: float = math.inf
) -> Iterator[Begin]:
    """Shows while the block runs how many files are made and how long the rest takes. Yields what tells the run."""
    start, cost = time.monotonic(), sum(sum(paths.values()) for paths in left.values())
    paths, doing = [path for kind in left.values() for path in kind], [""]

    def state() -> tuple[int, str]:
        return sum(path.exists() for path in paths), doing[0]

    def text() -> str:
        (done, what), rate = state(), made() / max(time.monotonic() - start, 1e-9)
        known = rate >= 1 and made() >= cost / 100  # the start of processes is no pace
        room, rest = max(until - time.time(), 0), max(cost - made(), 0) / rate if known else 0.0
        eta = f"; {duration(min(rest, room))} to go; {rate:,.0f} evaluations/s" if known else ""
        most = "at most " if rest > room else ""
        return f"{done} of {most}{len(paths)} files made{eta}{what}"

    def begin(run: Run) -> None:
        doing[0] = f"; seed {run.network.seed}, {run.setting.group}: {run.setting.label}"

    if not paths:
        yield begin
        return
    with said(console, text, state):
        yield begin
