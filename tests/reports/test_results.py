"""Reading the files of a result folder, and what is said of those that this version cannot read."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.entrypoint import run_main
from reports.__main__ import run
from reports.render import read_page
from reports.results import read

Make = Callable[..., Path]


def test_every_column_has_its_type_and_a_table_may_be_compressed(beta: Make) -> None:
    result = read(directory := beta())
    assert result.features == "digits" and result.table["train_seed"].iloc[0] == "0"
    assert (result.table["mmd"].dtype, result.table["final_denoise"].dtype) == ("float64", "boolean")
    assert len(result.runs) == 15 and len(result.over_networks()) == 3 and result.race.empty
    assert [len(result.like(result.over_networks().iloc[0], metric)) for metric in ("mmd", "fd", "kd")] == [6, 6, 0]
    assert result.floor("fd", 9)["mean"] == 1.4 and result.floor("kd", 500) is None
    path = directory / "table.csv"
    (directory / "table.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    pd.testing.assert_frame_equal(read(directory).table, result.table)


@pytest.mark.parametrize(("info", "message"), [
    ({"schema": 1}, r"run\.json: schema=1: this version reads 2; run the command again"),
    ({"experiment": "gone"}, "run.json: experiment='gone': this version has no page for it, only for beta, "),
    ({}, r"table\.csv: missing columns: beta, eta"),
])  # fmt: skip
def test_what_another_version_wrote_is_named(beta: Make, info: dict[str, Any], message: str) -> None:
    path = beta(info=info) / "table.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",beta,eta,", ",b,e," if not info else ",beta,eta,", 1))
    with pytest.raises(ValueError, match=message):
        read_page(path.parent)


@pytest.mark.parametrize(("arguments", "line"), [
    ("bench none.json", "none.json: no such file; `pytest --benchmark"), ("index .", ".: no result folder below it"),
    (".", "run.json: no such file; a result folder has one"), ("publish . .", ".: it exists; choose a new folder"),
])  # fmt: skip
def test_what_is_not_there_is_one_line_and_status_2(
    arguments: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["reports", *arguments.split()])
    assert run_main(run) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {line}") and error.count("\n") == 1
