"""Results in MLflow, offline: written to a database in a file, and read back with MLflow's own client."""

import gzip
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports import track
from reports.render import write_report
from reports.results import read_run

pytestmark = [pytest.mark.slow(25), pytest.mark.filterwarnings("default")]  # MLflow's libraries warn


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of an empty database; files go next to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow", reason="no MLflow: it comes with the extra track")
        pytest.importorskip("sqlalchemy", reason="no SQLAlchemy: it comes with the extra track")
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def test_rows_numbers_and_files_are_in_mlflow_once(client: Any, directory: Path, change: Any) -> None:
    write_report(directory)
    assert track.track(directory, client.tracking_uri) == "sigmabench/beta, run run and 21 child runs"
    place = client.get_experiment_by_name("sigmabench/beta").experiment_id
    runs = client.search_runs([place])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["run_id"]: run for run in runs if run is not parent}

    assert parent.data.tags["verdict"].startswith("Yes. Putting noise back lowers FD")
    contrasts = pd.read_csv(directory / "contrasts.csv", dtype={"train_seed": str})
    primary = contrasts[
        (contrasts["kind"] == "primary") & contrasts["train_seed"].isna() & (contrasts["metric"] == "kd")
    ]
    assert parent.data.metrics["primary/kd/low"] == primary["low"].iloc[0]
    assert {"report.html", "report.md", "table.csv", "contrasts.csv", "run.json", "figures", "images"} <= {
        file.path for file in client.list_artifacts(parent.info.run_id)
    }
    assert "figures/differences.svg" in [file.path for file in client.list_artifacts(parent.info.run_id, "figures")]

    table = pd.read_csv(directory / "table.csv").drop_duplicates("run_id")
    table = table[table["status"] != "infeasible"]
    assert set(children) == set(table["run_id"]) and len(children) == 21
    for _, row in table.iterrows():
        run = children[row["run_id"]]
        assert run.info.status == ("FINISHED" if row["status"] == "ok" else "FAILED")
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics == {name: row[name] for name in track.SCORES if pd.notna(row.get(name))}
        assert run.data.params["schedule"] == row["schedule"] and float(run.data.params["eta"]) == row["eta"]
    failed = [run for run in children.values() if run.info.status == "FAILED"]
    assert failed and all("out of memory" in run.data.tags["error"] for run in failed)

    assert "it was there already" in track.track(directory, client.tracking_uri)
    whole = (directory / "table.csv").read_bytes()
    (directory / "table.csv").unlink()
    (directory / "table.csv.gz").write_bytes(gzip.compress(whole))  # as in a published result
    assert "it was there already" in track.track(directory, client.tracking_uri)
    (directory / "table.csv").write_bytes(whole)
    change("table.csv", lambda frame: frame[frame["mode"] != "control"])
    assert "child runs" in track.track(directory, client.tracking_uri)


def test_recommended_settings_are_main_numbers() -> None:
    run = read_run(Path(__file__).parent / "run-ladders")
    best = run.rows[run.rows["setting"] == "geometric, heun"]
    assert track.main_numbers(run) == {
        f"recommended/4 evaluations/{metric}": pytest.approx(best[metric].mean()) for metric in ("kd", "fd")
    }


def test_an_unknown_place_and_a_missing_package_are_one_line(
    client: Any, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"^--track foo://bar: .*unsupported URI[^\n]*$"):
        track.track(directory, "foo://bar")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"^--track needs MLflow: pip install -e '\.\[track\]'$"):
        track.track(directory, "sqlite:///mlflow.db")
