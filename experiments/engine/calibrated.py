"""Chooses how a study computes on this machine, from timings of its network and the planned amount of work."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from experiments.config.denoisers import Machine, ModelConfig
from experiments.config.study import AnyStudy
from experiments.config.trial import Infeasible, Trial
from experiments.engine.options import Options
from experiments.stages.calibration import SAMPLING, TRAINING, Subject, Timing, timings
from experiments.stages.common import StoreLoader, images_of
from experiments.store.store import Store
from reports.terminal import Terminal, said

MARGIN = 0.95  # plain fp32 is left only for a mode that takes at most this share of its time: noise must not decide
CONTENTION = 1.25  # trainings side by side share caches, memory and clock: 1.16 to 1.24 times slower (bench/LOG.md)
LONG = 20.0  # seconds per network from which trainings side by side repay the start of their processes
WORTH_COMPILING = (
    600.0  # seconds of a whole plan from which on the half minute is worth it in which compilation is timed
)

Trials = Callable[[AnyStudy], Iterable[Trial | Infeasible]]


@dataclass(frozen=True)
class Chosen:
    """The machines of training and sampling, samples per evaluation, and why, in a sentence."""

    training: Machine
    sampling: Machine
    batch_size: int | None
    why: str


def calibrated(study: AnyStudy, trials: Trials[AnyStudy], options: Options) -> AnyStudy:
    """The study with the fastest precision, compilation, batch and threads for its network on this machine.

    Training and sampling are decided apart. A choice depends on remembered timings and on the whole plan, not on the
    part that is left to do, so a command that is repeated chooses again what it chose before.

    Args:
        study: with the plain machine that `Options.apply` gave it.
        trials: lists its trials, whose work is counted.
        options: if they name a precision, nothing is timed and nothing changes.
    """
    if (chosen := chosen_for(trials(study), options)) is None:
        return study
    foreign = study.foreign and replace(study.foreign, machine=chosen.sampling)
    return replace(
        study, training=chosen.training, foreign=foreign, sampling=chosen.sampling, batch_size=chosen.batch_size
    )


def chosen_for(trials: Iterable[Trial | Infeasible], options: Options) -> Chosen | None:
    """The choice for the work of all trials; None if a precision is given, or if no trial has a network."""
    runs = {trial.samples: trial.model for trial in trials if isinstance(trial, Trial)}
    networks = dict.fromkeys(network for model in runs.values() for network in model.timed)  # of equal ones the first
    if options.given_precision != "auto" or not networks:
        return None
    longest = max(networks, key=lambda network: network.images_seen)
    evaluations = sum(run.evaluations for run, model in runs.items() if model.timed)
    return choose(longest, len(networks), evaluations / len(networks), options.machine(), options)


def choose(model: ModelConfig, n_networks: int, evaluations: float, plain: Machine, options: Options) -> Chosen:
    """The choice for networks like `model`, from each of which so many evaluations are made; `plain`: in fp32."""
    subject = Subject.of(model.speed_key, images_of(model.data, options.data_root).shape, plain, model.batch_size)
    loader = StoreLoader(Store(options.store), options.data_root, plain.device)
    console = Terminal()
    say, waiting = partial(console.print, soft_wrap=True), partial(said, console, lambda: "timing the network")
    with waiting():
        measured = timings(subject, say, None if model.from_scratch else model.untrained(loader))
    if not measured:
        return Chosen(plain, plain, None, "this machine could not be timed, so everything is in plain fp32")
    eager = [timing for timing in measured if not timing.mode.compiled]  # a short run must not depend on a longer one
    sampling = best_sampling(eager, evaluations)
    if not model.from_scratch:
        machine = replace(plain, precision=sampling.mode.precision)
        return Chosen(machine, machine, sampling.mode.batch, _why(eager, sampling))
    alone = options.threads is not None or options.workers is not None or options.ray_address is not None
    step = best_training(eager, plain.threads, 1 if alone else n_networks, model.images_seen)
    together = 1.0 if step.mode.threads == plain.threads else CONTENTION * step.mode.threads / plain.threads
    seconds = evaluations / sampling.images_per_second + together * model.images_seen / step.images_per_second
    if plain.device == "cpu" and n_networks * seconds > WORTH_COMPILING:  # compiled CUDA code was never measured
        with waiting():
            measured = timings(subject, say, compiled=True)
        sampling = best_sampling(measured, evaluations)
    machine = replace(plain, precision=sampling.mode.precision, compiled=sampling.mode.compiled)
    training = replace(plain, precision=step.mode.precision, threads=step.mode.threads)
    return Chosen(training, machine, sampling.mode.batch, _why(eager, sampling, step))


def best_sampling(measured: Iterable[Timing], evaluations: float) -> Timing:
    """The timing with the least time for so many evaluations of one network, compilation included."""
    return _best(_of(measured, SAMPLING), lambda timing: timing.once + evaluations / timing.images_per_second)


def best_training(measured: Iterable[Timing], threads: int, n_networks: int, images: int) -> Timing:
    """The timing with the least time per network, if as many are trained side by side as there are threads for.

    Whether there is more than one network counts, but not how many there are. Otherwise adding a network would change
    the identity of all.
    """
    steps = _of(measured, TRAINING)
    if n_networks == 1 or images / steps[0].images_per_second < LONG:
        steps = [step for step in steps if step.mode.threads == threads]

    def per_network(step: Timing) -> float:
        return step.seconds * (CONTENTION * step.mode.threads / threads if step.mode.threads < threads else 1)

    return _best(steps, per_network)


def _best(measured: list[Timing], cost: Callable[[Timing], float]) -> Timing:
    """The cheapest timing. The first, which is the plain one, unless another is clearly cheaper."""
    best = min(measured, key=cost)
    return best if cost(best) <= MARGIN * cost(measured[0]) else measured[0]


def _of(measured: Iterable[Timing], stage: str) -> list[Timing]:
    """The timings of a stage. The plain one is first: it was measured first, and is the basis of comparison."""
    return [timing for timing in measured if timing.mode.stage == stage]


def _why(eager: list[Timing], *chosen: Timing) -> str:
    return f"timed on this machine: {'; '.join(_in_words(one, _of(eager, one.mode.stage)[0]) for one in chosen)}"


def _in_words(best: Timing, plain: Timing) -> str:
    rates = f"{best.images_per_second:,.0f} images/s"
    if best.mode.batch != plain.mode.batch:
        rates += f" in batches of {best.mode.batch}"
    if (at_a_time := plain.mode.threads // best.mode.threads) > 1:
        rate = best.images_per_second * at_a_time / CONTENTION
        rates = f"{at_a_time} networks at a time, about {rate:,.0f} images/s together"
    if best.mode != plain.mode:
        rates += f" against {plain.images_per_second:,.0f} in plain fp32"
    return f"{best.mode.stage} in {best.mode.called} ({rates})"
