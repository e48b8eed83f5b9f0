"""`python -m reports DIR --track URI`: a result in MLflow, for people who keep their experiments there.

One run per result folder has the verdict, the main numbers and all files. One child run per row of table.csv has its
settings as params and its scores as metrics. MLflow is imported here only; it comes with the extra `track`.
"""

import hashlib
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from reports.formats import missing
from reports.pages import tables_of
from reports.render import about, read_opening
from reports.results import Run, pooled
from reports.schema import COLUMNS, TABLES, content, needed

SCORES = ("mmd", "mmd_se", "fd", "kd", "kd_se", "precision", "recall", "grain", "seconds", "nfe")
TAGS = ("status", "error", "run_id", "samples_id", "finished_at")
PARAMS = tuple(name for name in needed(TABLES["table.csv"]) if name not in (*SCORES, *TAGS))
RESULT = "sigmabench.result"  # the tag by which a result is found again
LONGEST = 5_000  # letters of a value; MLflow takes 6,000
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}  # nothing goes to anyone but URI


def track(directory: Path, uri: str) -> str:
    """Where the result in `directory` lies in MLflow, after writing it there. The same result is written once.

    Raises:
        FileNotFoundError, ValueError: as in `write_report`; MLflow is not installed, or cannot write to `uri`.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise ValueError("--track needs MLflow: pip install -e '.[track]'") from error
    for name in ("alembic", "mlflow"):  # they log each step of making a database
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow.exceptions import MlflowException

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries of MLflow
        try:
            return _write(MlflowClient(tracking_uri=uri), directory)
        except MlflowException as error:
            raise ValueError(f"--track {uri}: {' '.join(str(error).split())}") from error


def _write(client: Any, directory: Path) -> str:
    run, opening = read_opening(directory)
    experiment = f"sigmabench/{run.info['experiment']}"
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment)
    key = hashlib.sha256(content(directory / "table.csv") or b"").hexdigest()[:12]
    name, where = directory.resolve().name, f"tags.`{RESULT}` = '{key}' and attributes.status = 'FINISHED'"
    if client.search_runs([place], where, max_results=1):
        return f"{experiment}, run {name} (it was there already)"
    tags = {
        RESULT: key,
        "mlflow.note.content": f"**{run.info['question']}** {opening.answer}",
        "mlflow.source.name": run.info["command"],
        "verdict": opening.answer,
        "conditions": "; ".join((about(run).line, *opening.status, *opening.warnings)),
        "preset": run.info["preset"],
        "commit": str(run.info.get("commit") or "unknown"),
    }
    parent = client.create_run(place, run_name=name, tags=tags).info.run_id
    for metric, value in main_numbers(run).items():
        client.log_metric(parent, metric, value)
    rows = run.rows[run.rows["status"] != "infeasible"].drop_duplicates("run_id")
    for _, row in rows.iterrows():
        _child(client, place, parent, row)
    tables = tables_of(run.info["experiment"])
    packed = (f"{name}.gz" for name in tables)  # of a published result
    for file in (*tables, *packed, "run.json", "report.html", "report.md", "figures", "images"):
        if (directory / file).exists():
            client.log_artifact(parent, str(directory / file))
    client.set_terminated(parent)
    return f"{experiment}, run {name} and {len(rows)} child runs"


def main_numbers(run: Run) -> dict[str, float]:
    """Name -> value: the primary contrast with its interval, and the scores of recommended settings. Raw values."""
    out: dict[str, float] = {}
    for _, row in pooled(run.of_kind("primary")).iterrows():
        names = ("value_a", "value_b", "difference", "low", "high")
        out |= {f"primary/{row['metric']}/{name}": float(row[name]) for name in names if not missing(row[name])}
    for _, row in run.best_sets[run.best_sets["simplest"]].iterrows():
        values = zip(run.metrics, (row["value"], row["fd"]), strict=True)
        out |= {f"recommended/{row['mode']}/{name}": float(value) for name, value in values if not missing(value)}
    return out


def _child(client: Any, place: str, parent: str, row: pd.Series) -> None:
    """A row of table.csv as a run: settings as params, scores as metrics, the rest as tags."""
    from mlflow.entities import Metric, Param, RunTag

    end = int(pd.Timestamp(row["finished_at"]).timestamp() * 1000) if row["finished_at"] else None
    begin = None if end is None or missing(row["seconds"]) else end - int(1000 * row["seconds"])
    name = " ".join(str(row[part]) for part in ("setting", "budget", "train_seed") if not missing(row[part]))
    child = client.create_run(place, start_time=begin or end, tags={"mlflow.parentRunId": parent}, run_name=name)
    known = {name: row[name] for name in (*SCORES, *PARAMS, *TAGS) if not missing(row.get(name))}
    scores = [Metric(name, float(known[name]), end or 0, 0) for name in SCORES if name in known]
    params = [Param(name, _text(name, known[name])) for name in PARAMS if name in known]
    tags = [RunTag(name, str(known[name])[:LONGEST]) for name in TAGS if name in known]
    client.log_batch(child.info.run_id, scores, params, tags)
    client.set_terminated(child.info.run_id, "FINISHED" if row["status"] == "ok" else "FAILED", end)


def _text(name: str, value: Any) -> str:
    """A raw value as text; whole numbers without a point."""
    if COLUMNS[name].kind == "number":
        return f"{value:.0f}" if float(value).is_integer() else repr(float(value))
    return str(value)[:LONGEST]
