"""Failures that would come again the same way, remembered in the store, so that resuming does not pay for them twice.

failures/ID/  failure.json: the message and the kind of artifact that could not be made; ID is the artifact's

A training that diverges does so each time (NotFiniteError). Full disks, lost workers and missing files are not
remembered.
"""

from experiments.engine.tasks import Outcome, Task
from experiments.store.store import Store, read_json, write_json

HOW = "remembered from an earlier run; --retry-failed tries again"


def remember(task: Task, outcome: Outcome, store: Store) -> None:
    """Keeps the message of a failure that lasts."""
    with store.writing("failures", task.name) as folder:
        write_json(folder / "failure.json", {"kind": task.kind, "error": outcome.error})


def remembered(task: Task, store: Store) -> Outcome | None:
    """How the task failed in an earlier run, if it would again."""
    if not store.has("failures", task.name):
        return None
    error = read_json(store.path("failures", task.name) / "failure.json")["error"]
    return Outcome(task.name, f"{error} ({HOW})")


def forget(task: Task, store: Store) -> None:
    """Lets the task be tried again."""
    if store.has("failures", task.name):
        store.discard("failures", task.name)
