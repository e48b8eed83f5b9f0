"""Reading and checking the files of a result folder: a damaged one gives one error that names it, no half report."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.entrypoint import run_main
from reports.__main__ import run
from reports.render import read_page, write_report
from reports.results import read

Make = Callable[..., Path]


def refusal(directory: Path) -> str:
    """The message with which a result is refused."""
    with pytest.raises(ValueError) as error:
        read(directory)
    return str(error.value)


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


@pytest.mark.parametrize(("name", "column", "value", "message"), [
    ("table.csv", "fd", "many", "table.csv: row 2: fd='many': must be a number or empty"),
    ("contrasts.csv", "low", "1,5", "contrasts.csv: row 2: low='1,5': must be a number or empty"),
    ("table.csv", "compiled", "yes", "table.csv: row 2: compiled='yes': must be True, False or empty"),
    ("table.csv", "features", "other", "features: digits, other: one report shows one feature space"),
])  # fmt: skip
def test_a_wrong_cell_is_named_with_its_row(beta: Make, name: str, column: str, value: str, message: str) -> None:
    path = beta() / name
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[1, column] = value
    frame.to_csv(path, index=False)
    assert refusal(path.parent) == message
    frame.assign(**{column: ""}, **{"nfe_b" if "low" in frame else "nfe": "inf"}).to_csv(path, index=False)
    read(path.parent)


KEYS = {"schema": 2, "experiment": "", "question": "", "command": ""}


@pytest.mark.parametrize(("text", "message"), [
    ("{", "not JSON"), ("[" * 100_000, "not JSON"), ("[]", "it must be an object"),
    ('{"schema": 2}', "experiment=None: must be a string"),
    (KEYS | {"experiment": ["beta"]}, "experiment=['beta']: must be a string"),
    (KEYS | {"schema": 1}, "schema=1: this version reads 2; run the command again"),
    (KEYS | {"notes": {"a": 1}}, "notes={'a': 1}: must be a JSON array"),
])  # fmt: skip
def test_a_wrong_run_json_is_named(folder: Make, text: Any, message: str) -> None:
    read(directory := folder("beta"))  # no table is needed
    (directory / "run.json").write_text(text if isinstance(text, str) else json.dumps(text))
    assert refusal(directory).startswith(f"run.json: {message}")


def test_a_table_that_cannot_be_read_is_named(beta: Make) -> None:
    path = beta() / "table.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(",beta,eta,", ",b,e,", 1))
    assert refusal(path.parent) == "table.csv: missing columns: beta, eta"
    path.write_text("")
    assert refusal(path.parent).startswith("table.csv: not a CSV file: ")
    path.unlink()
    path.with_name("table.csv.gz").write_bytes(gzip.compress(text.encode())[:-40])
    assert refusal(path.parent).startswith("table.csv: not a CSV file: ")


def test_an_experiment_without_a_page_is_refused(beta: Make) -> None:
    directory = beta()
    path = directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"experiment": "../beta"}))
    with pytest.raises(ValueError, match=r"experiment='../beta': this version has no page for it, only for beta, "):
        read_page(directory)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "a text"])
@pytest.mark.parametrize("name", ["real", "-4"])
def test_a_damaged_picture_is_named_in_one_line_and_the_old_report_stays(beta: Make, name: str, cut: bool) -> None:
    write_report(directory := beta())
    before = {end: (directory / f"report.{end}").read_bytes() for end in ("html", "md")}
    path = max((directory / "images").glob(f"*{name}.png"))
    path.write_bytes(path.read_bytes()[:40] if cut else b"<svg/>")
    with pytest.raises(ValueError, match=rf"^{path}: no picture: [^\n]+$"):
        write_report(directory)
    assert {end: (directory / f"report.{end}").read_bytes() for end in before} == before
    assert not list(directory.glob(".*"))


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
