"""Permanent failures are remembered in the store, so that a resumed sweep does not repeat them.

failures/ID/  failure.json: the message, and the kind of artifact that could not be made; ID is the artifact's identity

NotFiniteError is permanent: a training that diverges does so each time. Full disks, lost workers and missing files are
not remembered.
"""

from experiments.engine.tasks import Outcome, Task
from experiments.store.store import Store, read_json, write_json

HOW = "remembered from an earlier run; --retry-failed tries again"


def remember(task: Task, outcome: Outcome, store: Store) -> None:
    """Stores the message of a permanent failure."""
    with store.writing("failures", task.name) as folder:
        write_json(folder / "failure.json", {"kind": task.kind, "error": outcome.error})


def remembered(task: Task, store: Store) -> Outcome | None:
    """The outcome of a task that failed permanently in an earlier run; else None."""
    if not store.has("failures", task.name):
        return None
    with store.reading("failures", task.name) as folder:
        error = read_json(folder / "failure.json")["error"]
    return Outcome(task.name, f"{error} ({HOW})")
