"""pytest-benchmark's JSON as a DataFrame: one row per benchmark that has `suite` in its extra_info."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

NEEDED = "suite who ours precision compiled batch nfe ms_per_step images_per_second".split()
STATS = {"rounds": "rounds", "median": "median", "fastest": "min", "slowest": "max"}  # column -> name in the JSON
OPTIONAL = "share_outside flop_per_second fraction_of_roof peak_mib".split()


@dataclass(frozen=True)
class Benchmarks:
    """One run of the benchmarks.

    Args:
        rows: NEEDED and OPTIONAL of every benchmark's extra_info (missing = NaN), whether runs compute so by `default`
            on that machine, and the number of `rounds`. Times are medians over the rounds. `median`, `fastest` and
            `slowest` are the seconds of a round.
        info: the rest of the JSON: machine_info, commit_info, datetime, version.
    """

    rows: pd.DataFrame
    info: dict[str, Any]

    def suite(self, name: str) -> pd.DataFrame:
        """The rows of a suite."""
        return self.rows[self.rows["suite"] == name]


def read_benchmarks(path: Path) -> Benchmarks:
    """The benchmarks in a file that `pytest --benchmark --benchmark-json=FILE` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file has another format, or no benchmark has `suite` in its extra_info. The message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; `pytest --benchmark --benchmark-json={path}` writes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = [
            (bench["fullname"], bench["extra_info"], {name: bench["stats"][key] for name, key in STATS.items()})
            for bench in content["benchmarks"]
        ]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a file of pytest-benchmark ({error!r})") from error
    rows = []
    for name, info, stats in found:
        if "suite" not in info:
            continue
        if missing := [key for key in NEEDED if key not in info]:
            raise ValueError(f"{path}: {name}: extra_info has no {', '.join(missing)}")
        row = {key: info.get(key) for key in (*NEEDED, *OPTIONAL)}
        rows.append(row | stats | {"default": info.get("default", False)})
    if not rows:
        raise ValueError(f"{path}: no benchmark in it has `suite` in its extra_info")
    frame = pd.DataFrame(rows)
    for name in OPTIONAL:
        frame[name] = pd.to_numeric(frame[name])
    return Benchmarks(frame, {key: value for key, value in content.items() if key != "benchmarks"})
