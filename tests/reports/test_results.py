"""Reading and checking the files of a run."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.results import digests, every_run, pooled, read_run, sealed, timed
from reports.tables import contrast_by_network


def refusal(directory: Path) -> str:
    """The message with which a run is refused."""
    with pytest.raises(ValueError) as error:
        read_run(directory)
    return str(error.value)


def test_reads_every_file(directory: Path) -> None:
    run = read_run(directory)
    assert (run.info["preset"], run.features, run.rows["train_seed"].iloc[0]) == ("laptop", "digits", "0")
    assert (run.rows["kd"].dtype, run.rows["final_denoise"].dtype) == ("float64", "boolean")
    assert len(pooled(run.of_kind("primary"))) == 2


NUMBER = "must be a finite number or empty"


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("table.csv", "status=okay", "row 1: status='okay': must be one of ok, failed, infeasible"),
        ("table.csv", "fd=many", f"row 1: fd='many': {NUMBER}"),
        ("table.csv", "kd=inf", f"row 1: kd='inf': {NUMBER}"),
        ("table.csv", "seconds=-5", f"row 1: seconds='-5': {NUMBER}, at least 0"),
        ("table.csv", "recall=1.5", f"row 1: recall='1.5': {NUMBER}, at least 0"),
        ("table.csv", "fd=1e308", f"row 1: fd='1e308': {NUMBER}, at least"),
        ("contrasts.csv", "n_networks=", "row 1: n_networks must not be empty"),
        ("contrasts.csv", "low=7", "row 1: low must be at most high"),
        ("floors.csv", "high=-7", "row 1: low must be at most high"),
        ("table.csv", "compiled=yes", "row 1: compiled='yes': must be True, False or empty"),
        ("contrasts.csv", "metric=is", "row 1: metric='is': must be one of mmd, kd, fd"),
        ("contrasts.csv", "verdict=maybe", "row 1: verdict='maybe': must be one of better, worse"),
        ("features", "features=other", "digits, other: one report shows one feature space"),
        ("contrasts.csv", "verdict=", "row 1: a row over all networks has no verdict"),
    ],
)
def test_invalid_values_are_named(directory: Path, change: Any, name: str, cell: str, message: str) -> None:
    column, value = cell.split("=")
    file = name if name.endswith(".csv") else "table.csv"
    seeds = {"train_seed": ""} if (column, value) == ("verdict", "") else {}
    change(file, lambda frame: frame.assign(**{column: [value, *frame[column][1:]]}, **seeds))
    assert refusal(directory).startswith(f"{name}: {message}")


KEYS = {"schema": 2, "experiment": "", "preset": "", "question": "", "command": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "missing keys: not an object"),
        ('{"schema": 1}', "missing keys: experiment, preset, question, command"),
        (json.dumps(KEYS | {"schema": 1}), "schema=1: this version reads 2. Run its command again"),
        ("[" * 100_000, "not JSON"),
        (json.dumps(KEYS | {"machine": ["x"]}), "machine=['x']: must be a JSON string"),
        (json.dumps(KEYS | {"experiment": ["beta"]}), "experiment=['beta']: must be a JSON string"),
        (json.dumps(KEYS | {"notes": 1}), "notes=1: must be a JSON array"),
    ],
)
def test_invalid_run_json_is_named(directory: Path, text: str, message: str) -> None:
    (directory / "run.json").write_text(text)
    assert refusal(directory).startswith(f"run.json: {message}")


@pytest.mark.parametrize(
    ("name", "recorded", "keep", "message"),
    [
        ("table.csv", False, lambda text: "", "not a CSV file"),
        ("table.csv", False, lambda text: text.replace(",beta,eta,", ",b,e,", 1), "missing columns: beta, eta"),
        ("contrasts.csv", True, lambda text: text[:-300], "it is not as the run wrote it"),
        ("floors.csv", True, None, "no such file in"),
    ],
    ids=["empty", "columns", "cut", "removed"],
)
def test_a_table_that_is_not_as_it_was_written_is_named(
    directory: Path, change_info: Any, name: str, recorded: bool, keep: Any, message: str
) -> None:
    if recorded:
        change_info(files=digests(directory))
        read_run(directory)
    text = (directory / name).read_text(encoding="utf-8")
    (directory / name).unlink()
    if keep:
        (directory / name).write_text(keep(text), encoding="utf-8")
    assert refusal(directory).startswith(f"{name}: {message}")


def test_an_edited_run_json_is_named(directory: Path, change_info: Any) -> None:
    path = directory / "run.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    for sound in (sealed(info | {"notes": ["naïve"], "numbers": {1: 0.1}}), sealed(sealed(info))):
        path.write_text(json.dumps(sound), encoding="utf-8")
        read_run(directory)
    for edited in ({"question": "Is it better?"}, {"notes": ["fixed beforehand"]}, {"digest": None}):
        path.write_text(json.dumps(sealed(info)), encoding="utf-8")
        change_info(**edited)
        assert refusal(directory).startswith("run.json: it is not as the run wrote it (`digest`)")


def test_churn_may_be_infinite(directory: Path, change: Any) -> None:
    change("table.csv", lambda frame: frame.assign(s_churn="inf"))
    assert read_run(directory).rows["s_churn"].eq(math.inf).all()


def test_a_run_in_several_modes_is_listed_once_with_all_of_them(directory: Path) -> None:
    run = read_run(directory)
    listed = every_run(run.rows[run.rows["status"] == "ok"])
    assert listed["run_id"].is_unique
    assert "primary, same-ladder, pareto" in set(listed["mode"])


def test_seconds_of_a_shared_device_are_not_used(directory: Path, change: Any) -> None:
    change("table.csv", lambda frame: frame.assign(shared_device=["True", "", *frame["shared_device"][2:]]))
    rows = read_run(directory).rows
    assert list(every_run(rows).sort_index().head(2)["seconds"].isna()) == [True, False]
    assert len(timed(rows.head(3))) == 1  # one shared, one not known, one alone


def test_above_the_floor_is_the_difference_to_its_mean(directory: Path) -> None:
    run = read_run(directory)
    like = run.ok("primary").iloc[0]
    assert run.floor("fd", like) is not None and run.floor("fd", like.replace({500: 499})) is None
    unknown = replace(run, tables={**run.tables, "floors": run.floors.head(0)})
    with_floor, without = (contrast_by_network(one, run.of_kind("primary"), "").body[-1] for one in (run, unknown))
    assert (with_floor[3], with_floor[6], without[3], without[6]) == ("11.91", "7.91", "11.91", "")
