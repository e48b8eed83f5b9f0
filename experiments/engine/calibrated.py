"""Chooses how a study computes on this machine, from timings of its network and the planned amount of work."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from experiments.config.config import SampleConfig
from experiments.config.denoisers import Machine, ModelConfig
from experiments.config.study import AnyStudy
from experiments.config.trial import Infeasible, Trial
from experiments.engine.options import Options
from experiments.stages.calibration import SAMPLING, TRAINING, Subject, Timing, timings, with_compiled
from experiments.stages.common import StoreLoader, images_of
from experiments.store.store import Store

MARGIN = 0.95  # plain fp32 is left only for a mode that takes at most this share of its time: noise must not decide
CONTENTION = 1.25  # trainings side by side share caches, memory and clock: 1.16 to 1.24 times slower (bench/LOG.md)
LONG = 20.0  # seconds of one training from which trainings side by side repay the start of their processes
# Compilation is timed, which takes half a minute once, if it is likely to save more than it takes: a share of the eager
# sampling time of one network, in seconds.
LIKELY_GAIN, LIKELY_COST = 0.3, 8.0

Trials = Callable[[AnyStudy], Iterable[Trial | Infeasible]]


@dataclass(frozen=True)
class Work:
    """The planned work: the number of networks, and for each network images to train on and evaluations to sample."""

    model: ModelConfig
    n_networks: int
    images: int
    evaluations: float

    @classmethod
    def of(cls, trials: Iterable[Trial | Infeasible]) -> "Work | None":
        """The work of all trials; None if no trial has a network."""
        samples = {trial.samples: trial.model for trial in trials if isinstance(trial, Trial)}
        networks = {network for model in samples.values() for network in model.timed}
        if not networks:
            return None
        most = max(networks, key=lambda network: network.images_seen)
        evaluations = sum(_evaluations(run) for run, model in samples.items() if model.timed)
        return cls(most, len(networks), most.images_seen, evaluations / len(networks))


def _evaluations(run: SampleConfig) -> int:
    return run.n_samples * run.planned_nfe


def calibrated(study: AnyStudy, trials: Trials[AnyStudy], options: Options) -> AnyStudy:
    """The study with the fastest precision, compilation, batch and threads for its network on this machine.

    Training and sampling are decided apart. A choice depends on remembered timings and on the whole plan, not on the
    part that is left to do, so a command that is repeated chooses again what it chose before.

    Args:
        study: with the plain machine that `Options.apply` gave it.
        trials: lists its trials, whose work is counted.
        options: if they name a precision, nothing is timed and nothing changes.
    """
    chosen = chosen_for(trials(study), options)
    return (
        study
        if chosen is None
        else replace(
            study,
            training=chosen.training,
            foreign=study.foreign and replace(study.foreign, machine=chosen.sampling),
            sampling=chosen.sampling,
            batch_size=chosen.batch_size,
        )
    )


def chosen_for(trials: Iterable[Trial | Infeasible], options: "Options") -> "Chosen | None":
    """The choice for the work of all trials; None if a precision is given, or if no trial has a network."""
    if options.given_precision != "auto" or (work := Work.of(trials)) is None:
        return None
    return choose(work, options.machine(), options)


@dataclass(frozen=True)
class Chosen:
    """The machines of training and sampling, samples per evaluation, and why, in a sentence."""

    training: Machine
    sampling: Machine
    batch_size: int | None
    why: str


def choose(work: Work, plain: Machine, options: Options) -> Chosen:
    """The choice for some work, given the plain machine."""
    model, say = work.model, partial(Console(markup=False, highlight=False).print, soft_wrap=True)
    trained = model.from_scratch
    shape = images_of(model.data, options.data_root).shape
    subject = Subject.of(model.speed_key, shape, plain, model.batch_size)
    loader = StoreLoader(Store(options.store), options.data_root, plain.device)
    network = None if trained else model.untrained(loader)
    if not (everything := timings(subject, say, network)):
        return Chosen(plain, plain, None, "this machine could not be timed, so everything is in plain fp32")
    found = tuple(one for one in everything if not one.mode.compiled)  # a short run must not depend on a longer one
    sampling = best_sampling(found, work.evaluations)
    eager = work.evaluations / sampling.images_per_second
    if plain.device == "cpu" and trained and eager * LIKELY_GAIN > LIKELY_COST:  # compiled CUDA code was never measured
        sampling = best_sampling(with_compiled(subject, everything, say), work.evaluations)
    machine = replace(plain, precision=sampling.mode.precision, compiled=sampling.mode.compiled)
    said = [_said("sampling", sampling, _plain(found, SAMPLING))]
    training = machine
    if trained:
        alone = options.threads is not None or options.workers is not None or options.ray_address is not None
        step = best_training(found, plain.threads, 1 if alone else work.n_networks, work.images)
        training = replace(plain, precision=step.mode.precision, threads=step.mode.threads)
        said.append(_said("training", step, _plain(found, TRAINING), plain.threads // step.mode.threads))
    return Chosen(training, machine, sampling.mode.batch, f"timed on this machine: {'; '.join(said)}")


def best_sampling(found: Iterable[Timing], evaluations: float) -> Timing:
    """The timing with the least time for so many evaluations of one network, compilation included."""
    return _best(_of(found, SAMPLING), lambda one: one.once + evaluations / one.images_per_second)


def best_training(found: Iterable[Timing], threads: int, n_networks: int, images: int) -> Timing:
    """The timing with the least time per network, if as many are trained side by side as there are threads for.

    Whether there is more than one network counts, but not how many there are. Otherwise adding a network would change
    the identity of all.
    """
    here = _of(found, TRAINING)
    long = images / here[0].images_per_second >= LONG and n_networks > 1
    side_by_side = {one: one.seconds * CONTENTION * one.mode.threads / threads for one in here}
    here = [one for one in here if one.mode.threads == threads or long]
    return _best(here, lambda one: one.seconds if one.mode.threads == threads else side_by_side[one])


def _best(found: Sequence[Timing], cost: Callable[[Timing], float]) -> Timing:
    """The cheapest timing. The first, which is the plain one, unless another is clearly cheaper."""
    best = min(found, key=cost)
    return best if cost(best) <= MARGIN * cost(found[0]) else found[0]


def _of(found: Iterable[Timing], stage: str) -> list[Timing]:
    """The timings of a stage. The plain one is first: it was measured first, and is the basis of comparison."""
    return [one for one in found if one.mode.stage == stage]


def _plain(found: Iterable[Timing], stage: str) -> Timing:
    return _of(found, stage)[0]


def _said(stage: str, best: Timing, plain: Timing, at_a_time: int = 1) -> str:
    rates = f"{best.images_per_second:,.0f} images/s"
    if at_a_time > 1:
        together = best.images_per_second * at_a_time / CONTENTION
        rates = f"{at_a_time} networks at a time, about {together:,.0f} images/s together"
    if best.mode != plain.mode:
        rates += f" against {plain.images_per_second:,.0f} in plain fp32"
    return f"{stage} in {best.called} ({rates})"
