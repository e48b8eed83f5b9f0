"""Runs as rows of table.csv. Values are not rounded; missing values are empty."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from experiments.config.trial import Row, Trial, described
from experiments.metrics.distances import METRICS
from experiments.stages.common import SAMPLED, load_meta
from experiments.store.store import Store, write_text
from reports.schema import TABLES, written

COLUMNS = tuple(written(TABLES["table.csv"]))
TRAINED = ("train_seconds", "train_loss")  # columns that a network's meta.json has
MEASURED = (*METRICS, "mmd_se", "kd_se", "precision", "recall", "grain", "grain_se", "n_reference")  # those of a score


def row(trial: Trial, store: Store, failure: str | None) -> Row:
    """The row of table.csv for a finished or failed trial."""
    values = described(trial) | {"status": "ok" if failure is None else "failed", "error": failure}
    if failure is None:
        trained = load_meta("models", trial.model, store) if trial.model.from_scratch else {}
        scored = load_meta("scores", trial.score, store)
        values |= {name: trained.get(name) for name in TRAINED}
        values |= {name: scored[name] for name in (*MEASURED, "finished_at", *SAMPLED)}
        values["device"] = values.pop("device_name")
    return values


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows as CSV, with the columns that `reports.schema` names. Missing values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, written(TABLES[path.name]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
