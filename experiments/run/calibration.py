"""Which precision, batch, compilation and threads runs use on this machine.

A mode is left for another one only if it is clearly faster. The choice is part of the identity of results, so it must
not change from run to run: it depends on timings that are remembered (timings.py) and on the whole plan, not on what is
left to do. `python -m experiments machine` shows the timings and measures again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from diffusion_core.networks.compiled import can_compile
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import Trained
from experiments.run.plan import Run
from experiments.run.timings import SAMPLING, TRAINING, Subject, Timing, of, timings

MARGIN = 0.95  # plain fp32 is left only for a mode that takes at most this share of its time: noise must not decide
CONTENTION = 1.25  # trainings side by side share caches, memory and clock: 1.16 to 1.24 times slower (bench/LOG.md)
LONG = 20.0  # seconds per network from which trainings side by side repay the start of their processes
WORTH_COMPILING = 600.0  # seconds of a plan from which the half minute is worth it in which compilation is timed


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
    return _best(of(measured, SAMPLING), lambda timing: timing.once + evaluations / timing.rate)


def best_training(measured: Sequence[Timing], threads: int, n_networks: int, images: int) -> Timing:
    """The timing with the least time per network, if as many are trained side by side as there are threads for.

    Whether there is more than one network counts, but not how many: else adding one would change the identity of all.
    """
    steps = of(measured, TRAINING)
    if n_networks == 1 or images / steps[0].rate < LONG:
        steps = [step for step in steps if step.mode.threads == threads]
    side = CONTENTION / threads
    return _best(steps, lambda it: it.seconds * (side * it.mode.threads if it.mode.threads < threads else 1))


def _best(measured: list[Timing], cost: Callable[[Timing], float]) -> Timing:
    """The cheapest timing. The first, which is the plain one, unless another is clearly cheaper."""
    best = min(measured, key=cost)
    return best if cost(best) <= MARGIN * cost(measured[0]) else measured[0]


def _why(eager: Sequence[Timing], *best: Timing) -> str:
    return f"timed on this machine: {'; '.join(_in_words(one, of(eager, one.mode.stage)[0]) for one in best)}"


def _in_words(best: Timing, plain: Timing) -> str:
    rates = f"{best.rate:,.0f} images/s"
    if best.mode.batch != plain.mode.batch:
        rates += f" in batches of {best.mode.batch}"
    if (at_a_time := plain.mode.threads // best.mode.threads) > 1:
        rates = f"{at_a_time} networks at a time, about {best.rate * at_a_time / CONTENTION:,.0f} images/s together"
    if best.mode != plain.mode:
        rates += f" against {plain.rate:,.0f} in plain fp32"
    return f"{best.mode.stage} in {best.mode.called} ({rates})"
