"""Which stored results of a plan get a spot check (stages/spot_check.py), and what goes if one does not pass it.

All networks and references are checked, and all runs in which code takes part that is not ours, or that are older than
their network. Of the other runs one per network is, and all of them if any check finds a difference. Each is checked
once per run of a sweep.
"""

import random
import sys
from collections.abc import Hashable
from dataclasses import replace
from weakref import WeakKeyDictionary

from experiments.config.config import ScoreConfig
from experiments.config.identity import has_own_code, identity
from experiments.engine.plan import Plan
from experiments.engine.tasks import Task
from experiments.own.source import OWN
from experiments.stages.common import load_meta
from experiments.store.store import Store

# names of artifacts that passed or were made by this process, and denoisers of which one run was checked
_believed: WeakKeyDictionary[Store, set[Hashable]] = WeakKeyDictionary()


def believe(name: str, store: Store) -> None:
    """Notes an artifact that needs no check any more."""
    _believed.setdefault(store, set()).add(name)


def due(plan: Plan, store: Store, *, thorough: bool = False) -> tuple[Task, ...]:
    """The checks of what is stored, in an order in which they can run, with trainings that they need.

    Args:
        thorough: check all runs.
    """
    believed = _believed.setdefault(store, set())
    stored = [task for task in plan.tasks if task.name not in believed and _stored(task, store)]
    every = thorough or OWN in sys.modules
    chosen = {task.name for task in stored if every or task.kind != "scores" or has_own_code(task.config)}
    for task in random.SystemRandom().sample(stored, len(stored)):
        if task.kind == "scores" and (model := task.config.samples.model) not in believed:
            believed.add(model)
            chosen.add(task.name)
    chosen |= {task.name for task in stored if task.kind == "scores" and _of_earlier_network(task.config, store)}
    networks = _networks(plan)
    checks = [
        replace(task, kind="checks", needs=networks.get(task.name, task.needs), cost=0.0)
        for task in stored
        if task.name in chosen
    ]
    needed = {name for task in checks for name in task.needs}
    missing = [task for task in plan.tasks if task.kind == "models" and not store.has("models", task.name)]
    return (*(task for task in missing if task.name in needed), *checks)


def _stored(task: Task, store: Store) -> bool:
    if task.kind == "scores":
        return store.has("scores", task.name) or store.has("samples", task.needs[0])
    return task.kind in ("models", "references") and store.has(task.kind, task.name)


def _of_earlier_network(score: ScoreConfig, store: Store) -> bool:
    """Whether a run is not later than its network, which another command has then replaced without knowing the run."""
    scored = store.has("scores", identity(score))  # then its samples are neither fetched nor read
    made = load_meta("scores", score, store) if scored else load_meta("samples", score.samples, store)
    networks = (network for network in score.samples.model.networks if store.has("models", identity(network)))
    return any(made["finished_at"] <= load_meta("models", network, store)["finished_at"] for network in networks)


def _networks(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Scoring -> its networks and its reference, which must be right before its samples can be checked."""
    sampling = {task.name: task.needs for task in plan.tasks if task.kind == "samples"}
    return {task.name: (*sampling[task.needs[0]], *task.needs[1:]) for task in plan.tasks if task.kind == "scores"}


def discard(task: Task, plan: Plan, store: Store) -> None:
    """Removes what a check found to differ, and what depends on it, from the store."""
    gone, networks = {task.name}, _networks(plan)
    for other in plan.tasks:  # each comes after what it needs
        if other.name not in gone and gone.isdisjoint((*other.needs, *networks.get(other.name, ()))):
            continue
        gone.add(other.name)
        store.discard(other.kind, other.name)
        if isinstance(other.config, ScoreConfig):
            store.discard("samples", identity(other.config.samples))
    if not isinstance(task.config, ScoreConfig):  # which of them depend on it is not known
        for artifact in store.artifacts():
            if artifact.name.kind == "probes":
                store.discard(*artifact.name)
