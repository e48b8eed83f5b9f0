"""The floor, the score of real images, for each number of samples in a table -> floors.csv."""

from collections.abc import Sequence
from functools import lru_cache

from experiments.config.config import ReferenceConfig
from experiments.config.trial import Row, Trial
from experiments.metrics.kernels import Array
from experiments.stages.score import load_pool
from experiments.store.store import Store

REPEATS = 20


def floor_rows(trials: Sequence[Trial], rows: Sequence[Row], store: Store, repeats: int = REPEATS) -> list[Row]:
    """Rows of floors.csv: the score of n real images against the rest (floor), for each n in the table."""
    scored = {trial.run_id: trial for trial in trials}
    sizes = {(scored[row["run_id"]].score.reference, row["n_samples"]): row for row in rows if row["status"] == "ok"}
    out: list[Row] = []
    for (reference, n), row in sizes.items():
        shared = {name: row[name] for name in ("data", "features", "n_samples", "n_reference")}
        for metric, values in floor_of(reference, store, n, repeats).items():
            out.append(shared | {"metric": metric, "repeats": len(values)} | summary(values))
    return out


@lru_cache(maxsize=8)
def floor_of(reference: ReferenceConfig, store: Store, n: int, repeats: int) -> dict[str, Array]:
    """The scores of n real images against the rest, by metric, each (repeats,)."""
    return load_pool(reference, store)[0].floor(n, range(1, repeats + 1))


def summary(values: Array) -> dict[str, float]:
    """Mean, standard deviation and range of repeated scores."""
    numbers = {"mean": values.mean(), "sd": values.std(ddof=1), "low": values.min(), "high": values.max()}
    return {name: float(number) for name, number in numbers.items()}
