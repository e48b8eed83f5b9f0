"""Reading and checking the files of a result folder."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.render import read_page
from reports.results import digests, read, sealed

Make = Callable[..., Path]


def refusal(directory: Path) -> str:
    """The message with which a result is refused."""
    with pytest.raises(ValueError) as error:
        read(directory)
    return str(error.value)


def renew(directory: Path, **values: object) -> dict[str, Any]:
    """What run.json holds, after setting some keys of it."""
    path = directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_column_has_its_type_and_a_table_may_be_compressed(beta: Make) -> None:
    result = read(directory := beta())
    assert result.features == "digits" and result.table["train_seed"].iloc[0] == "0"
    assert (result.table["mmd"].dtype, result.table["final_denoise"].dtype) == ("float64", "boolean")
    assert len(result.runs) == 9 and len(result.over_networks()) == 3 and result.race.empty
    assert [len(result.like(result.over_networks().iloc[0], metric)) for metric in ("mmd", "fd", "kd")] == [4, 4, 0]
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
    (KEYS | {"schema": 1}, "schema=1: this version reads 2. Run the command again"),
    (KEYS | {"notes": {"a": 1}}, "notes={'a': 1}: must be a JSON array"),
    (KEYS | {"files": [1]}, "files=[1]: must be a JSON object"),
    (KEYS | {"digest": "0"}, "it is not as the run wrote it (`digest`)"),
])  # fmt: skip
def test_a_wrong_run_json_is_named(folder: Make, text: Any, message: str) -> None:
    read(directory := folder("beta"))  # no table is needed
    (directory / "run.json").write_text(text if isinstance(text, str) else json.dumps(text))
    assert refusal(directory).startswith(f"run.json: {message}")


@pytest.mark.parametrize(("name", "change", "message"), [
    ("table.csv", lambda text: "", "not a CSV file"),
    ("table.csv", lambda text: text.replace(",beta,eta,", ",b,e,", 1), "missing columns: beta, eta"),
    ("contrasts.csv", lambda text: text[:-300], "it is not as the run wrote it"),
    ("contrasts.csv", lambda text: text.replace("-0.008", "-0.009", 1), "it is not as the run wrote it"),
    ("floors.csv", None, "no such file in"),
], ids=["empty", "columns", "cut", "a number", "removed"])  # fmt: skip
def test_a_table_that_is_not_as_it_was_written_is_named(beta: Make, name: str, change: Any, message: str) -> None:
    text = ((directory := beta()) / name).read_text(encoding="utf-8")
    renew(directory, files=digests(directory) if name != "table.csv" else {})
    read(directory)
    (directory / name).unlink()
    if change:
        (directory / name).write_text(change(text), encoding="utf-8")
    assert refusal(directory).startswith(f"{name}: {message}")


def test_an_edited_run_json_is_named(beta: Make) -> None:
    directory = beta()
    renew(directory, **sealed(sealed(renew(directory) | {"numbers": {1: 0.1}, "notes": ["naïve"]})))
    assert read(directory).info["notes"] == ["naïve"]
    renew(directory, question="Is it better?")
    assert refusal(directory).startswith("run.json: it is not as the run wrote it (`digest`)")
    renew(directory, experiment="../beta", digest=None)
    with pytest.raises(ValueError, match=r"experiment='../beta': this version has no page for it, only for beta, "):
        read_page(directory)
