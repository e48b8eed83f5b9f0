"""The plan of a sweep: the artifacts that its trials need, which of them exist, and the cost of the rest."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from experiments.config.config import ScoreConfig
from experiments.config.denoisers import ModelConfig
from experiments.config.identity import identity
from experiments.config.trial import Infeasible, Trial
from experiments.engine.tasks import TRAIN_COST, Task
from experiments.stages.probe import Probe
from experiments.store.store import Store

AnyConfig = TypeVar("AnyConfig")


@dataclass(frozen=True)
class Plan:
    """The trials, and one task per artifact that they need. Each task comes after the tasks that it needs."""

    trials: tuple[Trial, ...]
    tasks: tuple[Task, ...]

    @classmethod
    def of(cls, planned: Sequence[Trial | Infeasible], probes: Sequence[Probe] = ()) -> "Plan":
        """The plan of all feasible trials: networks, references, sampling and scoring run by run, then probes.

        Probes of denoisers that no trial samples from are left out.
        """
        trials = tuple(trial for trial in planned if isinstance(trial, Trial))
        models = {identity(trial.model) for trial in trials}
        probing = (_probing(config) for config in _unique(probes) if identity(config.model) in models)
        return cls(trials, (*_tasks(_unique(trial.score for trial in trials)), *probing))

    def remaining(self, store: Store, failed: Container[str] = ()) -> "Remaining":
        """The tasks whose artifacts are missing in the store, without those that failed before, by name.

        Samples are not missing if they are scored: they may have been removed, since no task needs them any more.
        """
        scores = [task for task in self.tasks if task.kind == "scores" and not store.has("scores", task.name)]
        unscored = {name for task in scores for name in task.needs}
        needed = (task for task in self.tasks if task.kind != "samples" or task.name in unscored)
        missing = (task for task in needed if not store.has(task.kind, task.name))
        return Remaining(self, tuple(task for task in missing if task.name not in failed))


@dataclass(frozen=True)
class Remaining:
    """The remaining tasks of a plan."""

    plan: Plan
    tasks: tuple[Task, ...]

    @property
    def cost(self) -> float:
        """Network evaluations of the remaining tasks, training included."""
        return sum(task.cost for task in self.tasks)

    def counts(self, kind: str) -> tuple[int, int]:
        """Numbers of artifacts of a kind: in the plan, left to make."""
        every, left = (sum(task.kind == kind for task in tasks) for tasks in (self.plan.tasks, self.tasks))
        return every, left


def _tasks(scores: Sequence[ScoreConfig]) -> Iterator[Task]:
    """One task per artifact that the scores need, in an order in which the tasks can run."""
    for model in _unique(network for score in scores for network in score.samples.model.networks):
        name, needs = identity(model), tuple(identity(network) for network in model.needs)
        yield Task("models", name, model, model.machine, needs, log=name, cost=model.images_seen * TRAIN_COST)
    for reference in _unique(score.reference for score in scores):
        machine = scores[0].samples.machine
        yield Task("references", identity(reference), reference, machine, log=f"reference-{identity(reference)}")
    sampled: set[str] = set()
    for score in scores:
        samples, name, log = score.samples, identity(score.samples), identity(score)
        if name not in sampled:
            yield Task("samples", name, samples, samples.machine, _trained(samples.model), log, samples.evaluations)
            sampled.add(name)
        yield Task("scores", log, score, samples.machine, (name, identity(score.reference)), log)


def _unique(configs: Iterable[AnyConfig]) -> list[AnyConfig]:
    """The configs, each once: those are equal that the store takes for equal."""
    return list({identity(config): config for config in configs}.values())


def _probing(config: Probe) -> Task:
    name = identity(config)
    return Task("probes", name, config, config.machine, _trained(config.model), f"probe-{name}", config.cost)


def _trained(model: ModelConfig) -> tuple[str, ...]:
    """The names of the tasks that train the networks of a model; empty if nothing is trained here."""
    return tuple(identity(network) for network in model.networks)
